//! The kernel conditions that decide, each with the kernel's own expression and its values.

use std::fmt;

use super::{
    features::{SynQueueTest, SynackTimer},
    time::{MS, Nanos},
};
use crate::verdict::VerdictId;

/// One decision of the kernel about one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What the kernel did.
    pub id: VerdictId,
    /// When, nanoseconds since the burst began; negative before it.
    pub t_ns: Nanos,
    /// Why.
    pub condition: Condition,
}

/// The condition that decided, with the values it was evaluated on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// `inet_csk_reqsk_queue_is_full()`, true or false.
    SynQueue {
        /// The kernel's form of the test.
        test: SynQueueTest,
        /// Requests in the SYN queue.
        qlen: u32,
        /// `sk_max_ack_backlog`, or `max_qlen_log` where the kernel has one.
        limit: u32,
    },
    /// `tcp_syncookies=2`: a cookie whatever the queue holds.
    CookiesAlways,
    /// The accept queue was full when a SYN came.
    SynAcceptQueue {
        /// Connections in the accept queue.
        ack_backlog: u32,
        /// Its limit.
        max_ack_backlog: u32,
        /// Requests never retransmitted, on kernels whose test has the young rule.
        young: Option<u32>,
    },
    /// Without cookies the last quarter of `tcp_max_syn_backlog` is for proven peers.
    LastQuarter {
        /// `net.ipv4.tcp_max_syn_backlog`.
        max_syn_backlog: u32,
        /// Requests in the SYN queue.
        qlen: u32,
    },
    /// A retransmitted SYN found its request: the SYN-ACK is sent again.
    RetransmittedSyn,
    /// The accept queue had room for the child.
    Room {
        /// Connections in the accept queue, the new one not counted.
        ack_backlog: u32,
        /// Its limit.
        max_ack_backlog: u32,
    },
    /// The accept queue was full when a request's third ACK came; the sysctl decides.
    Overflow {
        /// Connections in the accept queue.
        ack_backlog: u32,
        /// Its limit.
        max_ack_backlog: u32,
        /// `net.ipv4.tcp_abort_on_overflow`.
        abort_on_overflow: u8,
    },
    /// The accept queue was full when a cookie's third ACK came; the sysctl is not read.
    CookieOverflow {
        /// Connections in the accept queue.
        ack_backlog: u32,
        /// Its limit.
        max_ack_backlog: u32,
    },
    /// `TCP_DEFER_ACCEPT` ignores a bare third ACK.
    DeferAccept {
        /// SYN-ACK timeouts of the request so far.
        num_timeout: u8,
        /// `rskq_defer_accept`.
        defer_accept: u8,
    },
    /// No request, and cookies are off: the listener answers an ACK by RST.
    CookiesOff,
    /// No request, and no cookie was sent lately enough.
    NoRecentCookie {
        /// Nanoseconds since the last cookie, if there ever was one.
        age: Option<Nanos>,
        /// How long a cookie is believed.
        window: Nanos,
    },
    /// No request, and the acknowledged number is no cookie of ours.
    NotACookie,
    /// The client answered the SYN-ACK by RST.
    PeerReset,
    /// The request ran out of retransmissions.
    Expired {
        /// SYN-ACK timeouts of the request.
        num_timeout: u8,
        /// How many were allowed at this time.
        allowed: u8,
        /// Whose timer it was.
        timer: SynackTimer,
    },
    /// The observation ended with the request still in the SYN queue.
    StillQueued {
        /// SYN-ACK timeouts of the request so far.
        num_timeout: u8,
        /// Whose timer it waits for.
        timer: SynackTimer,
    },
    /// The client is established, the server keeps nothing.
    NothingKept,
    /// The application took it from the accept queue.
    Accepted,
    /// The listener was closed.
    Closed,
}

