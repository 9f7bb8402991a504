//! The active opener, as far as it decides what reaches the server.

use super::{path::ClientState, time::Nanos};

/// The client's socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientSock {
    /// What it believes.
    pub state: ClientState,
    /// SYNs sent.
    pub syns: u8,
    /// When its present timer expires; an older timer event is stale.
    pub timer: Nanos,
    /// The SYN-ACK that it took.
    pub synack: Option<SynAck>,
    /// Its data was sent at least once.
    pub data_sent: bool,
    /// Its data was acknowledged.
    pub data_acked: bool,
    /// Retransmissions of its data, probes included.
    pub data_retransmits: u8,
    /// Round trip time that its timeouts are made of.
    pub rtt: Nanos,
}

/// What a SYN-ACK was sent for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SynAck {
    /// The request with this number.
    Request(u32),
    /// A cookie.
    Cookie,
}

impl ClientSock {
    /// A socket before `connect()`.
    pub(super) fn new(rtt: Nanos) -> Self {
        Self {
            state: ClientState::Idle,
            syns: 0,
            timer: 0,
            synack: None,
            data_sent: false,
            data_acked: false,
            data_retransmits: 0,
            rtt,
        }
    }
}
