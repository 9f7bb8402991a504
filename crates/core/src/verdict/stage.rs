//! The stages of one connection's life, each with the evidence for it.

use std::{
    borrow::Cow,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::VerdictId;

/// Kernel functions, outermost first.
pub type Functions = &'static [&'static str];

/// How a verdict is known. Never guessed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// The kernel's branch itself was observed.
    Traced,
    /// Derived from tracepoints, counters or packets; the text says from what.
    Inferred(Cow<'static, str>),
}

/// Kernel values read when it was decided; `None` where the rung could not read them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Values {
    /// Accept queue length (`ss` Recv-Q of a listener), connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sk_ack_backlog: Option<u32>,
    /// Accept queue limit (`ss` Send-Q of a listener), connections; full is `len > limit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sk_max_ack_backlog: Option<u32>,
    /// SYN queue length (`icsk_accept_queue.qlen`), requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syn_queue_len: Option<u32>,
    /// Requests whose SYN-ACK was never retransmitted (`icsk_accept_queue.young`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syn_queue_young: Option<u32>,
    /// `net.ipv4.tcp_syncookies` of the listener's network namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syncookies: Option<u8>,
    /// `net.ipv4.tcp_abort_on_overflow` of the listener's network namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub abort_on_overflow: Option<u8>,
    /// Whether the path taken reads that sysctl at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub abort_on_overflow_read: Option<bool>,
    /// SYN-ACK timeouts of the request so far (`num_timeout`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_timeout: Option<u8>,
    /// Time in the accept queue, from the child's creation to `accept()`, nanoseconds; `None` where
    /// its creation was not seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_wait_ns: Option<u64>,
    /// The kernel's drop reason for the segment, by its BTF name, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drop_reason: Option<Arc<str>>,
    /// The kernel's reset reason, by its BTF name, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reset_reason: Option<Arc<str>>,
}

/// One stage of a connection's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// What happened.
    pub id: VerdictId,
    /// When it first happened, CLOCK_MONOTONIC nanoseconds.
    pub t_ns: u64,
    /// How it is known.
    pub known: Known,
    /// Kernel functions gone through, outermost first.
    pub path: Functions,
    /// Kernel values at the decision.
    pub values: Values,
    /// How often the same thing happened again (retransmitted SYNs, repeated ACKs), with times.
    pub repeats_ns: Vec<u64>,
}

/// One connection with everything that is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The active opener.
    pub client: SocketAddr,
    /// The listener's side.
    pub server: SocketAddr,
    /// Every stage, in order of time.
    pub stages: Vec<Stage>,
    /// SYN-ACK retransmissions by the kernel, CLOCK_MONOTONIC nanoseconds.
    pub synack_retransmits_ns: Vec<u64>,
    /// What became of it; the last stage's id where nothing came later.
    pub outcome: Option<VerdictId>,
    /// Whether its client ended, by FIN or RST, what it believed in and the server did not have.
    pub gave_up: bool,
}

impl Default for Connection {
    /// No client, no server and no stages.
    fn default() -> Self {
        let nobody = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
        Self {
            client: nobody,
            server: nobody,
            stages: Vec::new(),
            synack_retransmits_ns: Vec::new(),
            outcome: None,
            gave_up: false,
        }
    }
}

impl Connection {
    /// The stage that decided the handshake: the last of its `syn.*` and `ack.*` stages; of SYNs
    /// that were dropped again and again, the first drop, since the later ones only retried it.
    pub fn handshake(&self) -> Option<&Stage> {
        let drop = |s: &&Stage| s.id.is_dropped_syn();
        let last = self.last_handshake()?;
        if !drop(&last) {
            return Some(last);
        }
        let stages = self.stages.iter().rev().filter(|s| !s.id.is_later());
        stages.take_while(drop).last()
    }

    /// The last of its `syn.*` and `ack.*` stages.
    pub(crate) fn last_handshake(&self) -> Option<&Stage> {
        self.stages.iter().rev().find(|s| !s.id.is_later())
    }
}
