//! How fast segments are worked off where many come at once.

/// Segments that come further apart than this came when their clients sent them, nanoseconds.
const AT_ONCE: u64 = 200_000;
/// Of fewer nothing is known.
const FEWEST: usize = 16;
/// More are not kept.
const MOST: usize = 1 << 14;

/// Times between SYNs, and between third ACKs.
#[derive(Debug, Default)]
pub(super) struct Spacing {
    /// When the last one came, of each kind.
    last_ns: [u64; 2],
    gaps: Vec<u32>,
}

impl Spacing {
    /// A SYN came, or a third ACK.
    pub(super) fn segment(&mut self, syn: bool, t_ns: u64) {
        let last_ns = &mut self.last_ns[usize::from(syn)];
        let gap = t_ns.saturating_sub(*last_ns);
        if gap < AT_ONCE && self.gaps.len() < MOST {
            self.gaps.extend(u32::try_from(gap));
        }
        *last_ns = t_ns.max(*last_ns);
    }

    /// The usual one of those that came at once, nanoseconds; 0 if hardly any did.
    pub(super) fn usual(&mut self) -> u64 {
        if self.gaps.len() < FEWEST {
            return 0;
        }
        self.gaps.sort_unstable();
        // Those of whoever connects as fast as it can are larger than those of timers.
        self.gaps[self.gaps.len() / 4].into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_timers_send_is_told_from_what_clients_do() {
        let mut spacing = Spacing::default();
        for n in 0..100 {
            spacing.segment(true, 1_000_000 + n * 170_000);
        }
        for n in 0..60 {
            spacing.segment(true, 1_000_000_000 + n * 45_000);
            spacing.segment(false, 1_000_020_000 + n * 45_000);
        }
        for n in 0..1000 {
            spacing.segment(true, 2_000_000_000 + n * 10_000_000);
        }
        assert_eq!(spacing.usual(), 45_000);
    }

    #[test]
    fn a_few_say_nothing() {
        let mut spacing = Spacing::default();
        (1..=FEWEST as u64).for_each(|n| spacing.segment(true, 1_000_000 + n * 1000));
        assert_eq!(spacing.usual(), 0);
        spacing.segment(true, 1_000_000 + 17_000);
        assert_eq!(spacing.usual(), 1000);
    }
}
