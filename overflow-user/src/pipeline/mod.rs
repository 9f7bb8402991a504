//! From frames to output: live tracing and replay drive the same pipeline, so that they print the
//! same.

mod command;
mod engine;
mod filter;
mod flight;
mod grouped;
mod kernel_counts;
mod live;
mod recording;
mod stop;
mod looks;
mod whys;
mod window;
mod remembered;
mod listener_totals;
mod listener_cache;

pub use engine::{Engine, Options, needs_healthy};
#[cfg(test)]
pub(crate) use filter::EVERYTHING;
pub use filter::Filter;
pub use live::{Ends, Live, report_losses};
pub use looks::Beginning;
pub use recording::LiveRecording;
pub use stop::Stop;
pub use window::{Moment, Window};
