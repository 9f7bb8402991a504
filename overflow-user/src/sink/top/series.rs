//! One number a second, the last few minutes of it.

use std::collections::VecDeque;

/// Seconds that are kept: more than the widest screen has columns.
const KEPT: usize = 300;

/// One number a second, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Series(VecDeque<u32>);

impl Series {
    /// Takes the next second's.
    pub(crate) fn push(&mut self, value: u32) {
        if self.0.len() >= KEPT {
            self.0.pop_front();
        }
        self.0.push_back(value);
    }

    /// The last `seconds` of them, oldest first, or as many as there are.
    pub(crate) fn last(&self, seconds: usize) -> impl Iterator<Item = u32> {
        self.0.iter().skip(self.0.len().saturating_sub(seconds)).copied()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_forgets_the_oldest() {
        let mut series = Series::default();
        for second in 0..KEPT + 2 {
            series.push(u32::try_from(second).unwrap());
        }
        assert_eq!(series.len(), KEPT);
        assert_eq!(series.last(2).collect::<Vec<_>>(), [300, 301]);
        assert_eq!(series.last(usize::MAX).next(), Some(2));
    }
}
