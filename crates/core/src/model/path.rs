//! The answer for one connection: every decision on its way, and where it ended.

use std::fmt;

use super::{condition::Decision, time::Nanos};
use crate::{model::scenario::Phase, verdict::VerdictId};

/// What the client's socket believes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientState {
    /// Before `connect()`.
    Idle,
    /// `SYN_SENT`.
    SynSent,
    /// `ESTABLISHED`.
    Established,
    /// Closed by an RST.
    Reset,
    /// Closed by the client itself.
    Closed,
}

impl ClientState {
    /// The state in `ss` words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SynSent => "SYN_SENT",
            Self::Established => "ESTABLISHED",
            Self::Idle | Self::Reset | Self::Closed => "CLOSE",
        }
    }
}

/// What the server keeps for the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerState {
    /// Nothing.
    Nothing,
    /// A request in the SYN queue.
    SynRecv,
    /// A child socket in the accept queue, or accepted by the application.
    Established,
}

impl ServerState {
    /// The state in `ss` words, if there is a socket at all.
    pub const fn as_str(self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::SynRecv => Some("SYN_RECV"),
            Self::Established => Some("ESTABLISHED"),
        }
    }
}

/// What drew the first RST from the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetOn {
    /// A segment without data.
    Ack,
    /// Data.
    Data,
}

/// The life of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// Prefill or burst.
    pub phase: Phase,
    /// Every decision, in order of time.
    pub decisions: Vec<Decision>,
    /// What the client believes at the end, or when the listener is closed.
    pub client: ClientState,
    /// What the server keeps at that time.
    pub server: ServerState,
    /// SYNs the client sent.
    pub syns: u32,
    /// SYN-ACKs the server sent.
    pub synacks: u32,
    /// Retransmissions of the client's data.
    pub data_retransmits: u32,
    /// SYN-ACK retransmissions, times.
    pub synack_retransmits: Vec<Nanos>,
    /// What drew the first RST, if one was sent.
    pub reset_on: Option<ResetOn>,
}

impl Path {
    /// A connection before anything is known of it.
    pub fn new(phase: Phase) -> Self {
        Self {
            phase,
            decisions: Vec::new(),
            client: ClientState::Idle,
            server: ServerState::Nothing,
            syns: 0,
            synacks: 0,
            data_retransmits: 0,
            synack_retransmits: Vec::new(),
            reset_on: None,
        }
    }

    /// The stages: decisions without immediate repetition of the same id.
    pub(crate) fn stages(&self) -> impl Iterator<Item = &Decision> {
        let mut last = None;
        self.decisions.iter().filter(move |d| last.replace(d.id) != Some(d.id))
    }

    /// What became of it: the last decision's id.
    pub fn outcome(&self) -> Option<VerdictId> {
        self.decisions.last().map(|d| d.id)
    }

    /// The verdict on the handshake: the last `syn.*` or `ack.*` decision.
    pub fn handshake(&self) -> Option<&Decision> {
        self.decisions.iter().rev().find(|d| !d.id.is_later())
    }

    /// The connection as one of the words that packets and sockets alone can tell apart.
    pub fn class(&self) -> Class {
        let met = |id| self.decisions.iter().any(|d| d.id == id);
        let kind = if self.decisions.iter().any(|d| d.id.is_accepted()) {
            ClassKind::Accepted
        } else if let Some(on) = self.reset_on {
            match on {
                ResetOn::Ack => ClassKind::RstOnAck,
                ResetOn::Data => ClassKind::RstOnData,
            }
        } else if met(VerdictId::SynQueued) {
            ClassKind::AckDroppedRexmit
        } else if met(VerdictId::SynCookie) {
            ClassKind::AckDroppedCookie
        } else {
            ClassKind::SynDropped
        };
        let first_syn_dropped = self.decisions.first().is_some_and(|d| d.id.is_dropped_syn());
        Class { kind, syn_rexmit: first_syn_dropped && kind != ClassKind::SynDropped }
    }
}

/// What became of a connection, as far as it shows from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Class {
    /// The word.
    pub(crate) kind: ClassKind,
    /// The first SYN was dropped; a retransmitted one was answered.
    pub syn_rexmit: bool,
}

/// The word of a [`Class`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ClassKind {
    /// In the accept queue.
    Accepted,
    /// RST on the third ACK.
    RstOnAck,
    /// RST on data.
    RstOnData,
    /// ACK dropped, request kept, SYN-ACK retransmitted.
    AckDroppedRexmit,
    /// ACK of a cookie dropped.
    AckDroppedCookie,
    /// Never answered.
    SynDropped,
}

impl Class {
    /// The word as measurements write it: `ACCEPTED`, `RST_ON_ACK(syn_rexmit)`.
    pub const fn as_str(self) -> &'static str {
        match (self.kind, self.syn_rexmit) {
            (ClassKind::Accepted, false) => "ACCEPTED",
            (ClassKind::Accepted, true) => "ACCEPTED(syn_rexmit)",
            (ClassKind::RstOnAck, false) => "RST_ON_ACK",
            (ClassKind::RstOnAck, true) => "RST_ON_ACK(syn_rexmit)",
            (ClassKind::RstOnData, false) => "RST_ON_DATA",
            (ClassKind::RstOnData, true) => "RST_ON_DATA(syn_rexmit)",
            (ClassKind::AckDroppedRexmit, false) => "ACK_DROPPED_REXMIT",
            (ClassKind::AckDroppedRexmit, true) => "ACK_DROPPED_REXMIT(syn_rexmit)",
            (ClassKind::AckDroppedCookie, false) => "ACK_DROPPED_COOKIE",
            (ClassKind::AckDroppedCookie, true) => "ACK_DROPPED_COOKIE(syn_rexmit)",
            (ClassKind::SynDropped, _) => "SYN_DROPPED",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
