//! The knowledge base: a topic for each verdict and each kernel feature, in two languages, and what
//! a kernel makes of a burst, asked of the [`crate::model`].

mod counts;
pub mod docs;
pub mod host;
mod lang;
mod names;
pub mod predict_burst;
pub mod search;
pub mod topics;

pub use counts::Counts;
pub use lang::Lang;
