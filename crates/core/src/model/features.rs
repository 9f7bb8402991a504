//! What a kernel does, as named features: no version number is looked at anywhere below.

use super::time::{self, Nanos, SEC};
use crate::syn_limit::SynQueueLimit;

/// The features of one kernel that decide what happens when a listener's queues are full.
///
/// A distribution kernel is a mixture: take its features from [`super::kernels`], never from its
/// version number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// The test that finds the SYN queue full, `inet_csk_reqsk_queue_is_full()`.
    pub syn_queue: SynQueueTest,
    /// A full accept queue drops a SYN only if more than one request is *young* (its SYN-ACK was
    /// never retransmitted). Gone with 5ea8ea2cb7f1 (4.10; stable 4.4.178, 3.16.81; Ubuntu
    /// 4.4.0-149; RHEL 8).
    pub young_rule: bool,
    /// Who retransmits SYN-ACKs.
    pub synack_timer: SynackTimer,
    /// How long after the last cookie the listener still believes cookies, nanoseconds: 3 s
    /// (`TCP_TIMEOUT_FALLBACK`) in RHEL 7, 120 s (`TCP_SYNCOOKIE_VALID`) since 264ea103a747 (3.19).
    pub cookie_window: Nanos,
    /// Each cookie sent also counts as `ListenDrops` (`goto drop_and_free`): 3.10 to 4.4 at least,
    /// no longer in 4.15.
    pub cookie_counts_listen_drop: bool,
    /// Default of `net.core.somaxconn`: 128, or 4096 since 19f92a030ca6 (5.4).
    pub somaxconn: u32,
    /// The timer wheel: how late timers are, and which of several runs first.
    pub timer_wheel: TimerWheel,
    /// The client's `net.ipv4.tcp_syn_linear_timeouts`: so many SYN timeouts do not back off.
    /// 4 since ccce324dabfe (6.5), else 0.
    pub syn_linear_timeouts: u8,
    /// The client's tail loss probe timeout.
    pub tail_loss_probe: TailLossProbe,
}

/// When the SYN queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SynQueueTest {
    /// `listen_opt->qlen >> listen_opt->max_qlen_log`: a table of its own, at least 16 requests,
    /// sized at the first `listen()`. Until ef547f2ac16b (4.4); RHEL 7.
    MaxQlenLog,
    /// `inet_csk_reqsk_queue_len(sk) >= sk->sk_max_ack_backlog`: ef547f2ac16b (4.4) to 6.12.9.
    AtBacklog,
    /// `inet_csk_reqsk_queue_len(sk) > READ_ONCE(sk->sk_max_ack_backlog)`: 3479c7549fb1 (6.13;
    /// stable 6.12.10, 6.6.72, 6.1.125, 5.15.177, 5.10.234, 5.4.290).
    AboveBacklog,
}

impl From<SynQueueLimit> for SynQueueTest {
    fn from(limit: SynQueueLimit) -> Self {
        match limit {
            SynQueueLimit::AtBacklog => Self::AtBacklog,
            SynQueueLimit::AboveBacklog => Self::AboveBacklog,
        }
    }
}

/// Who retransmits SYN-ACKs, and so when a request stops being young.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SynackTimer {
    /// `inet_csk_reqsk_queue_prune()` from the listener's keepalive timer: first one second after
    /// the queue stopped being empty, then every 200 ms (`TCP_SYNQ_INTERVAL`), each time over 3/8
    /// of the hash table. RHEL 7; mainline until fa76ce7328b2 (4.1).
    ListenerWheel,
    /// `reqsk_timer_handler()`, one timer a request, since fa76ce7328b2 (4.1).
    PerRequest,
}

/// The kernel's timer wheel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimerWheel {
    /// Exact to the jiffy; timers of one jiffy run in the order in which they were armed
    /// (`list_add_tail`).
    Cascading,
    /// Since 500462a9de65 (4.8): late by up to 1/8 of the timeout; timers of one bucket run last
    /// armed first (`hlist_add_head`). SYNs that were sent together are thus retransmitted in
    /// reverse order, then again in the first order.
    Bucketed,
}

impl TimerWheel {
    /// When a timer armed at `now` for `timeout` expires.
    pub(crate) fn expires(self, now: Nanos, timeout: Nanos) -> Nanos {
        match self {
            Self::Cascading => time::expires_exactly(now, timeout),
            Self::Bucketed => time::expires_in_bucket(now, timeout),
        }
    }
}

/// How long the client waits for an ACK of its only segment before it probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TailLossProbe {
    /// `max(2 * srtt, 1.5 * srtt + TCP_DELACK_MAX)`, 6ba8a3b19e76 (3.10).
    DelayedAck,
    /// `2 * srtt + TCP_RTO_MIN`, bb4d991a28cc (4.15).
    RtoMin,
}

impl Features {
    /// Regime A of RHEL/CentOS 7 (3.10.0-693 and -1160): a SYN queue of its own.
    pub const EL7: Self = Self {
        syn_queue: SynQueueTest::MaxQlenLog,
        young_rule: true,
        synack_timer: SynackTimer::ListenerWheel,
        cookie_window: 3 * SEC,
        cookie_counts_listen_drop: true,
        somaxconn: 128,
        timer_wheel: TimerWheel::Cascading,
        syn_linear_timeouts: 0,
        tail_loss_probe: TailLossProbe::DelayedAck,
    };

    /// Regime A' of mainline 4.4: the SYN queue shares the backlog, the young rule still holds.
    pub(crate) const V4_4: Self = Self {
        syn_queue: SynQueueTest::AtBacklog,
        synack_timer: SynackTimer::PerRequest,
        cookie_window: 120 * SEC,
        ..Self::EL7
    };

    /// Regime A' of 4.8 and 4.9: as 4.4, on the new timer wheel.
    pub(crate) const V4_8: Self = Self { timer_wheel: TimerWheel::Bucketed, ..Self::V4_4 };

    /// Regime B of 4.10 and later, Ubuntu 18.04's 4.15 among them.
    pub(crate) const V4_15: Self = Self {
        young_rule: false,
        cookie_counts_listen_drop: false,
        tail_loss_probe: TailLossProbe::RtoMin,
        ..Self::V4_8
    };

    /// Regime B of 5.4 and later.
    pub const V5_4: Self = Self { somaxconn: 4096, ..Self::V4_15 };

    /// Regime B of 6.5 and later: the client's SYNs at first do not back off.
    pub const V6_5: Self = Self { syn_linear_timeouts: 4, ..Self::V5_4 };

    /// Regime C: these features with the stable fix 3479c7549fb1.
    #[must_use]
    pub const fn above_backlog(self) -> Self {
        Self { syn_queue: SynQueueTest::AboveBacklog, ..self }
    }

    /// The regime's letter in the project's documentation.
    pub const fn regime(&self) -> &'static str {
        match (self.syn_queue, self.young_rule) {
            (SynQueueTest::MaxQlenLog, _) => "A",
            (SynQueueTest::AtBacklog, true) => "A'",
            (SynQueueTest::AtBacklog, false) => "B",
            (SynQueueTest::AboveBacklog, _) => "C",
        }
    }
}
