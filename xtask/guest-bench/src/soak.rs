//! What `cargo xtask soak` asks of the program in its VM, and what that program answers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::memory::Memory;

/// Mixed load for a long time while a tool traces.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Soak {
    /// The tool: path and arguments.
    pub tool: Vec<String>,
    /// How long, minutes of the machine's clock.
    pub minutes: u64,
    /// Where the tool serves metrics, to be asked for every 15 s: `127.0.0.1:9435`.
    pub metrics: String,
}

/// What happened.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SoakReport {
    /// The tool's memory, once each minute: before the load, then at the end of each minute.
    pub samples: Vec<Memory>,
    /// What the load did, by kind.
    pub load: BTreeMap<String, u64>,
    /// How often the metrics were read.
    pub scrapes: u64,
    /// How much `ListenOverflows` rose.
    pub overflows: u64,
    /// The same as the metrics have it: sum of `overflow_listener_overflows_total`.
    pub metrics_overflows: u64,
    /// Lines that the tool printed.
    pub lines: u64,
    /// The last line of its standard error.
    pub stderr: String,
}
