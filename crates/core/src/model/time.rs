//! Time as the model counts it: nanoseconds since the burst began, negative before it.

/// Nanoseconds relative to the start of the burst.
pub type Nanos = i64;

/// One microsecond.
pub const US: Nanos = 1_000;
/// One millisecond.
pub const MS: Nanos = 1_000_000;
/// One second.
pub(crate) const SEC: Nanos = 1_000_000_000;

/// One jiffy of a kernel with `CONFIG_HZ=250`, as Debian and Ubuntu build theirs.
pub(crate) const JIFFY: Nanos = 4 * MS;

/// Buckets of one level of the non-cascading timer wheel (`LVL_SIZE`).
const LEVEL_SIZE: i64 = 64;
/// Each level is this much coarser than the one below (`LVL_CLK_DIV`).
const LEVEL_STEP: i64 = 8;

/// When a timer armed at `now` for `timeout` expires on the cascading wheel of kernels before 4.8:
/// exactly, counted from the last jiffy.
pub(crate) const fn expires_exactly(now: Nanos, timeout: Nanos) -> Nanos {
    (now.div_euclid(JIFFY) + timeout / JIFFY) * JIFFY
}

/// The same on the wheel of 500462a9de65 (4.8): rounded up to a bucket of the level that the
/// timeout falls into (`calc_index`), so up to 1/8 late: 1 s timers by 4 to 32 ms, 4 s timers by up
/// to 256 ms.
pub(crate) fn expires_in_bucket(now: Nanos, timeout: Nanos) -> Nanos {
    let delta = timeout / JIFFY;
    let mut bucket = 1;
    while delta >= (LEVEL_SIZE - 1) * bucket && bucket < 1 << 24 {
        bucket *= LEVEL_STEP;
    }
    let expires = now.div_euclid(JIFFY) + delta;
    (expires.div_euclid(bucket) + 1) * bucket * JIFFY
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_armed_in_one_jiffy_expire_together() {
        for expires in [expires_exactly, expires_in_bucket] {
            assert_eq!(expires(10, SEC), expires(JIFFY - 1, SEC));
            assert!(expires(-1, SEC) <= expires(0, SEC));
        }
        assert_eq!(expires_exactly(10, SEC), SEC);
        assert_eq!(expires_exactly(-1, SEC), SEC - JIFFY);
    }

    #[test]
    fn timers_are_late_by_a_bucket_since_4_8() {
        assert_eq!(expires_in_bucket(0, 200 * MS), 204 * MS);
        assert_eq!(expires_in_bucket(0, SEC), 1024 * MS);
        assert_eq!(expires_in_bucket(1024 * MS, 2 * SEC), 3040 * MS);
        assert_eq!(expires_in_bucket(0, 4 * SEC), 4096 * MS);
        assert_eq!(expires_in_bucket(-MS, SEC), 1024 * MS);
    }
}
