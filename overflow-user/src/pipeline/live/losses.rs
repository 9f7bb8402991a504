//! What is missing from a trace.

use anyhow::Result;
use overflow_core::{loss::Loss, recording::Frame};

use super::Live;
use crate::pipeline::engine::Engine;

impl Live {
    /// Tells the engine what was lost so far, if that has changed.
    pub(super) fn count_losses(&mut self) -> Result<()> {
        let own = [
            (Loss::OtherBuild, self.ring.malformed()),
            (Loss::NoRoomMeanwhile, self.overrun),
            (Loss::StaleOwners, self.unanswered),
        ];
        let kernel = self.tracer.losses().by_cause.into_iter();
        let losses: Vec<_> = kernel.chain(own).filter(|(_, n)| *n > 0).collect();
        if losses != self.losses {
            self.losses.clone_from(&losses);
            self.note(Frame::Losses(losses))?;
        }
        if let Some(export) = &self.export {
            // Nothing is missing from the trace, nor from a recording of it.
            let undelivered = export.losses().into_iter().filter(|(_, n)| *n > 0);
            let losses = self.losses.iter().cloned().chain(undelivered).collect();
            let _ = self.engine.feed(Frame::Losses(losses))?;
        }
        Ok(())
    }
}

/// On stderr what was lost and what that means, if anything was, and one line if anything is unaccounted.
pub fn report_losses(engine: &Engine) {
    let losses = engine.losses();
    if !losses.is_empty() {
        let causes: Vec<_> = losses.iter().map(|(what, n)| format!("{n} {what}")).collect();
        crate::say!("overflow: lost {}", causes.join(", "));
        for (what, _) in &losses {
            crate::say!("overflow: {what}: {}", what.meaning());
        }
    }
    if let Some(alarm) = engine.audits().and_then(crate::sink::alarm) {
        crate::say!("overflow: {alarm}");
    }
}
