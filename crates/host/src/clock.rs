//! CLOCK_MONOTONIC, the one clock every record is in, and how far the time of day is from it.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// CLOCK_MONOTONIC now, nanoseconds.
pub fn monotonic_ns() -> u64 {
    u64::try_from(nanos(clock_gettime(ClockId::Monotonic))).unwrap_or(0)
}

/// CLOCK_REALTIME minus CLOCK_MONOTONIC now, nanoseconds.
pub fn wall_offset_ns() -> i64 {
    // Of several tries the one with the narrowest bracket was interrupted least.
    (0..8)
        .map(|_| {
            let before = nanos(clock_gettime(ClockId::Monotonic));
            let real = nanos(clock_gettime(ClockId::Realtime));
            let after = nanos(clock_gettime(ClockId::Monotonic));
            (after - before, real - (before + (after - before) / 2))
        })
        .min()
        .map_or(0, |(_, offset)| offset)
}

fn nanos(t: Timespec) -> i64 {
    t.tv_sec * 1_000_000_000 + t.tv_nsec
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_turns_one_clock_into_the_other() {
        let offset = wall_offset_ns();
        let real = nanos(clock_gettime(ClockId::Realtime));
        let mono = i64::try_from(monotonic_ns()).unwrap();
        assert!((real - offset - mono).abs() < 100_000_000, "off by {}", real - offset - mono);
    }
}
