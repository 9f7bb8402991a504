//! The listener and the sysctls that the question is about.

use super::{
    features::{Features, SynQueueTest},
    timers,
};

/// What the application asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listener {
    /// The `backlog` argument of `listen(2)`, connections.
    pub backlog: u32,
    /// `TCP_DEFER_ACCEPT`, seconds; 0 is off.
    pub defer_accept_secs: u32,
}

/// The sysctls of the listener's network namespace (global ones in RHEL 7 and 4.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sysctls {
    /// `net.ipv4.tcp_syncookies`: 0, 1 or 2.
    pub syncookies: u8,
    /// `net.ipv4.tcp_abort_on_overflow`: 0 or 1.
    pub abort_on_overflow: u8,
    /// `net.core.somaxconn`; the kernel's default where `None`.
    pub somaxconn: Option<u32>,
    /// `net.ipv4.tcp_max_syn_backlog`, requests.
    pub max_syn_backlog: u32,
    /// `net.ipv4.tcp_synack_retries`.
    pub synack_retries: u8,
    /// The client's `net.ipv4.tcp_syn_retries`.
    pub syn_retries: u8,
}

impl Default for Sysctls {
    fn default() -> Self {
        Self {
            syncookies: 1,
            abort_on_overflow: 0,
            somaxconn: None,
            max_syn_backlog: 128,
            synack_retries: 5,
            syn_retries: 6,
        }
    }
}

/// The limits that follow, as the kernel keeps them in the listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `sk_max_ack_backlog`: the backlog clamped by `somaxconn`; the queue holds one more.
    pub max_ack_backlog: u32,
    /// `max_qlen_log` of kernels with a SYN queue of its own: it holds `1 << max_qlen_log`.
    pub max_qlen_log: u8,
    /// `rskq_defer_accept`, SYN-ACK timeouts.
    pub defer_accept: u8,
}

impl Limits {
    /// What `listen(2)` makes of the arguments.
    pub fn new(features: &Features, listener: Listener, sysctls: &Sysctls) -> Self {
        let somaxconn = sysctls.somaxconn.unwrap_or(features.somaxconn);
        let max_ack_backlog = listener.backlog.min(somaxconn);
        Self {
            max_ack_backlog,
            max_qlen_log: max_qlen_log(max_ack_backlog, sysctls.max_syn_backlog),
            defer_accept: timers::defer_accept_timeouts(listener.defer_accept_secs),
        }
    }

    /// Requests at which the SYN queue counts as full.
    pub fn syn_queue_full_at(&self, test: SynQueueTest) -> u32 {
        match test {
            SynQueueTest::MaxQlenLog => 1 << self.max_qlen_log,
            SynQueueTest::AtBacklog => self.max_ack_backlog,
            SynQueueTest::AboveBacklog => self.max_ack_backlog + 1,
        }
    }
}

/// `reqsk_queue_alloc()` (3.10): at least 8, at most `tcp_max_syn_backlog`, plus one, rounded up to
/// a power of two.
fn max_qlen_log(backlog: u32, max_syn_backlog: u32) -> u8 {
    let entries = backlog.min(max_syn_backlog).max(8).saturating_add(1);
    let log = entries.checked_next_power_of_two().map_or(31, u32::trailing_zeros);
    u8::try_from(log).unwrap_or(31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syn_queue_of_3_10_has_a_floor_of_16() {
        let log = |backlog| 1u32 << max_qlen_log(backlog, 2048);
        assert_eq!(
            [0, 1, 8, 15, 16, 128, 511, 1024].map(log),
            [16, 16, 16, 16, 32, 256, 512, 2048]
        );
        assert_eq!(1u32 << max_qlen_log(1024, 128), 256);
    }

    #[test]
    fn somaxconn_caps_the_backlog() {
        let sysctls = Sysctls { somaxconn: Some(2), ..Sysctls::default() };
        let listener = Listener { backlog: 8, ..Listener::default() };
        assert_eq!(Limits::new(&Features::V5_4, listener, &sysctls).max_ack_backlog, 2);
        let listener = Listener { backlog: 1000, ..Listener::default() };
        let default = Sysctls::default();
        assert_eq!(Limits::new(&Features::V4_15, listener, &default).max_ack_backlog, 128);
        assert_eq!(Limits::new(&Features::V5_4, listener, &default).max_ack_backlog, 1000);
    }

    #[test]
    fn syn_queue_shares_the_backlog_since_4_4() {
        let listener = Listener { backlog: 1, ..Listener::default() };
        let limits = Limits::new(&Features::V4_4, listener, &Sysctls::default());
        assert_eq!(limits.syn_queue_full_at(SynQueueTest::MaxQlenLog), 16);
        assert_eq!(limits.syn_queue_full_at(SynQueueTest::AtBacklog), 1);
        assert_eq!(limits.syn_queue_full_at(SynQueueTest::AboveBacklog), 2);
    }
}
