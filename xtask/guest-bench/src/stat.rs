//! Minimum, median and mean of a series.

use serde::{Deserialize, Serialize};

/// A series in short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stat {
    /// How many there are; with none, the rest is 0.
    pub n: usize,
    /// The least.
    pub min: u64,
    /// The one in the middle; the lower of two.
    pub median: u64,
    /// The average.
    pub mean: f64,
}

impl Stat {
    /// Of these.
    pub fn of(mut series: Vec<u64>) -> Self {
        series.sort_unstable();
        let (Some(&min), n) = (series.first(), series.len()) else { return Self::default() };
        let mean = series.iter().map(|&x| as_f64(x)).sum::<f64>() / as_f64(n as u64);
        Self { n, min, median: series[(n - 1) / 2], mean }
    }

    /// What is added to `before`: by the median, because the machine itself does not vary; where
    /// the tool's own work fell into more than half of the windows, by the minimum.
    pub fn added_to(&self, before: &Self) -> Option<i64> {
        (self.n > 0 && before.n > 0).then(|| {
            let by_median = self.median.cast_signed() - before.median.cast_signed();
            let by_min = self.min.cast_signed() - before.min.cast_signed();
            if by_median > by_min + by_min.abs() / 4 + NOISE { by_min } else { by_median }
        })
    }
}

impl Stat {
    /// What is added at least, where that is noticeably less: when not every one took the same way.
    pub fn least_added_to(&self, before: &Self) -> Option<i64> {
        let usual = self.added_to(before)?;
        let least = self.min.cast_signed() - before.min.cast_signed();
        (usual - least >= NOTICEABLE).then_some(least)
    }
}

/// Differences below this say nothing, instructions.
const NOISE: i64 = 50;
/// Ways apart by this are not the same; one way repeats to a few instructions.
const NOTICEABLE: i64 = 30;

/// For means and rates, where the last bits of a large count do not matter.
#[expect(clippy::cast_precision_loss, reason = "counts here are far below 2^52")]
pub fn as_f64(x: u64) -> f64 {
    x as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_few() {
        let stat = Stat::of(vec![5, 1, 9, 3]);
        assert_eq!((stat.n, stat.min, stat.median), (4, 1, 3));
        assert!((stat.mean - 4.5).abs() < 1e-9);
        assert_eq!(Stat::of(Vec::new()), Stat::default());
    }

    #[test]
    fn added_is_by_median_unless_the_consumer_runs_in_the_window() {
        let before = Stat::of(vec![1000; 9]);
        assert_eq!(Stat::of(vec![1400, 1404, 1404]).added_to(&before), Some(404));
        assert_eq!(Stat::of(vec![2088, 21_600, 21_700]).added_to(&before), Some(1088));
        assert_eq!(Stat::default().added_to(&before), None);
        let two_ways = Stat::of(vec![1480, 1590, 1590]);
        assert_eq!(two_ways.added_to(&before), Some(590));
        assert_eq!(two_ways.least_added_to(&before), Some(480));
        assert_eq!(Stat::of(vec![1400, 1404]).least_added_to(&before), None);
    }
}
