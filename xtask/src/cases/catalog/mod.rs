//! The cases, as data.

mod clients;
mod crowded;
mod devices;
mod elsewhere;
mod fastopen;
mod late;
mod owners;
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
        owners::CASES,
        requests::CASES,
        fastopen::CASES,
        devices::CASES,
        elsewhere::CASES,
        clients::CASES,
        crowded::CASES,
    ]
    .into_iter()
    .flatten()
}
