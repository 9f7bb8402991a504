//! `handshake`, `endpoint` and `capture`: what the packets of a capture show.

use std::{borrow::Cow, net::SocketAddr};

use serde::{Deserialize, Serialize};

use super::{Counts, Segments, VERSION};
use crate::{
    capture::{
        finding::{Doubt, Finding},
        sums::Sum,
    },
    verdict::VerdictId,
};

/// A `handshake` line: one connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handshake<'a> {
    /// Format version.
    pub v: u32,
    /// The client's end.
    pub client: SocketAddr,
    /// The server's end.
    pub server: SocketAddr,
    /// The capture's interface, where it has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<Cow<'a, str>>,
    /// The number of its first packet in the capture.
    pub packet: u64,
    /// When that was captured, nanoseconds since 1970.
    pub t_ns: u64,
    /// The id, or family of ids, that the packets allow; `unknown` if they do not tell.
    pub family: Cow<'a, str>,
    /// Every id that would look the same, the most likely first.
    pub verdicts: Vec<VerdictId>,
    /// What the packets show, in words.
    pub seen: Cow<'a, str>,
    /// Whether that stands even if packets are missing.
    pub stands_alone: bool,
    /// Where it was captured.
    pub place: Place<'a>,
    /// Whether the client believed in a connection that the server had no socket for.
    pub phantom: Option<bool>,
    /// Whether a third ACK got in after an earlier one had not.
    pub recovered: bool,
    /// What was counted.
    pub wire: Segments,
    /// SYNs that were sent again, nanoseconds from `t_ns`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub syn_retransmits_ns: Vec<u64>,
    /// SYN-ACKs that the server's timer sent again, nanoseconds from `t_ns`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub synack_retransmits_ns: Vec<u64>,
    /// Every RST.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resets: Vec<Reset<'a>>,
    /// What the packets do not tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub doubts: Vec<Cow<'a, str>>,
}

/// Where a capture was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place<'a> {
    /// `server`, `client`, `both`, `between` or `unknown`.
    pub at: Cow<'a, str>,
    /// `given`, `shown` or `suggested`.
    pub known: Cow<'a, str>,
    /// From what.
    pub why: Cow<'a, str>,
}

/// A RST.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reset<'a> {
    /// When, nanoseconds from `t_ns`.
    pub t_ns: u64,
    /// Whose, and what it answers.
    pub kind: Cow<'a, str>,
}

/// An `endpoint` line: one listener, or one client, in sum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint<'a> {
    /// Format version.
    pub v: u32,
    /// `listener` or `client`.
    pub role: Cow<'a, str>,
    /// Address and port of a listener, address of a client.
    pub address: Cow<'a, str>,
    /// Connections.
    pub connections: u64,
    /// Families of verdicts on handshakes to numbers of connections.
    pub verdicts: Counts<'a>,
    /// Connections that their client believed in while the server had no socket.
    pub phantoms: u64,
    /// Connections whose third ACK got in after an earlier one had not.
    pub recovered: u64,
    /// SYNs sent again.
    pub syn_retransmits: u64,
    /// SYN-ACKs sent again.
    pub synack_retransmits: u64,
    /// RSTs of clients.
    pub client_resets: u64,
    /// RSTs of servers.
    pub server_resets: u64,
}

/// A `capture` line: the whole of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capture<'a> {
    /// Format version.
    pub v: u32,
    /// Name and version of this program.
    pub tool: Cow<'a, str>,
    /// The file, as it was given; `-` for standard input.
    pub file: Cow<'a, str>,
    /// Packets read.
    pub packets: u64,
    /// TCP segments among them that were asked for.
    pub segments: u64,
    /// Copies among those.
    pub copies: u64,
    /// Packets that have no TCP segment, or too little of it.
    pub others: u64,
    /// Pairs of ends whose handshake is not in it.
    pub without_handshake: u64,
    /// What is open, and what would tell.
    pub doubts: Vec<Open<'a>>,
}

/// A question that a capture leaves open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open<'a> {
    /// Its name.
    pub doubt: Cow<'a, str>,
    /// How many connections it is open for.
    pub connections: u64,
    /// What is not known.
    pub what: Cow<'a, str>,
    /// What would tell.
    pub ask: Cow<'a, str>,
}

impl<'a> Handshake<'a> {
    /// A connection, with the name of its interface.
    pub fn of(finding: &'a Finding, interface: Option<&'a str>) -> Self {
        let flow = &finding.evidence.flow;
        let since = |t: u64| t.saturating_sub(finding.t0_ns);
        Self {
            v: VERSION,
            client: finding.client,
            server: finding.server,
            interface: interface.map(Cow::Borrowed),
            packet: finding.number,
            t_ns: finding.t0_ns,
            family: finding.family().into(),
            verdicts: finding.verdicts.clone(),
            seen: finding.evidence.pattern.words().into(),
            stands_alone: finding.stands_alone(),
            place: Place {
                at: finding.point.place.as_str().into(),
                known: finding.point.surety.as_str().into(),
                why: finding.point.why.into(),
            },
            phantom: finding.phantom,
            recovered: finding.recovered,
            wire: Segments::of(flow),
            syn_retransmits_ns: flow.syns.iter().skip(1).map(|t| since(*t)).collect(),
            synack_retransmits_ns: finding
                .evidence
                .resent_synacks()
                .into_iter()
                .map(since)
                .collect(),
            resets: finding
                .resets
                .iter()
                .map(|reset| Reset { t_ns: since(reset.t_ns), kind: reset.kind.as_str().into() })
                .collect(),
            doubts: finding.doubts.iter().map(|doubt| doubt.as_str().into()).collect(),
        }
    }
}

impl<'a> Endpoint<'a> {
    /// A listener or a client.
    pub fn of(role: &'a str, address: String, sum: &Sum) -> Self {
        Self {
            v: VERSION,
            role: role.into(),
            address: address.into(),
            connections: sum.connections,
            verdicts: sum.families.iter().map(|(family, n)| ((*family).into(), *n)).collect(),
            phantoms: sum.phantoms,
            recovered: sum.recovered,
            syn_retransmits: sum.syn_retransmits,
            synack_retransmits: sum.synack_retransmits,
            client_resets: sum.client_resets,
            server_resets: sum.server_resets,
        }
    }
}

impl Open<'_> {
    /// A question, open for so many connections.
    pub fn of(doubt: Doubt, connections: u64) -> Self {
        let (name, what, ask) = (doubt.as_str(), doubt.what(), doubt.ask());
        Self { doubt: name.into(), connections, what: what.into(), ask: ask.into() }
    }
}
