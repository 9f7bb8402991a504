//! Text for people, laid out in one place.

pub mod duration;
pub mod effect;
pub mod style;
pub mod table;
pub mod values;
pub mod wrap;
