//! Times as people read them, in each of the forms that the output has, and counts of things.

use std::time::Duration;

/// A period in its natural unit, two or three digits.
pub fn period(ns: u64) -> String {
    #[allow(clippy::cast_precision_loss)] // for people
    let ns = ns as f64;
    let (value, unit) = match ns {
        ..1e3 => (ns, "ns"),
        1e3..1e6 => (ns / 1e3, "µs"),
        1e6..1e9 => (ns / 1e6, "ms"),
        _ => (ns / 1e9, "s"),
    };
    if value < 10.0 { format!("{value:.1}\u{a0}{unit}") } else { format!("{value:.0}\u{a0}{unit}") }
}

/// A time after the connection's first stage: `+201 ms`, from a second on `+1.2 s`.
pub fn since(t_ns: u64, t0_ns: u64) -> String {
    let ns = t_ns.saturating_sub(t0_ns);
    if ns < 1_000_000_000 {
        format!("+{} ms", (ns + 500_000) / 1_000_000)
    } else {
        let tenths = (ns + 50_000_000) / 100_000_000;
        format!("+{}.{} s", tenths / 10, tenths % 10)
    }
}

/// A period with one decimal, for a narrow column: `128.0µs`, `1.0s`; whole nanoseconds below that.
pub fn narrow(ns: u64) -> String {
    let time = Duration::from_nanos(ns);
    if ns < 1_000 { format!("{time:.0?}") } else { format!("{time:.1?}") }
}

/// A setting as it was given, not rounded: `200 ms`, from a second on `1.5 s`.
pub fn setting(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        return format!("{} ms", time.as_millis());
    }
    format!("{} s", time.as_secs_f64())
}

/// Seconds to the millisecond, for a column without units: `7.136`, `-0.030`.
pub fn seconds(ns: i64) -> String {
    let ms = ns.div_euclid(1_000_000);
    let sign = if ms < 0 { "-" } else { "" };
    format!("{sign}{}.{:03}", ms.abs() / 1000, ms.abs() % 1000)
}

/// Several times, the later ones counted when there are many.
pub fn times(times: &[u64], t0_ns: u64) -> String {
    const SHOWN: usize = 4;
    let mut text: Vec<String> = times.iter().take(SHOWN).map(|t| since(*t, t0_ns)).collect();
    if times.len() > SHOWN {
        text.push(format!("{} more", times.len() - SHOWN));
    }
    text.join(", ")
}

/// `n` things, with the plural's s.
pub fn count(n: usize, thing: &str) -> String {
    format!("{n} {thing}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        assert_eq!(since(1_201_400_000, 1_000_000_000), "+201 ms");
        assert_eq!(since(2_249_000_000, 1_000_000_000), "+1.2 s");
        assert_eq!(narrow(0), "0ns");
        assert_eq!(narrow(128_000), "128.0µs");
        assert_eq!(narrow(1_049_000_000), "1.0s");
        assert_eq!(times(&[1, 2, 3, 4, 5, 6], 0), "+0 ms, +0 ms, +0 ms, +0 ms, 2 more");
    }

    #[test]
    fn settings_are_not_rounded() {
        assert_eq!(setting(Duration::from_millis(200)), "200 ms");
        assert_eq!(setting(Duration::from_millis(1500)), "1.5 s");
    }

    #[test]
    fn times_before_the_burst_are_negative() {
        assert_eq!(seconds(200_060_000), "0.200");
        assert_eq!(seconds(-30_000_000), "-0.030");
        assert_eq!(seconds(7_136_000_000), "7.136");
    }

    #[test]
    fn one_thing_has_no_plural() {
        assert_eq!([count(1, "client"), count(0, "client")], ["1 client", "0 clients"]);
    }
}
