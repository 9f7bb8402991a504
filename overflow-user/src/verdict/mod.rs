//! Story of a connection -> verdict with its evidence. Pure; sees no clock.

mod id;
mod stage;

pub use id::VerdictId;
pub use stage::{Connection, Known, Stage, Values};
