//! Why a listener's queue was full: evidence of who holds it -> causes. Pure; sees no clock.
//!
//! [`evidence`] is what two looks at the holders showed, a short time apart. [`judge`] makes causes
//! of it: several where several hold, and for each of the others what rules it out, or why nobody
//! can tell. No cause is named without evidence.

mod arrivals;
mod candidates;
mod catalog;
mod doing;
mod episode;
pub mod evidence;
mod judge;
mod processes;
#[cfg(any(test, feature = "samples"))]
pub mod sample;
mod task;
#[cfg(test)]
mod tests;
mod words;

pub use arrivals::{Accepting, Flow};
pub use catalog::CauseId;
pub use episode::{Change, Episode};
pub use evidence::Evidence;
pub use judge::{Finding, Judgement, judge};
pub use task::{
    Call, ControlGroup, Descriptors, Holder, Memory, On, Polled, Quota, Reading, Thread, Waiter,
};
