//! Text for people, laid out in one place.

pub mod duration;
mod printable;
mod sentence;
pub mod style;
pub mod table;
pub mod values;
pub mod wrap;

pub use printable::printable;
pub use sentence::sentence;
