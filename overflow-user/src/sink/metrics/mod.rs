//! What was traced as numbers: a page of metrics that Prometheus and OpenMetrics scrapers read.
//!
//! The names and labels are a contract, see docs/metrics.md. No label comes from a client.

mod rows;
pub(in crate::sink) mod catalog;
mod encode;
mod families;
mod listen;
mod server;
mod sink;
#[cfg(test)]
pub(in crate::sink) mod tests;

pub(in crate::sink) use catalog::{Kind, Value};
pub(in crate::sink) use families::{Families, Family, Sample};
pub use listen::listen;
pub use server::Endpoint;
pub use sink::{Collector, Measured, Shared};
