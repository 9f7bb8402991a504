//! How fast segments are worked off where many come at once.

use overflow_common::{Kind, Path};

use super::accepts::made_child;
use crate::{
    decode::Event,
    model::{
        processor::{self, Costs},
        time::Nanos,
    },
};

/// Segments that come further apart than this came when their clients sent them, nanoseconds.
const AT_ONCE: u64 = 200_000;
/// Of fewer nothing is known.
const FEWEST: usize = 16;
/// More are not kept.
const MOST: usize = 1 << 14;

/// Times between SYNs, and between third ACKs.
#[derive(Debug, Default)]
pub(super) struct Spacing {
    /// When the last one came, of each.
    last_ns: [u64; 2],
    gaps: [Vec<u32>; processor::Kind::ALL.len()],
}

impl Spacing {
    /// A SYN came, or a third ACK.
    pub(super) fn event(&mut self, event: &Event) {
        if matches!(event.kind, Kind::Syn | Kind::Ack) {
            self.segment(kind(event), event.kind == Kind::Syn, event.t_ns);
        }
    }

    /// The time of a record is that of its segment's end, so what is between two is what the second took.
    fn segment(&mut self, kind: processor::Kind, syn: bool, t_ns: u64) {
        let last_ns = &mut self.last_ns[usize::from(syn)];
        let gaps = &mut self.gaps[kind as usize];
        let gap = t_ns.saturating_sub(*last_ns);
        if gap < AT_ONCE && gaps.len() < MOST {
            gaps.extend(u32::try_from(gap));
        }
        *last_ns = t_ns.max(*last_ns);
    }

    /// The usual time of those that came at once, nanoseconds; 0 if hardly any did.
    pub(super) fn usual(&self) -> u64 {
        quartile(self.gaps.iter().flatten().copied().collect()).unwrap_or(0)
    }

    /// The same by what was done with them. What was hardly seen costs as much more or less than the
    /// others as it does elsewhere; where nothing was, as much as it does there.
    pub(super) fn costs(&self) -> Costs {
        let seen = self.gaps.each_ref().map(|gaps| quartile(gaps.clone()));
        let shares = seen.iter().zip(ELSEWHERE).filter_map(|(seen, at)| Some((*seen)? * 100 / at));
        let mut shares: Vec<u64> = shares.collect();
        shares.sort_unstable();
        let share = shares.get(shares.len() / 2).copied().unwrap_or(100_000);
        Costs::by_kind(|kind| {
            let at = kind as usize;
            Nanos::try_from(seen[at].unwrap_or(ELSEWHERE[at] * share / 100)).unwrap_or(0)
        })
    }
}

/// What the kinds of segments cost beside each other, in the order of [`processor::Kind::ALL`]: as in
/// the machines of `cargo xtask whatif`, microseconds.
const ELSEWHERE: [u64; processor::Kind::ALL.len()] = [18, 36, 50, 55, 33];

fn kind(event: &Event) -> processor::Kind {
    use processor::Kind as Done;
    match event.kind {
        Kind::Syn if event.path.has(Path::COOKIE_INIT | Path::TP_SYNACK_COOKIE) => Done::SynCookie,
        Kind::Syn if event.path.has(Path::REQSK_HASHED | Path::TP_SYNACK_REQUEST) => {
            Done::SynQueued
        }
        Kind::Syn => Done::SynDropped,
        _ if made_child(event) => Done::Child,
        _ => Done::Other,
    }
}

/// A quarter of them are less: those of whoever connects as fast as it can are larger than those of
/// timers. `None` of too few.
fn quartile(mut gaps: Vec<u32>) -> Option<u64> {
    if gaps.len() < FEWEST {
        return None;
    }
    gaps.sort_unstable();
    Some(gaps[gaps.len() / 4].into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use processor::Kind::{Other, SynCookie, SynDropped};

    #[test]
    fn what_timers_send_is_told_from_what_clients_do() {
        let mut spacing = Spacing::default();
        for n in 0..100 {
            spacing.segment(SynDropped, true, 1_000_000 + n * 170_000);
        }
        for n in 0..60 {
            spacing.segment(SynDropped, true, 1_000_000_000 + n * 45_000);
            spacing.segment(Other, false, 1_000_020_000 + n * 45_000);
        }
        for n in 0..1000 {
            spacing.segment(SynDropped, true, 2_000_000_000 + n * 10_000_000);
        }
        assert_eq!(spacing.usual(), 45_000);
    }

    #[test]
    fn a_few_say_nothing() {
        let mut spacing = Spacing::default();
        (1..=FEWEST as u64).for_each(|n| spacing.segment(Other, true, 1_000_000 + n * 1000));
        assert_eq!(spacing.usual(), 0);
        assert_eq!(spacing.costs().of(Other), 33_000, "as elsewhere");
        spacing.segment(Other, true, 1_000_000 + 17_000);
        assert_eq!(spacing.usual(), 1000);
    }

    #[test]
    fn kinds_cost_what_was_seen_or_as_much_more_as_elsewhere() {
        let mut spacing = Spacing::default();
        (1..100).for_each(|n| spacing.segment(SynDropped, true, 1_000_000 + n * 9_000));
        (1..100).for_each(|n| spacing.segment(Other, false, 1_000_000 + n * 33_000));
        let costs = spacing.costs();
        assert_eq!(costs.of(SynDropped), 9_000);
        assert_eq!(costs.of(Other), 33_000);
        // One costs half of what it does elsewhere, the other as much: so does what was not seen.
        assert_eq!(costs.of(SynCookie), 36_000);
    }
}
