//! CLOCK_MONOTONIC nanoseconds: the one clock every record of the lab is in.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// CLOCK_MONOTONIC now, nanoseconds.
pub(super) fn monotonic_ns() -> u64 {
    u64::try_from(nanos(clock_gettime(ClockId::Monotonic))).unwrap_or(0)
}

/// What must be added to a CLOCK_REALTIME time to get CLOCK_MONOTONIC, nanoseconds.
pub(super) fn realtime_to_monotonic_ns() -> i64 {
    // Of several tries the one with the narrowest bracket was interrupted least.
    (0..8)
        .map(|_| {
            let before = nanos(clock_gettime(ClockId::Monotonic));
            let real = nanos(clock_gettime(ClockId::Realtime));
            let after = nanos(clock_gettime(ClockId::Monotonic));
            (after - before, before + (after - before) / 2 - real)
        })
        .min()
        .map_or(0, |(_, offset)| offset)
}

/// A kernel time as nanoseconds.
pub(super) fn nanos(t: Timespec) -> i64 {
    t.tv_sec * 1_000_000_000 + t.tv_nsec
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_turns_one_clock_into_the_other() {
        let offset = realtime_to_monotonic_ns();
        let real = nanos(clock_gettime(ClockId::Realtime));
        let mono = i64::try_from(monotonic_ns()).unwrap();
        assert!((real + offset - mono).abs() < 100_000_000, "off by {}", real + offset - mono);
    }
}
