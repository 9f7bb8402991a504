//! What reads bytes of the kernel and of other processes, for the fuzzers of `fuzz/`.

use crate::{counters, owner::stat, sockets};

/// `/proc/net/tcp` and `tcp6`.
pub fn tcp(text: &str) {
    let _ = sockets::procfs::rows(text, "tcp");
}

/// `/proc/PID/stat`.
pub fn process(text: &str) {
    let _ = stat::parse(text);
}

/// `/proc/net/netstat`.
pub fn netstat(text: &str) {
    let _ = counters::parse(text, "TcpExt");
}

/// A datagram of `sock_diag`.
pub fn datagram(bytes: &[u8]) {
    sockets::sock_diag::fuzz(bytes);
}
