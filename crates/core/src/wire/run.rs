//! `run`: what ran where, before its results.

use std::{borrow::Cow, net::SocketAddr};

use serde::{Deserialize, Serialize};

use super::Counts;

/// A `run` line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run<'a> {
    /// Format version.
    pub v: u32,
    /// The cell's name; absent outside the lab.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Cow<'a, str>>,
    /// Name and version of this program.
    pub tool: Cow<'a, str>,
    /// `uname -r`.
    pub kernel: Cow<'a, str>,
    /// `PRETTY_NAME` of os-release.
    pub distro: Option<Cow<'a, str>>,
    /// What was run in the lab.
    #[serde(flatten)]
    pub cell: Option<Cell<'a>>,
    /// What is traced outside it.
    #[serde(flatten)]
    pub trace: Option<Trace<'a>>,
    /// Hooks that traced it.
    pub hooks: Vec<Hook<'a>>,
    /// What a reader must know to judge the run.
    pub notes: Cow<'a, [String]>,
}

/// A cell of the lab, as it was set up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell<'a> {
    /// Sysctls in the server's namespace.
    pub sysctls: Counts<'a>,
    /// The listener.
    pub listener: CellListener,
    /// Concurrent connects.
    pub clients: u32,
    /// Connections completed before the burst.
    pub prefill: u32,
    /// Bytes each client of the burst sends once connected.
    pub payload_bytes: u64,
    /// Delay of what the server sends, milliseconds.
    pub delay_ms: u64,
    /// Time between burst and close, milliseconds.
    pub hold_ms: u64,
    /// How the delay was made.
    pub link: LinkKind,
    /// Whether all SYNs of the burst came before its first third ACK.
    pub concurrent: bool,
    /// How often the cell ran until that was so.
    pub attempts: u32,
}

/// The listener of a cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellListener {
    /// Address and port.
    pub server: SocketAddr,
    /// The `backlog` argument of `listen(2)`.
    pub backlog: u32,
    /// `net.core.somaxconn`, if it was changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub somaxconn: Option<u32>,
}

/// How the delay was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkKind {
    /// veth with a netem qdisc on the server's egress.
    Netem,
    /// Two TUN devices and a user-space forwarder that holds packets.
    Userspace,
}

/// What `overflow trace` was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace<'a> {
    /// What is traced, in words; empty for every listener.
    pub filter: Cow<'a, str>,
    /// Healthy events too.
    pub all: bool,
    /// Seconds between aggregates, if only they are shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary_s: Option<u64>,
    /// CLOCK_REALTIME minus CLOCK_MONOTONIC, nanoseconds.
    pub wall_offset_ns: i64,
}

/// A hook that observes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook<'a> {
    /// The hook point it stands for: `third ACK`.
    pub moment: Cow<'a, str>,
    /// How it is attached: `fentry`, `kprobe`, `tp_btf`.
    pub rung: Cow<'a, str>,
    /// The kernel function or tracepoint; absent outside the lab.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<Cow<'a, str>>,
}
