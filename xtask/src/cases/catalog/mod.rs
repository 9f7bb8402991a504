//! The cases, as data.

mod crowded;
mod late;
mod segments;
mod sharing;
mod starting;

use super::case::Case;

/// Every case.
pub fn all() -> impl Iterator<Item = &'static Case> {
    [starting::CASES, segments::CASES, sharing::CASES, late::CASES, crowded::CASES]
        .into_iter()
        .flatten()
}
