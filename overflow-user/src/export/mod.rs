//! Export by OTLP over HTTP: what [`crate::sink::otlp`] made goes to a collector, from a process of
//! its own.
//!
//! The tracing process cannot connect once it is confined. It hands requests over a pipe to one
//! that can connect to the collector and do nothing else, which keeps them while the collector is
//! slow or away. Both queues are bounded: what finds no room is counted, and tracing never waits.

mod retry_queue;
mod message;
mod http_client;
mod process;
mod serve;
mod settings;

pub(crate) use message::{DeliveryCounts, Report, Request, Signal};
pub use process::{COMMAND, Export, Outbox};
pub use serve::serve;
pub use settings::Settings;
pub(crate) use settings::Target;
