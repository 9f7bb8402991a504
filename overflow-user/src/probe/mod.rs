//! Attaches the eBPF programs, each hook point by the best rung that attaches, and reads the
//! ring.

mod climb;
mod counts;
mod error;
mod existing;
mod ladder;
mod load;
mod loader;
mod ring;
mod survey;
mod targets;

pub use error::{LoadError, ProbeError};
pub use ladder::{HookPointStatus, HookStatus, Scope};
pub use load::{TraceConfig, Tracer};
pub use ring::{Losses, RecordReader};
