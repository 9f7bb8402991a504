//! Of a recording of which a part is asked for: where in it a frame is.

use std::{io, mem, ops::ControlFlow};

use super::Engine;
use crate::pipeline::window::Bounds;
use overflow_core::{clients::HurtClients, recording::Frame, verdict::Connection};

/// Where a moment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Before what is asked for: it is remembered, neither shown nor counted.
    Before,
    Inside,
    After,
}

impl Engine {
    /// Where a frame is; those without a time of their own belong to what came before them.
    pub(super) fn place(&mut self, frame: &Frame) -> Place {
        match frame {
            Frame::Aggregates(t_ns, _)
            | Frame::Tick(t_ns)
            | Frame::Gap(t_ns)
            | Frame::End(t_ns) => self.at(*t_ns),
            Frame::Look(look) => self.at(look.t_ns),
            Frame::Evidence(evidence) => self.at(evidence.t_ns),
            // A record is judged by its time once it is decoded.
            Frame::Event(_) | Frame::Inventory(_) | Frame::Opened(_) | Frame::Losses(_) => {
                Place::Inside
            }
        }
    }

    /// A second went by before what is asked for.
    pub(super) fn pass(&mut self, t_ns: u64) -> io::Result<ControlFlow<()>> {
        self.last_ns = self.last_ns.max(t_ns);
        self.expire(t_ns)?;
        Ok(ControlFlow::Continue(()))
    }

    /// Where a moment is. With the first one inside, counting begins.
    pub(super) fn at(&mut self, t_ns: u64) -> Place {
        if self.options.window.is_all() {
            return Place::Inside;
        }
        let (window, clocks) = (self.options.window, self.clocks);
        let bounds = *self.bounds.get_or_insert_with(|| window.bounds(t_ns, clocks));
        if t_ns >= bounds.until_ns {
            return Place::After;
        }
        if t_ns < bounds.since_ns {
            return Place::Before;
        }
        if mem::replace(&mut self.outside, false) {
            self.places.begin();
            self.clients = HurtClients::default();
            self.begun_ns = Some(bounds.since_ns.max(self.begun_ns.unwrap_or(0)));
        }
        Place::Inside
    }
}

/// What becomes of a connection is told if any of it happened inside.
pub(super) fn concerns(bounds: Option<Bounds>, connection: &Connection) -> bool {
    let Some(Bounds { since_ns, .. }) = bounds else { return true };
    let mut times = connection.stages.iter().flat_map(|s| s.repeats_ns.iter().chain([&s.t_ns]));
    times.any(|t_ns| *t_ns >= since_ns)
}
