//! The sysctls and counters of a network namespace that decide an overflow.

use serde::{Deserialize, Serialize};

/// Settings of one network namespace; `None` where this kernel or namespace has no such file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sysctls {
    /// `net.core.somaxconn`, connections.
    pub somaxconn: Option<u32>,
    /// `net.ipv4.tcp_abort_on_overflow`.
    pub abort_on_overflow: Option<u8>,
    /// `net.ipv4.tcp_syncookies`.
    pub syncookies: Option<u8>,
    /// `net.ipv4.tcp_max_syn_backlog`, requests.
    pub max_syn_backlog: Option<u32>,
    /// `net.ipv4.tcp_synack_retries`.
    pub synack_retries: Option<u8>,
}

/// `nstat`'s counters of overflows, since the namespace was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// `TcpExtListenOverflows`.
    pub listen_overflows: u64,
    /// `TcpExtListenDrops`.
    pub listen_drops: u64,
    /// `TcpExtTCPReqQFullDoCookies`.
    pub req_q_full_do_cookies: u64,
    /// `TcpExtTCPReqQFullDrop`.
    pub req_q_full_drop: u64,
}
