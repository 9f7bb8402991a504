//! The JSON lines, field by field; `docs/events.md` documents them, `docs/events.schema.json` is
//! their schema.
//!
//! Fields are only ever added; a change of meaning takes a new `v`.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use serde::{Deserialize, Serialize};

use crate::{
    model::scenario::Phase,
    verdict::{Values, VerdictId},
};

/// The version of the format, `v` in every line.
pub const VERSION: u32 = 1;

/// Name and version of the program, as every `run` line has it.
pub const TOOL: &str = concat!("overflow ", env!("CARGO_PKG_VERSION"));

/// Writes one line; fails where `out` does.
pub fn line(out: &mut dyn Write, line: &Line<'_>) -> io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    out.write_all(&text)
}

/// One line.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Line<'a> {
    /// What ran where, before its results.
    Run(Run<'a>),
    /// One kernel moment.
    Event(Event<'a>),
    /// One connection with its verdict.
    Connection(Connection<'a>),
    /// One listener in sum.
    Listener(Listener<'a>),
    /// Something was lost.
    Loss(Loss<'a>),
    /// The end.
    Summary(Summary<'a>),
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

/// A hook that observes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HookInUse {
    /// The kernel moment it stands for: `third ACK`.
    pub moment: &'static str,
    /// How it is attached: `fentry`, `kprobe`, `tp_btf`.
    pub rung: &'static str,
    /// The kernel function or tracepoint.
    pub hook: String,
}

/// `run`.
#[derive(Clone, Debug, Serialize)]
pub struct Run<'a> {
    /// Format version.
    pub v: u32,
    /// The cell's name.
    pub run: &'a str,
    /// Name and version of this program.
    pub tool: &'a str,
    /// `uname -r`.
    pub kernel: &'a str,
    /// `PRETTY_NAME` of os-release.
    pub distro: Option<&'a str>,
    /// Sysctls in the server's namespace.
    pub sysctls: &'a BTreeMap<String, u64>,
    /// The listener as it was set up.
    pub listener: RunListener,
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
    /// Hooks that traced it.
    pub hooks: &'a [HookInUse],
    /// What a reader must know to judge the run.
    pub notes: &'a [String],
}

/// The listener of a `run`.
#[derive(Clone, Debug, Serialize)]
pub struct RunListener {
    /// Address and port.
    pub server: String,
    /// The `backlog` argument of `listen(2)`.
    pub backlog: u32,
    /// `net.core.somaxconn`, if it was changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub somaxconn: Option<u32>,
}

/// `event`.
#[derive(Clone, Debug, Serialize)]
pub struct Event<'a> {
    /// Format version.
    pub v: u32,
    /// The cell's name; absent outside the lab.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<&'a str>,
    /// CLOCK_MONOTONIC, nanoseconds.
    pub t_ns: u64,
    /// The kernel function or tracepoint.
    pub hook: &'a str,
    /// Client address and port, where the moment has one.
    pub client: Option<String>,
    /// Server address and port, where the moment has one.
    pub server: Option<String>,
    /// Kernel functions gone through, outermost first.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub path: &'a [&'static str],
    /// Kernel values read.
    #[serde(skip_serializing_if = "is_empty")]
    pub values: &'a Values,
}

/// `connection`.
#[derive(Clone, Debug, Serialize)]
pub struct Connection<'a> {
    /// Format version.
    pub v: u32,
    /// The cell's name; absent outside the lab.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<&'a str>,
    /// Part of the experiment; absent outside the lab.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// Client address and port.
    pub client: String,
    /// Server address and port.
    pub server: String,
    /// CLOCK_MONOTONIC nanoseconds of the first stage; all times of the line count from here.
    pub t0_ns: Option<u64>,
    /// Its stages, in order of time.
    pub stages: Vec<Stage<'a>>,
    /// SYN-ACK retransmissions, nanoseconds from `t0_ns`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub synack_retransmits_ns: Vec<u64>,
    /// What became of it.
    pub outcome: Option<VerdictId>,
    /// The client's TCP state at the end of the hold; absent outside the lab.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_view: Option<&'a str>,
    /// The errno that ended the client's connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_error: Option<&'a str>,
    /// The server's socket state at the end of the hold, `null` for none; absent outside the lab.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_view: Option<Option<&'a str>>,
    /// Every witness's word; absent outside the lab.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub witnesses: Option<Witnesses<'a>>,
    /// Whether the witnesses agree; absent outside the lab.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agree: Option<bool>,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disagreement: Option<&'a str>,
}

/// A stage of a `connection`.
#[derive(Clone, Debug, Serialize)]
pub struct Stage<'a> {
    /// What happened.
    pub id: VerdictId,
    /// When it first happened, nanoseconds from `t0_ns`.
    pub t_ns: u64,
    /// `traced` or `inferred`.
    pub known: &'static str,
    /// From what it was inferred.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<&'a str>,
    /// Kernel functions gone through, outermost first.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub path: &'a [&'static str],
    /// Kernel values at the decision.
    #[serde(skip_serializing_if = "is_empty")]
    pub values: &'a Values,
    /// When the same happened again, nanoseconds from `t0_ns`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub repeats_ns: Vec<u64>,
}

/// The witnesses of a `connection`.
#[derive(Clone, Debug, Serialize)]
pub struct Witnesses<'a> {
    /// The tracer's verdict on the handshake.
    pub ebpf: Option<VerdictId>,
    /// `consistent`, or the counters of the whole cell that differ.
    pub counters: &'a str,
    /// The id or family of ids that the packets show.
    pub packets: Option<&'static str>,
    /// What was counted on the wire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wire: Option<Counts>,
}