impl Condition {
    /// The kernel function that evaluates it.
    pub const fn function(&self) -> &'static str {
        match self {
            Self::SynQueue { .. }
            | Self::CookiesAlways
            | Self::SynAcceptQueue { .. }
            | Self::LastQuarter { .. } => "tcp_conn_request",
            Self::Room { .. } => "tcp_v4_syn_recv_sock",
            Self::RetransmittedSyn
            | Self::Overflow { .. }
            | Self::DeferAccept { .. }
            | Self::PeerReset => "tcp_check_req",
            Self::CookieOverflow { .. }
            | Self::CookiesOff
            | Self::NoRecentCookie { .. }
            | Self::NotACookie => "cookie_v4_check",
            Self::Expired { timer, .. } | Self::StillQueued { timer, .. } => match timer {
                SynackTimer::ListenerWheel => "inet_csk_reqsk_queue_prune",
                SynackTimer::PerRequest => "reqsk_timer_handler",
            },
            Self::NothingKept => "tcp_v4_rcv",
            Self::Accepted => "inet_csk_accept",
            Self::Closed => "inet_csk_listen_stop",
        }
    }

    /// The condition in the kernel's own words.
    pub const fn expression(&self) -> &'static str {
        match self {
            Self::SynQueue { test: SynQueueTest::MaxQlenLog, .. } => {
                "listen_opt->qlen >> listen_opt->max_qlen_log"
            }
            Self::SynQueue { test: SynQueueTest::AtBacklog, .. } => {
                "inet_csk_reqsk_queue_len(sk) >= sk->sk_max_ack_backlog"
            }
            Self::SynQueue { test: SynQueueTest::AboveBacklog, .. } => {
                "inet_csk_reqsk_queue_len(sk) > READ_ONCE(sk->sk_max_ack_backlog)"
            }
            Self::CookiesAlways => "sysctl_tcp_syncookies == 2",
            Self::SynAcceptQueue { young: Some(_), .. } => {
                "sk_acceptq_is_full(sk) && inet_csk_reqsk_queue_young(sk) > 1"
            }
            Self::SynAcceptQueue { young: None, .. }
            | Self::Room { .. }
            | Self::CookieOverflow { .. } => "sk_acceptq_is_full(sk)",
            Self::LastQuarter { .. } => {
                "sysctl_max_syn_backlog - qlen < (sysctl_max_syn_backlog >> 2)"
            }
            Self::RetransmittedSyn => "seq == rcv_isn && flg == TCP_FLAG_SYN",
            Self::Overflow { abort_on_overflow: 0, .. } => {
                "sk_acceptq_is_full(sk) && !sysctl_tcp_abort_on_overflow"
            }
            Self::Overflow { .. } => "sk_acceptq_is_full(sk) && sysctl_tcp_abort_on_overflow",
            Self::DeferAccept { .. } => {
                "req->num_timeout < rskq_defer_accept && end_seq == rcv_isn + 1"
            }
            Self::CookiesOff => "!sysctl_tcp_syncookies",
            Self::NoRecentCookie { .. } => "tcp_synq_no_recent_overflow(sk)",
            Self::NotACookie => "__cookie_v4_check() == 0",
            Self::PeerReset => "flg & (TCP_FLAG_RST | TCP_FLAG_SYN)",
            Self::Expired { .. } => "req->num_timeout >= max_syn_ack_retries",
            Self::StillQueued { .. } => "req->num_timeout < max_syn_ack_retries",
            Self::NothingKept => "no request, no child socket",
            Self::Accepted => "!reqsk_queue_empty(queue)",
            Self::Closed => "sk->sk_state != TCP_LISTEN",
        }
    }
}

