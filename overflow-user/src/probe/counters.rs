//! What hooks have read of the kernel's counters, from what each CPU keeps of them.

use std::collections::{BTreeMap, BTreeSet};

use overflow_common::{Counted, CountersRead};

/// How far the counters rose, by inode number of the network namespace: what CPUs have at hand, and after
/// it what was set aside, which may be an older state of the same.
pub(super) fn read(counted: impl IntoIterator<Item = Counted>) -> Vec<(u32, CountersRead)> {
    let mut seen = BTreeSet::new();
    let mut sums: BTreeMap<u32, CountersRead> = BTreeMap::new();
    for Counted { id, netns, cpu, read, .. } in counted {
        if read == CountersRead::default() || !seen.insert((id, cpu)) {
            continue;
        }
        let sum = sums.entry(netns).or_default();
        sum.overflows += read.overflows;
        sum.drops += read.drops;
        sum.queue_full += read.queue_full;
        sum.unknown += read.unknown;
    }
    sums.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(id: u64, cpu: u32, netns: u32, drops: u64) -> Counted {
        let read = CountersRead { overflows: drops / 2, drops, ..CountersRead::default() };
        Counted { id, netns, cpu, read, ..Counted::default() }
    }

    #[test]
    fn what_all_cpus_read_is_added_up() {
        // Another namespace had the same number before.
        let all =
            [counted(1, 0, 7, 4), counted(1, 1, 7, 2), counted(2, 0, 8, 6), counted(3, 0, 7, 10)];
        let sum = |overflows, drops| CountersRead { overflows, drops, ..CountersRead::default() };
        assert_eq!(read(all), [(7, sum(8, 16)), (8, sum(3, 6))]);
    }

    #[test]
    fn what_came_back_counts_once() {
        let (at_hand, aside) = (counted(1, 0, 7, 6), counted(1, 0, 7, 4));
        let sum = CountersRead { overflows: 3, drops: 6, ..CountersRead::default() };
        assert_eq!(read([at_hand, aside]), [(7, sum)]);
        // It is at hand again, and nothing was read since.
        assert_eq!(read([counted(2, 0, 0, 0)]), []);
    }
}
