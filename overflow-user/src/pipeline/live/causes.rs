//! The causes' part of a live trace: the holders of full listeners are looked at while events go on.

use std::{
    ops::ControlFlow,
    pin::pin,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::{Live, WAITING};
use overflow_core::{
    cause::{Evidence, evidence::QueueSample},
    recording::Frame,
};
use overflow_host::causes::LISTENERS;

/// Between two looks pass at least so many times what the last one took, and a second.
const REST: u32 = 4;
const AT_LEAST: Duration = Duration::from_secs(1);
/// How often the holders of listeners that stay full are looked at again.
const AGAIN: Duration = Duration::from_secs(5);

/// When holders are looked at next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Looks {
    ended: Instant,
    took: Duration,
}

impl Looks {
    pub(super) fn new() -> Self {
        Self { ended: Instant::now(), took: Duration::ZERO }
    }

    /// Whether to look now: sooner if a listener became full that nobody has looked at.
    fn is_due(self, newly_full: bool) -> bool {
        let rest = AT_LEAST.max(self.took * REST);
        self.ended.elapsed() >= if newly_full { rest } else { rest.max(AGAIN) }
    }
}

impl Live {
    /// Looks at the holders of listeners that became full, and now and then at those of listeners that
    /// stay so.
    pub(super) async fn why(&mut self) -> Result<ControlFlow<()>> {
        match self.whys {
            Some(looks)
                if self.engine.any_to_look_at() && looks.is_due(self.engine.any_newly_full()) =>
            {
                self.look_at_holders().await
            }
            Some(_) | None => Ok(ControlFlow::Continue(())),
        }
    }

    /// Looks at holders now: at the beginning, of listeners that are full already. Meanwhile the ring
    /// is emptied, and what happened is told before what was seen. Breaks when the engine wants no more.
    pub(super) async fn look_at_holders(&mut self) -> Result<ControlFlow<()>> {
        let began = Instant::now();
        let asked = self.engine.take_full(LISTENERS);
        let sockets: Vec<_> = asked.keys().copied().collect();
        let found = {
            let (pending, overrun) = (&mut self.pending, &mut self.overrun);
            let mut keep = |event| {
                if pending.len() < WAITING { pending.push_back(event) } else { *overrun += 1 }
            };
            let mut looking = pin!(self.attribution.causes(&sockets));
            loop {
                tokio::select! {
                    found = &mut looking => break found,
                    waited = self.ring.wait(&mut keep) => waited.context("cannot read the ring")?,
                }
            }
        };
        // One that found nobody was no burden.
        let nobody = found.as_ref().is_ok_and(Vec::is_empty);
        let took = if nobody { Duration::ZERO } else { began.elapsed() };
        self.whys = Some(Looks { ended: Instant::now(), took });
        if self.events().await?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                log::warn!("cannot look at who holds listeners: {error}");
                self.unanswered += 1;
                return Ok(ControlFlow::Continue(()));
            }
        };
        let has = |e: &Evidence, socket| (e.listener.netns, e.listener.inode) == socket;
        for socket in sockets {
            if !found.iter().any(|e| has(e, socket)) {
                self.engine.is_gone(socket);
            }
        }
        for mut evidence in found {
            let socket = (evidence.listener.netns, evidence.listener.inode);
            let when_full = asked.get(&socket).copied().flatten();
            insert(&mut evidence.queue, when_full);
            self.note(Frame::Evidence(Box::new(evidence)))?;
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// Puts the queue as it was when it was full before the samples, so that a burst that has been taken
/// by the time of the look is seen.
fn insert(queue: &mut Vec<QueueSample>, when_full: Option<QueueSample>) {
    if let (Some(full), Some(first)) = (when_full, queue.first())
        && full.t_ns < first.t_ns
    {
        // Its drops are not known: they are those of the first sample, or fewer.
        queue.insert(0, QueueSample { drops: first.drops, ..full });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_that_was_taken_is_seen_by_when_it_was_full() {
        let at = |t_ns, recv_q, drops| QueueSample { t_ns, recv_q, drops };
        let mut queue = vec![at(20, 0, Some(7))];
        insert(&mut queue, Some(at(10, 129, None)));
        assert_eq!(queue, [at(10, 129, Some(7)), at(20, 0, Some(7))]);
        // One that came while samples were taken is among them.
        insert(&mut queue, Some(at(15, 129, None)));
        insert(&mut queue, None);
        assert_eq!(queue.len(), 2);
    }

    #[test]
    fn looks_are_rare_and_rarer_the_longer_they_take() {
        let Some(ago) = Instant::now().checked_sub(Duration::from_secs(2)) else { return };
        let looks = |ms| Looks { ended: ago, took: Duration::from_millis(ms) };
        assert!(looks(100).is_due(true) && !looks(100).is_due(false));
        assert!(!looks(600).is_due(true));
    }
}