/// The condition with its values put in: `reqsk_queue_len 2 > sk_max_ack_backlog 1`.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::SynQueue { test: SynQueueTest::MaxQlenLog, qlen, limit } => {
                write!(f, "qlen {qlen} >> max_qlen_log {limit} = {}", qlen >> limit.min(31))
            }
            Self::SynQueue { test: SynQueueTest::AtBacklog, qlen, limit } => {
                let sign = if qlen >= limit { ">=" } else { "<" };
                write!(f, "reqsk_queue_len {qlen} {sign} sk_max_ack_backlog {limit}")
            }
            Self::SynQueue { test: SynQueueTest::AboveBacklog, qlen, limit } => {
                let sign = if qlen > limit { ">" } else { "<=" };
                write!(f, "reqsk_queue_len {qlen} {sign} sk_max_ack_backlog {limit}")
            }
            Self::CookiesAlways => f.write_str("tcp_syncookies 2"),
            Self::SynAcceptQueue { ack_backlog, max_ack_backlog, young } => {
                acceptq(f, ack_backlog, max_ack_backlog)?;
                young.map_or(Ok(()), |young| write!(f, ", young {young} > 1"))
            }
            Self::LastQuarter { max_syn_backlog, qlen } => {
                let free = i64::from(max_syn_backlog) - i64::from(qlen);
                write!(f, "max_syn_backlog {max_syn_backlog} - qlen {qlen} = {free}")?;
                write!(f, " < {}", max_syn_backlog >> 2)
            }
            Self::RetransmittedSyn => f.write_str("SYN of a known request"),
            Self::Room { ack_backlog, max_ack_backlog } => acceptq(f, ack_backlog, max_ack_backlog),
            Self::Overflow { ack_backlog, max_ack_backlog, abort_on_overflow } => {
                acceptq(f, ack_backlog, max_ack_backlog)?;
                write!(f, ", tcp_abort_on_overflow {abort_on_overflow}")
            }
            Self::CookieOverflow { ack_backlog, max_ack_backlog } => {
                acceptq(f, ack_backlog, max_ack_backlog)?;
                f.write_str(", tcp_abort_on_overflow not read")
            }
            Self::DeferAccept { num_timeout, defer_accept } => {
                write!(f, "num_timeout {num_timeout} < rskq_defer_accept {defer_accept}, no data")
            }
            Self::CookiesOff => f.write_str("no request, tcp_syncookies 0"),
            Self::NoRecentCookie { age: None, .. } => {
                f.write_str("no request, no cookie ever sent")
            }
            Self::NoRecentCookie { age: Some(age), window } => {
                write!(f, "last cookie {} ms ago > {} ms", age / MS, window / MS)
            }
            Self::NotACookie => f.write_str("no request, ack_seq is no cookie"),
            Self::PeerReset => f.write_str("RST from the client"),
            Self::Expired { num_timeout, allowed, .. } => {
                write!(f, "num_timeout {num_timeout} >= retries allowed {allowed}")
            }
            Self::StillQueued { num_timeout, .. } => {
                write!(f, "request kept, num_timeout {num_timeout}")
            }
            Self::NothingKept => f.write_str("no request, no child socket"),
            Self::Accepted => f.write_str("accept() took it"),
            Self::Closed => f.write_str("listener closed"),
        }
    }
}

fn acceptq(f: &mut fmt::Formatter<'_>, len: u32, max: u32) -> fmt::Result {
    let sign = if len > max { ">" } else { "<=" };
    write!(f, "sk_ack_backlog {len} {sign} sk_max_ack_backlog {max}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_in_the_expression() {
        let full = |test, qlen, limit| Condition::SynQueue { test, qlen, limit }.to_string();
        assert_eq!(full(SynQueueTest::MaxQlenLog, 16, 4), "qlen 16 >> max_qlen_log 4 = 1");
        assert_eq!(
            full(SynQueueTest::AtBacklog, 1, 1),
            "reqsk_queue_len 1 >= sk_max_ack_backlog 1"
        );
        assert_eq!(
            full(SynQueueTest::AboveBacklog, 1, 1),
            "reqsk_queue_len 1 <= sk_max_ack_backlog 1"
        );
        let overflow =
            Condition::Overflow { ack_backlog: 2, max_ack_backlog: 1, abort_on_overflow: 1 };
        assert_eq!(
            overflow.to_string(),
            "sk_ack_backlog 2 > sk_max_ack_backlog 1, tcp_abort_on_overflow 1"
        );
    }
}
