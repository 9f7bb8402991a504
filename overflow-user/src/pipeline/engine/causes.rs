//! The causes' part of the pipeline: what looks at holders showed is judged and handed on.

use std::{collections::BTreeMap, io};

use super::Engine;
use crate::{
    pipeline::{listener_totals::ListenerKey, whys::Socket},
    sink::trace::{Caused, Message, Sink},
};
use overflow_core::{
    cause::{Evidence, evidence::QueueSample, judge},
    listeners::Listener,
};

impl Engine {
    /// Whether a listener became full that nobody has looked at.
    pub(crate) fn any_newly_full(&self) -> bool {
        self.whys.any_new()
    }

    /// Whether the holders of any listener are to be looked at.
    pub(crate) fn any_to_look_at(&self) -> bool {
        self.whys.any()
    }

    /// At most so many listeners whose holders are to be looked at, with their queues when they were
    /// full.
    pub(crate) fn take_full(&mut self, most: usize) -> BTreeMap<Socket, Option<QueueSample>> {
        self.whys.take(most)
    }

    /// A look did not find this one any more.
    pub(crate) fn is_gone(&mut self, socket: Socket) {
        self.whys.forget(socket);
    }

    /// Judges what was seen of a full listener.
    pub(super) fn evidence(&mut self, evidence: &Evidence) -> io::Result<()> {
        if !self.options.filter.listener(&evidence.listener) {
            return Ok(());
        }
        let judgement = judge(evidence);
        let looked = self.whys.look(evidence, &judgement);
        let Listener { netns, inode, local, .. } = evidence.listener;
        if let (Some(cause), Ok(ino)) = (looked.cause, u32::try_from(inode)) {
            let key = ListenerKey::Socket(netns, ino);
            let place = self.places.number(key, local);
            self.places.look(place, key, local, &self.inventory);
            self.places.counted(place).full_for(cause, looked.full_ns);
        }
        let caused = Caused { evidence, judgement: &judgement, change: &looked.change };
        self.sinks.handle(Message::Cause(&caused))
    }
}
