//! The cases, as data.

mod clients;
mod crowded;
mod devices;
mod fastopen;
mod late;
mod requests;
mod segments;
mod sharing;
mod starting;

use super::case::Case;

/// Every case.
pub fn all() -> impl Iterator<Item = &'static Case> {
    [
        starting::CASES,
        segments::CASES,
        sharing::CASES,
        late::CASES,
        requests::CASES,
        fastopen::CASES,
        devices::CASES,
        clients::CASES,
        crowded::CASES,
    ]
    .into_iter()
    .flatten()
}
