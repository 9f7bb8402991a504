//! What one cell of the experiment is: plain data, no I/O.

use std::time::Duration;

/// One cell: one listener, one setting of the sysctls, one burst of clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellConfig {
    /// `net.ipv4.tcp_abort_on_overflow` in the server's namespace.
    pub abort_on_overflow: u8,
    /// `net.ipv4.tcp_syncookies` in the server's namespace.
    pub syncookies: u8,
    /// The `backlog` argument of `listen(2)`.
    pub backlog: u32,
    /// `net.core.somaxconn` in the server's namespace, if it is to be changed.
    pub somaxconn: Option<u32>,
    /// Clients that connect at once.
    pub clients: u32,
    /// The listener's port.
    pub port: u16,
    /// One-way delay added to what the server sends.
    pub delay: Duration,
    /// Connections completed before the burst.
    pub prefill: u32,
    /// Bytes each client of the burst sends once it believes it is connected.
    pub payload: usize,
    /// How long the world is watched after the burst before the listener is closed.
    pub hold: Duration,
}

impl CellConfig {
    /// The cell's name in every output: `abort=1,syncookies=1`.
    pub fn run_name(&self) -> String {
        format!("abort={},syncookies={}", self.abort_on_overflow, self.syncookies)
    }
}
