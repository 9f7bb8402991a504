//! Time as the model counts it: nanoseconds since the burst began, negative before it.

/// Nanoseconds relative to the start of the burst.
pub type Nanos = i64;

/// One microsecond.
pub const US: Nanos = 1_000;
/// One millisecond.
pub const MS: Nanos = 1_000_000;
/// One second.
pub const SEC: Nanos = 1_000_000_000;

/// One jiffy of a kernel with `CONFIG_HZ=250`, as Debian and Ubuntu build theirs.
///
/// It decides only which timers expire together; the kernel's own wheel is coarser for longer
/// timeouts, and late by up to 12 %.
pub const JIFFY: Nanos = 4 * MS;

/// When a timer armed at `now` for `timeout` expires: timers count from the last jiffy.
pub const fn expires(now: Nanos, timeout: Nanos) -> Nanos {
    now - now.rem_euclid(JIFFY) + timeout
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_armed_in_one_jiffy_expire_together() {
        assert_eq!(expires(10, SEC), SEC);
        assert_eq!(expires(JIFFY - 1, SEC), SEC);
        assert_eq!(expires(JIFFY, SEC), SEC + JIFFY);
        assert_eq!(expires(-1, SEC), SEC - JIFFY);
    }
}
