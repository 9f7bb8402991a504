//! A part of a recording: what came before it only helps to judge, what came after it is not read.

use jiff::Timestamp;

const DAY_NS: i128 = 86_400_000_000_000;
/// A time of the day that is passed by no more than this when the recording begins is that of this day,
/// not of the next one: people ask for what they read off its first line.
const PASSED_NS: i128 = 3_600_000_000_000;

/// A moment of a recording, as somebody asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// So long after its beginning, nanoseconds.
    After(u64),
    /// At this time of the day, by the recording machine's clock: nanoseconds since midnight.
    OfDay(u64),
    /// At this time, nanoseconds since 1970 UTC.
    At(i128),
}

/// From when until when; all of it by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// What is earlier is not shown and not counted.
    pub since: Option<Moment>,
    /// Where it ends.
    pub until: Option<Moment>,
}

/// How the recording machine's clocks stood.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clocks {
    /// CLOCK_REALTIME minus CLOCK_MONOTONIC, nanoseconds.
    pub wall_offset_ns: i64,
    /// Local time minus UTC, seconds.
    pub utc_offset_s: i32,
}

/// A window on the clock of the records, CLOCK_MONOTONIC nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Its first moment.
    pub since_ns: u64,
    /// The first moment after it.
    pub until_ns: u64,
}

impl Moment {
    /// `90s` and the like are times since the beginning; `18:02:21`, `18:02:21.5` are times of the day;
    /// `2026-11-30T18:02:21Z` is a time.
    ///
    /// # Errors
    ///
    /// What is expected, if it is none of these.
    pub fn parse(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "expected a time of the day as in the recording's lines (18:02:21), a time \
                                since its beginning (90s), or one with date and zone \
                                (2026-11-30T18:02:21Z)";
        if text.contains(':') && !text.contains(['T', ' ']) {
            let time = text.parse::<jiff::civil::Time>().map_err(|_| EXPECTED.to_owned())?;
            let of_day = time.duration_since(jiff::civil::Time::midnight()).as_nanos();
            return u64::try_from(of_day).map(Self::OfDay).map_err(|_| EXPECTED.to_owned());
        }
        if let Ok(time) = text.parse::<Timestamp>() {
            return Ok(Self::At(time.as_nanosecond()));
        }
        let span = text.parse::<jiff::SignedDuration>().map_err(|_| EXPECTED.to_owned())?;
        u64::try_from(span.as_nanos()).map(Self::After).map_err(|_| EXPECTED.to_owned())
    }

    /// The same on the clock of the records, which begin at `begun_ns`.
    fn ns(self, begun_ns: u64, clocks: Clocks) -> u64 {
        let wall = i128::from(clocks.wall_offset_ns);
        let ns = match self {
            Self::After(ns) => i128::from(begun_ns.saturating_add(ns)),
            Self::At(ns) => ns - wall,
            Self::OfDay(of_day) => {
                let local = wall + i128::from(clocks.utc_offset_s) * 1_000_000_000;
                let begun = i128::from(begun_ns) + local;
                let midnight = begun - begun.rem_euclid(DAY_NS);
                let that_day = midnight + i128::from(of_day);
                let next = if that_day + PASSED_NS < begun { DAY_NS } else { 0 };
                that_day + next - local
            }
        };
        u64::try_from(ns).unwrap_or(if ns < 0 { 0 } else { u64::MAX })
    }
}

impl Window {
    /// Whether it is all of a recording.
    pub(super) fn is_all(self) -> bool {
        self == Self::default()
    }

    /// On the clock of records that begin at `begun_ns`.
    pub(super) fn bounds(self, begun_ns: u64, clocks: Clocks) -> Bounds {
        let ns = |moment: Moment| moment.ns(begun_ns, clocks);
        Bounds { since_ns: self.since.map_or(0, ns), until_ns: self.until.map_or(u64::MAX, ns) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    #[test]
    fn moments_as_people_write_them() {
        assert_eq!(Moment::parse("90s"), Ok(Moment::After(90 * S)));
        assert_eq!(Moment::parse("1m 30s"), Ok(Moment::After(90 * S)));
        assert_eq!(Moment::parse("200ms"), Ok(Moment::After(S / 5)));
        assert_eq!(Moment::parse("00:01:30"), Ok(Moment::OfDay(90 * S)));
        assert_eq!(Moment::parse("18:02"), Ok(Moment::OfDay((18 * 60 + 2) * 60 * S)));
        assert_eq!(Moment::parse("00:00:01.5"), Ok(Moment::OfDay(S * 3 / 2)));
        assert_eq!(Moment::parse("1970-01-01T00:00:02Z"), Ok(Moment::At(2_000_000_000)));
        assert_eq!(Moment::parse("1970-01-01T08:00:02+08:00"), Ok(Moment::At(2_000_000_000)));
        for bad in ["", "x", "90", "-5s", "25:00:00", "18:02:21 yesterday", "2026-11-30"] {
            let error = Moment::parse(bad).unwrap_err();
            assert!(error.starts_with("expected a time of the day"), "{bad}: {error}");
        }
    }

    /// A recording that begins at 23:59:50 local time, an hour ahead of UTC, ten minutes after the start
    /// of its machine.
    #[test]
    fn a_time_of_the_day_is_the_nearest_after_the_beginning() {
        let begun = 600 * S;
        let local = i64::try_from(86_390 * S).unwrap();
        let clocks = Clocks {
            wall_offset_ns: local - 3_600 * 1_000_000_000 - 600_000_000_000,
            utc_offset_s: 3600,
        };
        let of_day = |text: &str| Moment::parse(text).unwrap().ns(begun, clocks);
        assert_eq!(of_day("23:59:50"), begun);
        assert_eq!(of_day("23:59:49"), begun - S, "of this day, though it has passed");
        assert_eq!(of_day("00:00:10"), begun + 20 * S, "of the next one");
        assert_eq!(of_day("22:00:00"), begun + (22 * 3600 + 10) * S);
        assert_eq!(of_day("1970-01-01T22:59:55Z"), begun + 5 * S);
        assert_eq!(of_day("20s"), begun + 20 * S);
        assert_eq!(Moment::At(-1).ns(begun, clocks), 0, "before the machine started");
    }

    #[test]
    fn a_window_is_all_unless_something_is_asked() {
        let all = Window::default().bounds(5, Clocks::default());
        assert_eq!(all, Bounds { since_ns: 0, until_ns: u64::MAX });
        let some = Window { since: Some(Moment::After(3)), until: None };
        assert_eq!(some.bounds(5, Clocks::default()), Bounds { since_ns: 8, until_ns: u64::MAX });
        assert!(!some.is_all());
    }
}
