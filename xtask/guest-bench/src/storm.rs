//! What `cargo xtask storm` asks of the program in its VM, and what that program answers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::memory::Memory;

/// Counters of the kernel that a storm raises, as in /proc/net/netstat. The last one is raised by
/// SYN-ACKs sent again (`tcp_rtx_synack`), and by nothing else here.
pub const COUNTERS: [&str; 5] =
    ["ListenOverflows", "ListenDrops", "TCPReqQFullDrop", "TCPReqQFullDoCookies", "TCPSynRetrans"];

/// One storm while a tool traces.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Storm {
    /// The tool: path and arguments; it prints JSON lines.
    pub tool: Vec<String>,
    /// Segments to be dropped or refused, of all kinds together.
    pub syns: usize,
    /// Threads that send SYNs at once, each by a device of its own.
    pub threads: u8,
    /// Time for the tool between the storm and its end, milliseconds.
    pub rest_ms: u64,
}

/// What happened, and what the tool printed of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct StormReport {
    /// Segments sent by the verdict that is theirs.
    pub sent: BTreeMap<String, u64>,
    /// How much the kernel's counters rose.
    pub counters: BTreeMap<String, u64>,
    /// What the tool printed.
    #[serde(rename = "said")]
    pub output: ToolOutput,
    /// The tool's memory before the storm; the most of before is forgotten.
    pub before: Memory,
    /// The tool's memory after the storm.
    pub after: Memory,
    /// How long the storm took by the machine's clock, nanoseconds.
    pub took_ns: u64,
    /// The last line of its standard error.
    pub stderr: String,
}

/// What matters of a tool's JSON lines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolOutput {
    /// Events shown, by verdict.
    pub events: BTreeMap<String, u64>,
    /// Events by verdict, of all listeners over all the time.
    pub verdicts: BTreeMap<String, u64>,
    /// The same, added up from the lines of intervals.
    pub intervals: BTreeMap<String, u64>,
    /// `overflows` of all listeners over all the time.
    pub overflows: u64,
    /// `synack_retransmits`, the same.
    pub synack_retransmits: u64,
    /// Losses by cause; what was not shown for a limit on events is in `not_shown`.
    pub losses: BTreeMap<String, u64>,
    /// Events not shown for a limit on events.
    pub not_shown: u64,
    /// Sum of all losses, as the summary has it.
    pub lost: u64,
}
