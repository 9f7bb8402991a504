//! The server's counters that the model can predict, by their `nstat` names without prefix.

use serde::{Deserialize, Serialize};

/// Increments over the whole run, prefill included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Counters {
    /// TcpExtListenOverflows.
    pub listen_overflows: u32,
    /// TcpExtListenDrops.
    pub listen_drops: u32,
    /// TcpExtTCPReqQFullDoCookies.
    #[serde(rename = "TCPReqQFullDoCookies")]
    pub req_q_full_do_cookies: u32,
    /// TcpExtTCPReqQFullDrop.
    #[serde(rename = "TCPReqQFullDrop")]
    pub req_q_full_drop: u32,
    /// TcpExtSyncookiesSent.
    pub syncookies_sent: u32,
    /// TcpExtSyncookiesRecv.
    pub syncookies_recv: u32,
    /// TcpExtSyncookiesFailed.
    pub syncookies_failed: u32,
    /// TcpExtEmbryonicRsts.
    pub embryonic_rsts: u32,
    /// TcpOutRsts, without those of the listener's close.
    pub out_rsts: u32,
    /// TcpExtTCPDeferAcceptDrop.
    #[serde(rename = "TCPDeferAcceptDrop")]
    pub defer_accept_drop: u32,
}
