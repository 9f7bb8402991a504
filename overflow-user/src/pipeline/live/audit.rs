//! The audit's part of a live trace: the kernel's counters, read while events go on.

use std::{ops::ControlFlow, pin::pin};

use anyhow::{Context, Result};

use super::{Live, WAITING};
use crate::pipeline::looks;
use overflow_core::{
    audit::{Cut, Look, Readings},
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
        self.compare(Cut::Running, seen)?;
        Ok(ControlFlow::Continue(()))
    }

    /// Ends the judging, and reads the counters before and after it.
    pub(super) async fn last_look(&mut self) -> Result<ControlFlow<()>> {
        let before = self.readings(true).await?;
        self.tracer.disarm()?;
        let after = self.readings(false).await?;
        let flow = self.caught_up().await?;
        let Some(before) = before.filter(|_| flow.is_continue()) else { return Ok(flow) };
        self.compare(Cut::Disarming, before)?;
        if let Some(after) = after {
            self.compare(Cut::Disarmed, after)?;
        }
        Ok(ControlFlow::Continue(()))
    }

    fn compare(&mut self, cut: Cut, seen: Readings) -> Result<()> {
        let look: Look = looks::look(cut, seen, self.tracer.watched(), self.tracer.left_out()?);
        self.note(Frame::Look(Box::new(look)))
    }
}
