//! Attaches the eBPF programs, each hook point by the best rung that attaches, and reads the
//! ring.

mod ahead;
mod climb;
mod counters;
mod counts;
mod error;
mod existing;
mod ladder;
mod load;
mod loader;
mod object;
mod survey;
mod targets;
mod transport;
mod withheld;

pub use error::{LoadError, ProbeError};
pub use ladder::{HookPointStatus, HookStatus, Scope};
pub use load::{TraceConfig, Tracer};
pub use transport::{Losses, RecordReader};
