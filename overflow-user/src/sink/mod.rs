//! What a live trace finds, as text, JSON lines, a page, metrics, OTLP, or on a screen.

pub mod trace;
mod audit_text;
pub mod offer;
mod clients_text;
mod trace_json;
mod trace_line;
pub mod listeners;
pub mod why;
mod trace_text;
pub mod metrics;
pub mod otlp;
pub mod page;
pub mod top;
#[cfg(test)]
mod hostile;

pub(crate) use audit_text::alarm;
