//! Text for people, laid out in one place.

pub mod duration;
pub mod style;
pub mod table;
pub mod values;
