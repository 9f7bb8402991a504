//! CLOCK_MONOTONIC, the one clock every record is in, and how far the time of day and the timer
//! wheel are from it.

use std::{
    fs::File,
    io::{BufRead, BufReader},
};

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

/// A jiffy, nanoseconds (`CONFIG_HZ=250`).
const JIFFY: i64 = 4_000_000;
/// How often the list is read.
const TRIES: usize = 4;

/// A time of CLOCK_MONOTONIC, nanoseconds, at which `jiffies` was a multiple of 4096: where every
/// bucket of the timer wheel's first levels begins. Exact where the list shows when ticks come, else late
/// by a jiffy at most. `None` where /proc/timer_list cannot be read, as by anybody but root.
pub fn jiffies_ns() -> Option<i64> {
    let read = || jiffies_of(BufReader::new(File::open("/proc/timer_list").ok()?));
    // A tick may come between the two lines, and makes it one jiffy too early.
    (0..TRIES).filter_map(|_| read()).max()
}

/// The two of `timer_list_show_tickdevices_header` and `print_cpu` of kernel/time/timer_list.c: one
/// processor's timers are between them, and among these the one that ticks, whose name was
/// another one before v6.9.
fn jiffies_of(list: impl BufRead) -> Option<i64> {
    let (mut now, mut tick): (Option<i64>, Option<i64>) = (None, None);
    let mut ticks = false;
    for line in list.lines().map_while(Result::ok) {
        if let Some(rest) = line.strip_prefix("now at ") {
            now = rest.strip_suffix(" nsecs").and_then(|ns| ns.parse().ok());
        } else if let Some(rest) = line.strip_prefix(" # expires at ")
            && ticks
        {
            tick = rest.split('-').next().and_then(|ns| ns.parse().ok());
        } else if let Some(jiffies) = line.strip_prefix("jiffies: ") {
            let jiffies: u64 = jiffies.trim().parse().ok()?;
            let since =
                now? - tick.map_or(0, |tick| (now.unwrap_or(tick) - tick).rem_euclid(JIFFY));
            return Some(since - i64::try_from(jiffies % 4096).ok()? * JIFFY);
        }
        ticks = line.contains(" tick_sched_timer,") || line.contains(" tick_nohz_handler,");
    }
    None
}

fn nanos(t: Timespec) -> i64 {
    t.tv_sec * 1_000_000_000 + t.tv_nsec
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jiffies_are_found_among_the_timers() {
        let list = "Timer List Version: v0.10\nnow at 40954021762345 nsecs\n\ncpu: 0\n  \
                    .last_jiffies   : 4305427681\njiffies: 4305434003\n\ncpu: 1\njiffies: 1\n";
        let jiffies = 4_305_434_003 % 4096 * 4_000_000;
        assert_eq!(jiffies_of(list.as_bytes()), Some(40_954_021_762_345 - jiffies));
        let ticking = list.replacen(
            "cpu: 0\n",
            "cpu: 0\n #0: <0000000046cbdda8>, tick_nohz_handler, S:01\n \
             # expires at 40954024000000-40954024000000 nsecs [in 2237655 to 2237655 nsecs]\n \
             #1: <00000000fb54e3a2>, hrtimer_wakeup, S:01\n \
             # expires at 40954021812345-40954021862345 nsecs [in 50000 to 100000 nsecs]\n",
            1,
        );
        assert_eq!(jiffies_of(ticking.as_bytes()), Some(40_954_020_000_000 - jiffies));
        assert_eq!(jiffies_of("now at x nsecs\njiffies: 5\n".as_bytes()), None);
        assert_eq!(jiffies_of("".as_bytes()), None);
    }

    #[test]
    fn the_offset_turns_one_clock_into_the_other() {
        let offset = wall_offset_ns();
        let real = nanos(clock_gettime(ClockId::Realtime));
        let mono = i64::try_from(monotonic_ns()).unwrap();
        assert!((real - offset - mono).abs() < 100_000_000, "off by {}", real - offset - mono);
    }
}
