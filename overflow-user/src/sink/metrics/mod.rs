//! What was traced as numbers: a page of metrics that Prometheus and OpenMetrics scrapers read.
//!
//! The names and labels are a contract, see docs/metrics.md. No label comes from a client.

mod rows;
mod catalog;
mod encode;
mod families;
mod listen;
mod server;
mod sink;
#[cfg(test)]
pub(in crate::sink) mod tests;

pub use catalog::{CATALOG, Exact, Kind, LISTENER, Label, Metric, Otlp, Value};
pub use encode::{Format, encode};
pub use families::{Families, Family, Sample};
pub use listen::listen;
pub use server::Endpoint;
pub use sink::{Collector, Measured, Shared};
