//! The audit's part of a live trace: the kernel's counters, read while events go on.

use std::{ops::ControlFlow, pin::pin};

use anyhow::{Context, Result};
use overflow_common::CountersRead;

use super::{Live, WAITING};
use crate::pipeline::looks::{self, KernelSide};
use overflow_core::{
    audit::{Cut, Look, Read, Readings},
    recording::Frame,
};

impl Live {
    /// Hands over everything that has happened so far.
    pub(super) async fn caught_up(&mut self) -> Result<ControlFlow<()>> {
        let pending = &mut self.pending;
        self.ring.drain(|e| pending.push_back(e));
        let flow = self.events().await?;
        self.count_losses()?;
        self.aggregate().await?;
        Ok(flow)
    }

    /// Reads the counters; meanwhile the ring is emptied.
    async fn readings(&mut self, anew: bool) -> Result<Option<Readings>> {
        let (pending, overrun) = (&mut self.pending, &mut self.overrun);
        let mut keep = |event| {
            if pending.len() < WAITING { pending.push_back(event) } else { *overrun += 1 }
        };
        let found = {
            let mut looking = pin!(self.attribution.counters(&self.wanted, anew));
            loop {
                tokio::select! {
                    found = &mut looking => break found,
                    waited = self.ring.wait(&mut keep) => waited.context("cannot read the ring")?,
                }
            }
        };
        match found {
            Ok(readings) => {
                self.answered();
                Ok(Some(readings))
            }
            Err(error) => {
                self.unanswered(&error);
                Ok(None)
            }
        }
    }

    /// Reads the counters, and has them compared with everything that was told until then: what
    /// they count has reached the ring by the time it is emptied.
    pub(super) async fn look(&mut self) -> Result<ControlFlow<()>> {
        let quiet = self.pending.is_empty();
        let Some(seen) = self.readings(false).await? else {
            return Ok(ControlFlow::Continue(()));
        };
        let settled = quiet && self.pending.is_empty();
        if self.caught_up().await?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        self.look_due.looked(settled);
        let side = self.kernel_side()?;
        self.compare(Cut::Running, seen, side)?;
        Ok(ControlFlow::Continue(()))
    }

    /// Ends the judging, and reads the counters before and after it. What no hook has seen by then is
    /// read in between: no hook reads counters any more, and so it is all that is left of them.
    pub(super) async fn last_look(&mut self) -> Result<ControlFlow<()>> {
        let before = self.readings(true).await?;
        let at_work = self.kernel_side()?;
        self.tracer.disarm()?;
        let in_the_end = self.kernel_side()?;
        let after = self.readings(false).await?;
        let flow = self.caught_up().await?;
        if flow.is_break() {
            return Ok(flow);
        }
        if let Some(before) = before {
            self.compare(Cut::Disarming, before, at_work)?;
        }
        // Where nobody has read them, what hooks have read stands for them.
        self.compare(Cut::Disarmed, after.unwrap_or_default(), in_the_end)?;
        Ok(ControlFlow::Continue(()))
    }

    /// What the kernel side knows of the counters. What is pending is read first: a hook that looks
    /// meanwhile has then at most been counted twice, and not left out.
    fn kernel_side(&mut self) -> Result<KernelSide> {
        let read = |found: Vec<(u32, CountersRead)>| {
            found.into_iter().map(|(netns, read)| Read::new(netns, read)).collect()
        };
        let pending = self.tracer.pending().map(read);
        Ok(KernelSide {
            left_out: self.tracer.left_out()?,
            read: read(self.tracer.read()?),
            pending,
        })
    }

    fn compare(&mut self, cut: Cut, seen: Readings, side: KernelSide) -> Result<()> {
        let look: Look = looks::look(cut, seen, self.tracer.watched(), side);
        self.note(Frame::Look(Box::new(look)))
    }
}
