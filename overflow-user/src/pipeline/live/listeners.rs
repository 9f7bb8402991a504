//! Looks at the host's listeners while tracing.

use std::{
    io,
    pin::pin,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use overflow_core::{
    listeners::{Inventory, Listener},
    recording::Frame,
};
use overflow_host::listeners::{Requests, SynQueues};

use super::{Live, WAITING};

/// Looking for listeners may take one part in so many of the time, and at first this much more.
const SHARE: u32 = 10;
const AHEAD: Duration = Duration::from_millis(500);

impl Live {
    pub(super) fn may_look(&self) -> bool {
        self.spent <= self.since.elapsed() / SHARE + AHEAD
    }

    /// Looks at the host's listeners again; meanwhile the ring is emptied.
    pub(super) async fn renew(&mut self) -> Result<()> {
        let began = Instant::now();
        let syn_queues = self.requests.as_ref().map_or(SynQueues::Left, Requests::next);
        let inventory = {
            let (pending, overrun) = (&mut self.pending, &mut self.overrun);
            let mut keep = |event| {
                if pending.len() < WAITING { pending.push_back(event) } else { *overrun += 1 }
            };
            let mut looking = pin!(self.attribution.inventory(&self.wanted, syn_queues));
            loop {
                tokio::select! {
                    found = &mut looking => break found,
                    waited = self.ring.wait(&mut keep) => waited.context("cannot read the ring")?,
                }
            }
        };
        self.renewed = Instant::now();
        self.spent += began.elapsed();
        if let Some(requests) = &mut self.requests {
            requests.took(syn_queues, began.elapsed());
        }
        self.found(inventory)
    }

    pub(super) fn found(&mut self, inventory: io::Result<Inventory>) -> Result<()> {
        match inventory {
            Ok(inventory) => {
                self.answered();
                self.learn(inventory)
            }
            Err(error) => {
                self.unanswered(&error);
                Ok(())
            }
        }
    }

    /// Hands the engine new listeners, unless nothing but their queues has changed.
    pub(super) fn learn(&mut self, mut inventory: Inventory) -> Result<()> {
        if let Some(requests) = &mut self.requests {
            requests.fill_in(&mut inventory);
        }
        // One that nobody finds is gone, or is no one's any more.
        self.wanted.retain(|netns| inventory.namespaces.contains_key(netns));
        if self.engine.filter().by_owner() {
            self.tracer.set_excluded(&self.engine.filter().excluded(&inventory.listeners))?;
        }
        let identity =
            |l: &Listener| Listener { recv_q: 0, syn_recv: None, drops: None, ..l.clone() };
        let identities: Vec<Listener> = inventory.listeners.iter().map(identity).collect();
        let settings =
            inventory.namespaces.iter().map(|(inum, found)| (*inum, found.sysctls)).collect();
        if (&identities, &settings) != (&self.known, &self.settings)
            || self.engine.contradicts(&inventory)
        {
            (self.known, self.settings) = (identities, settings);
            self.note(Frame::Inventory(Box::new(inventory)))?;
        } else if self.look_every.is_some() {
            let _ = self.engine.feed(Frame::Inventory(Box::new(inventory)))?;
        }
        Ok(())
    }
}
