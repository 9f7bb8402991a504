//! `connection`: one connection with its verdict, and in the lab with every witness's word.

use std::{borrow::Cow, net::SocketAddr};

use serde::{Deserialize, Serialize};

use super::{
    Candidate, Owner, VERSION, address,
    event::{Functions, Known, no_values},
};
use crate::{
    capture::flow::Flow,
    model::scenario::Phase,
    verdict::{self, Values, VerdictId},
};

/// A `connection` line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection<'a> {
    /// Format version.
    pub v: u32,
    /// The cell's name; absent outside the lab.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Cow<'a, str>>,
    /// Part of the experiment; absent outside the lab.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// The client's end.
    #[serde(serialize_with = "address::serialize")]
    pub client: SocketAddr,
    /// The server's end.
    #[serde(serialize_with = "address::serialize")]
    pub server: SocketAddr,
    /// CLOCK_MONOTONIC nanoseconds of the first stage; all times of the line count from here.
    pub t0_ns: Option<u64>,
    /// Its stages, in order of time.
    pub stages: Vec<Stage<'a>>,
    /// SYN-ACK retransmissions, nanoseconds from `t0_ns`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub synack_retransmits_ns: Vec<u64>,
    /// What became of it.
    pub outcome: Option<VerdictId>,
    /// Whether its client ended, by FIN or RST, what it believed in and the server did not have.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gave_up: bool,
    /// Whether it was refused, and it, or the kernel on its behalf, still tried when the trace ended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub still_trying: bool,
    /// Inode number of the listener's network namespace; this and what follows up to the candidates
    /// is absent in the lab.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<u32>,
    /// The listener's own address, as `ss` writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listener: Option<Cow<'a, str>>,
    /// Inode number of its socket; absent where it is not known which one it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inode: Option<u64>,
    /// How many listeners share that address; absent for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reuseport_group: Option<usize>,
    /// Who holds the listener.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner<'a>>,
    /// The sockets that it can be, where it is not known which; empty otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<Candidate<'a>>,
    /// The client's TCP state at the end of the hold; absent outside the lab.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_view: Option<Cow<'a, str>>,
    /// The errno that ended the client's connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_error: Option<Cow<'a, str>>,
    /// The server's socket state at the end of the hold, `null` for none; absent outside the lab.
    #[serde(default, deserialize_with = "super::present", skip_serializing_if = "Option::is_none")]
    pub server_view: Option<Option<Cow<'a, str>>>,
    /// Every witness's word; absent outside the lab.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witnesses: Option<Witnesses<'a>>,
    /// Whether the witnesses agree; absent outside the lab.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agree: Option<bool>,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disagreement: Option<Cow<'a, str>>,
}

/// A stage of a `connection`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage<'a> {
    /// What happened.
    pub id: VerdictId,
    /// When it first happened, nanoseconds from `t0_ns`.
    pub t_ns: u64,
    /// How it is known.
    pub known: Known,
    /// From what it was inferred.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<Cow<'a, str>>,
    /// Kernel functions gone through, outermost first.
    #[serde(default, skip_serializing_if = "Functions::is_empty")]
    pub path: Functions<'a>,
    /// Kernel values at the decision.
    #[serde(default, skip_serializing_if = "no_values")]
    pub values: Cow<'a, Values>,
    /// When the same happened again, nanoseconds from `t0_ns`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repeats_ns: Vec<u64>,
}

/// The witnesses of a `connection`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witnesses<'a> {
    /// The tracer's verdict on the handshake.
    pub ebpf: Option<VerdictId>,
    /// `consistent`, or the counters of the whole cell that differ.
    pub counters: Cow<'a, str>,
    /// The id or family of ids that the packets show.
    pub packets: Option<Cow<'a, str>>,
    /// What was counted on the wire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wire: Option<Segments>,
}

/// Segments of one connection on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segments {
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

impl Segments {
    /// Those of a flow.
    pub fn of(flow: &Flow) -> Self {
        Self {
            syn: flow.syns.len(),
            synack: flow.synacks.len(),
            ack: flow.ack_count,
            rst: flow.resets.len() + flow.refusals.len(),
            active_rst: flow.active_resets.len(),
        }
    }
}

impl<'a> Connection<'a> {
    /// A connection by itself, as `trace` prints it: without the lab's fields.
    pub fn of(connection: &'a verdict::Connection) -> Self {
        let t0_ns = connection.stages.iter().map(|s| s.t_ns).min();
        let since = |t: &u64| t.saturating_sub(t0_ns.unwrap_or_default());
        let stage = |s: &'a verdict::Stage| {
            let (known, why) = Known::of(&s.known);
            Stage {
                id: s.id,
                t_ns: since(&s.t_ns),
                known,
                why,
                path: Functions::Known(s.path),
                values: Cow::Borrowed(&s.values),
                repeats_ns: s.repeats_ns.iter().map(since).collect(),
            }
        };
        Self {
            v: VERSION,
            run: None,
            phase: None,
            client: connection.client,
            server: connection.server,
            t0_ns,
            stages: connection.stages.iter().map(stage).collect(),
            synack_retransmits_ns: connection.synack_retransmits_ns.iter().map(since).collect(),
            outcome: connection.outcome,
            gave_up: connection.gave_up,
            still_trying: false,
            netns: None,
            listener: None,
            inode: None,
            reuseport_group: None,
            owner: None,
            candidates: Vec::new(),
            client_view: None,
            client_error: None,
            server_view: None,
            witnesses: None,
            agree: None,
            disagreement: None,
        }
    }
}
