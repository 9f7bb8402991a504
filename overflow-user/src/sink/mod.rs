//! What a live trace finds, told: to people, as JSON lines, as metrics, on a screen.

pub mod live;
mod live_json;
mod live_line;
pub mod live_listeners;
mod live_text;
pub mod metrics;
pub mod otlp;
pub mod top;