/// Segments of one connection on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// SYNs from the client.
    pub syn: usize,
    /// SYN-ACKs from the server.
    pub synack: usize,
    /// ACKs from the client after the SYN-ACK, data included.
    pub ack: usize,
    /// RSTs from the server that refuse a segment.
    pub rst: usize,
    /// RSTs from the server that refuse none: its socket was closed.
    pub active_rst: usize,
}

/// `listener`.
#[derive(Clone, Debug, Serialize)]
pub struct Listener<'a> {
    /// Format version.
    pub v: u32,
    /// The cell's name; absent outside the lab.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<&'a str>,
    /// Address and port.
    pub server: String,
    /// Accept queue length before the burst, connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recv_q_before: Option<u32>,
    /// Accept queue length, `ss` Recv-Q, connections.
    pub recv_q: u32,
    /// Accept queue limit, `ss` Send-Q, connections.
    pub send_q: u32,
    /// Handshakes by verdict; prefill included.
    pub verdicts: BTreeMap<&'a str, u64>,
    /// Counter deltas of its namespace, zeroes left out; absent outside the lab.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub counters: BTreeMap<&'a str, u64>,
}

/// `loss`.
#[derive(Clone, Debug, Serialize)]
pub struct Loss<'a> {
    /// Format version.
    pub v: u32,
    /// The cell's name; absent outside the lab.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<&'a str>,
    /// What was lost.
    pub what: &'a str,
    /// How many, at least 1.
    pub count: u64,
}

/// `summary`.
#[derive(Clone, Debug, Serialize)]
pub struct Summary<'a> {
    /// Format version.
    pub v: u32,
    /// Runs; absent outside the lab.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runs: Option<usize>,
    /// Connections reported.
    pub connections: usize,
    /// Connections on which the witnesses disagree; absent outside the lab.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disagreements: Option<usize>,
    /// Handshakes by verdict.
    pub verdicts: BTreeMap<&'a str, u64>,
    /// The sum of all losses.
    pub lost: u64,
    /// Whether all witnesses, counters included, agree; absent outside the lab.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agree: Option<bool>,
}

impl<'a> Connection<'a> {
    /// A connection by itself, as `trace` prints it: without the lab's fields.
    pub fn of(connection: &'a crate::verdict::Connection) -> Self {
        let t0_ns = connection.stages.iter().map(|s| s.t_ns).min();
        let since = |t: &u64| t.saturating_sub(t0_ns.unwrap_or_default());
        let stage = |s: &'a crate::verdict::Stage| {
            let (known, why) = match &s.known {
                crate::verdict::Known::Traced => ("traced", None),
                crate::verdict::Known::Inferred(why) => ("inferred", Some(&**why)),
            };
            Stage {
                id: s.id,
                t_ns: since(&s.t_ns),
                known,
                why,
                path: s.path,
                values: &s.values,
                repeats_ns: s.repeats_ns.iter().map(since).collect(),
            }
        };
        Self {
            v: VERSION,
            run: None,
            phase: None,
            client: connection.client.to_string(),
            server: connection.server.to_string(),
            t0_ns,
            stages: connection.stages.iter().map(stage).collect(),
            synack_retransmits_ns: connection.synack_retransmits_ns.iter().map(since).collect(),
            outcome: connection.outcome,
            client_view: None,
            client_error: None,
            server_view: None,
            witnesses: None,
            agree: None,
            disagreement: None,
        }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the signature serde calls
fn is_empty(values: &&Values) -> bool {
    **values == Values::default()
}
