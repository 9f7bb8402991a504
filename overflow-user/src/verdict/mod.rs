//! Story of a connection -> verdict with its evidence. Pure; sees no clock.

mod id;
mod judge;
mod paths;
mod rules;
mod stage;

pub use id::VerdictId;
pub use judge::judge;
pub use stage::{Connection, Known, Stage, Values};
