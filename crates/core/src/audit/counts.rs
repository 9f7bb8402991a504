//! What the kernel side counted by verdict, as what it tells of each namespace's counters.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
};

use overflow_common::Signature;

use super::told;
use crate::{
    aggregates::{self, Aggregates},
    audit::ranges::Ranges,
    decode::Decoder,
    syn_limit::SynQueueLimit,
    verdict,
};

/// A listener that something was counted at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Inode number of its network namespace.
    pub netns: u32,
    /// Inode number of its socket.
    pub ino: u32,
    /// Where it listens.
    pub local: SocketAddr,
}

/// The counts as they were last read. Rows of sockets that are gone make room for others, so a row
/// that is missing stays counted here.
#[derive(Debug, Default)]
pub(super) struct Counts {
    rows: HashMap<Signature, (Place, u64)>,
}

impl Counts {
    /// Takes the counts now, and hands on what each row tells of the counters, and whether it will
    /// come no more.
    pub(super) fn take(
        &mut self,
        aggregates: &Aggregates,
        decoder: &mut Decoder,
        limit: Option<SynQueueLimit>,
        mut tell: impl FnMut(Place, &Ranges, bool),
    ) {
        let places: HashMap<(u64, u32), Place> = aggregates
            .queues
            .iter()
            .map(|(socket, tally)| {
                let local = aggregates::local(tally);
                ((socket.sk, socket.ino), Place { netns: tally.netns, ino: socket.ino, local })
            })
            .collect();
        let mut judge = |place: Place, signature: &Signature, count: u64, gone: bool| {
            let Some(event) = decoder.decode(&signature.to_event()) else { return };
            let Some(id) = verdict::of_one(&event, limit) else { return };
            let mut ranges = Ranges::default();
            told::add(&mut ranges, &event, id, count);
            tell(place, &ranges, gone);
        };
        let now: HashMap<Signature, (Place, u64)> = aggregates
            .counts
            .iter()
            .filter_map(|(signature, count)| {
                let place = places.get(&(signature.sk, signature.ino))?;
                Some((*signature, (*place, *count)))
            })
            .collect();
        let kept: HashSet<&Signature> = now
            .iter()
            .filter(|(s, (_, n))| self.rows.get(s).is_some_and(|(_, before)| before <= n))
            .map(|(s, _)| s)
            .collect();
        for (signature, (place, count)) in &self.rows {
            if !kept.contains(signature) {
                judge(*place, signature, *count, true);
            }
        }
        for (signature, (place, count)) in &now {
            judge(*place, signature, *count, false);
        }
        self.rows = now;
    }
}
