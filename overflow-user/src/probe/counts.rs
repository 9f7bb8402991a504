//! What was counted in the kernel, read from its maps.

use std::collections::{BTreeMap, BTreeSet};

use aya::maps::{Array, HashMap, MapError, PerCpuArray, PerCpuValues};
use overflow_common::{Counting, Healthy, Kind, Place, Signature, Socket, Tally};
use overflow_core::{aggregates::Aggregates, hook_point::HookPoint};

use super::{
    error::{LoadError, ProbeError},
    load::{Tracer, map},
};

/// What was read before.
#[derive(Default)]
pub(super) struct Counts {
    /// Listeners that were closed when aggregates were asked for last.
    closing: BTreeSet<Socket>,
    /// What was counted when they were.
    counted: BTreeMap<Signature, u64>,
}

impl Tracer {
    /// What was counted in the kernel so far; `None` unless the configuration asked for it. Whoever has
    /// taken it calls [`Self::retire`].
    pub fn aggregates(&mut self) -> Result<Option<Aggregates>, ProbeError> {
        if self.counts.is_none() {
            return Ok(None);
        }
        let mut counts = self.together()?;
        let mut queues = self.queues()?;
        self.places(&mut counts, &mut queues)?;
        let Some(before) = &mut self.counts else { return Ok(None) };
        for (signature, count) in &mut counts {
            let before = before.counted.get(signature).copied().unwrap_or_default();
            *count = before.max(*count);
        }
        before.counted.clone_from(&counts);
        let (counts, queues) = (counts.into_iter().collect(), queues.into_iter().collect());
        Ok(Some(Aggregates { counts, queues }))
    }

    /// SYNs and third ACKs by signature: those of all CPUs together, and what each has not added to
    /// them yet. What moves from one to the other meanwhile may be missed: it was there before.
    fn together(&mut self) -> Result<BTreeMap<Signature, u64>, ProbeError> {
        let together: HashMap<_, Signature, u64> = map(&mut self.ebpf, "COUNTS")?;
        let mut counts: BTreeMap<Signature, u64> = together.iter().filter_map(Result::ok).collect();
        let each: PerCpuArray<_, [Counting; Counting::PLACES]> = map(&mut self.ebpf, "COUNTING")?;
        let read = || each.get(&0, 0).map_err(LoadError::Write);
        // Read twice: where another takes a place meanwhile, what is read may be half of each.
        let (once, again) = (read()?, read()?);
        let places = once.iter().flatten().zip(again.iter().flatten());
        for (counting, _) in places.filter(|(a, b)| a.count > 0 && a.signature == b.signature) {
            if let Some(count) = counts.get_mut(&counting.signature) {
                *count += counting.count;
            }
        }
        Ok(counts)
    }

    /// Accept queues of the listeners that have no place.
    fn queues(&mut self) -> Result<BTreeMap<Socket, Tally>, ProbeError> {
        let queues: HashMap<_, Socket, Tally> = map(&mut self.ebpf, "TALLIES")?;
        Ok(queues.iter().filter_map(Result::ok).collect())
    }

    /// Adds what stands of those that have one.
    fn places(
        &mut self,
        counts: &mut BTreeMap<Signature, u64>,
        queues: &mut BTreeMap<Socket, Tally>,
    ) -> Result<(), ProbeError> {
        let rung = |at| self.hook_points().iter().find(|h| h.hook_point == at).and_then(|h| h.rung);
        let (syns, acks) = (rung(HookPoint::Syn), rung(HookPoint::ThirdAck));
        let owned = self.owned()?;
        for (number, socket) in owned {
            let places: Array<_, Place> = map(&mut self.ebpf, "QUEUES")?;
            let place = places.get(&number, 0).map_err(LoadError::Write)?;
            if place.socket != socket {
                // It was taken just now, and says not yet where that listens.
                continue;
            }
            let mut tally = place.tally;
            let healthy: PerCpuArray<_, Healthy> = map(&mut self.ebpf, "HEALTHY")?;
            let each = healthy.get(&number, 0).map_err(LoadError::Write)?;
            let sum = |of: fn(&Healthy) -> u64| each.iter().map(of).sum::<u64>();
            let (queued, acked) = (sum(|h| h.syns), sum(|h| h.acks));
            tally.queued += acked;
            for (kind, rung, count) in [(Kind::Syn, syns, queued), (Kind::Ack, acks, acked)] {
                if let Some(rung) = rung.filter(|_| count > 0) {
                    *counts.entry(Signature::of_healthy(socket, kind, rung)).or_default() += count;
                }
            }
            queues.entry(socket).and_modify(|other| other.add(&tally)).or_insert(tally);
        }
        Ok(())
    }

    /// The places that are somebody's.
    fn owned(&mut self) -> Result<Vec<(u32, Socket)>, ProbeError> {
        let owners: HashMap<_, u32, Socket> = map(&mut self.ebpf, "OWNERS")?;
        Ok(owners.iter().filter_map(Result::ok).collect())
    }

    /// Makes room: what was counted of listeners that had been closed the last time is in `found` for
    /// good, and goes. No segment is handled for them any more.
    pub fn retire(&mut self, found: &Aggregates) -> Result<(), ProbeError> {
        let Some(before) = &mut self.counts else { return Ok(()) };
        let closed = found.queues.iter().filter(|(_, tally)| tally.closed != 0);
        let closed: BTreeSet<Socket> = closed.map(|(socket, _)| *socket).collect();
        let (gone, closing): (BTreeSet<_>, BTreeSet<_>) =
            closed.into_iter().partition(|socket| before.closing.contains(socket));
        before.closing = closing;
        if gone.is_empty() {
            return Ok(());
        }
        let mut queues: HashMap<_, Socket, Tally> = map(&mut self.ebpf, "TALLIES")?;
        for socket in &gone {
            let _ = queues.remove(socket);
        }
        for (number, _) in self.owned()?.into_iter().filter(|(_, owner)| gone.contains(owner)) {
            self.free(number)?;
        }
        let gone: BTreeSet<(u64, u32)> = gone.iter().map(|s| (s.sk, s.ino)).collect();
        let mut counts: HashMap<_, Signature, u64> = map(&mut self.ebpf, "COUNTS")?;
        for (signature, _) in &found.counts {
            if gone.contains(&(signature.sk, signature.ino)) {
                let _ = counts.remove(signature);
            }
        }
        Ok(())
    }

    /// Makes a place nobody's, and empty: the next one may take it only then.
    fn free(&mut self, number: u32) -> Result<(), ProbeError> {
        let mut places: Array<_, Place> = map(&mut self.ebpf, "QUEUES")?;
        places.set(number, Place::default(), 0).map_err(LoadError::Write)?;
        let mut healthy: PerCpuArray<_, Healthy> = map(&mut self.ebpf, "HEALTHY")?;
        let each = healthy.get(&number, 0).map_err(LoadError::Write)?;
        let none = each.iter().map(|_| Healthy::default()).collect::<Vec<_>>();
        let none =
            PerCpuValues::try_from(none).map_err(MapError::from).map_err(LoadError::Write)?;
        healthy.set(number, none, 0).map_err(LoadError::Write)?;
        let mut owners: HashMap<_, u32, Socket> = map(&mut self.ebpf, "OWNERS")?;
        let _ = owners.remove(&number);
        Ok(())
    }
}
