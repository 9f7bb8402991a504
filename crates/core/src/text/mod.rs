//! Text for people, laid out in one place.

pub mod duration;
mod sentence;
pub mod style;
pub mod table;
pub mod untrusted;
pub mod values;
pub mod wrap;

pub use sentence::sentence;
pub use untrusted::Untrusted;
