//! The listening socket: its two queues and what the kernel keeps about them.

use super::{
    condition::Condition,
    config::{Limits, Sysctls},
    counters::Counters,
    features::{Features, SynQueueTest, SynackTimer},
    prune::PruneWheel,
    time::Nanos,
    timers,
};

/// A request socket in the SYN queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// `req->num_timeout`: SYN-ACK timeouts so far; 0 is young.
    pub num_timeout: u8,
    /// `inet_rsk(req)->acked`: a third ACK came and could not be used.
    pub acked: bool,
    /// When its SYN-ACK timer expires.
    pub expires: Nanos,
    /// Its place in the SYN table of kernels with a listener-wide timer.
    pub bucket: u32,
}

/// A listening socket.
#[derive(Clone, Debug)]
pub(crate) struct ListenSock {
    /// The kernel.
    pub features: Features,
    /// The namespace's sysctls.
    pub sysctls: Sysctls,
    /// The limits that `listen(2)` set.
    pub limits: Limits,
    /// Requests in the SYN queue.
    pub qlen: u32,
    /// Those of them whose SYN-ACK was never retransmitted.
    pub young: u32,
    /// Connections in the accept queue.
    pub ack_backlog: u32,
    /// When the last cookie was sent (`tcp_synq_overflow`).
    pub last_cookie: Option<Nanos>,
    /// False once the listener was closed.
    pub listening: bool,
    /// The namespace's counters.
    pub counters: Counters,
    /// The listener-wide SYN-ACK timer, where the kernel has one.
    pub wheel: PruneWheel,
}

impl ListenSock {
    /// A listener with empty queues; `hash_rnd` is the key of its SYN table.
    pub(super) fn new(features: Features, sysctls: Sysctls, limits: Limits, hash_rnd: u32) -> Self {
        Self {
            features,
            sysctls,
            limits,
            qlen: 0,
            young: 0,
            ack_backlog: 0,
            last_cookie: None,
            listening: true,
            counters: Counters::default(),
            wheel: PruneWheel::new(1 << limits.max_qlen_log, hash_rnd),
        }
    }

    /// `sk_acceptq_is_full()`: `>` in every kernel, so the queue holds one more than its limit.
    pub(crate) fn acceptq_is_full(&self) -> bool {
        self.ack_backlog > self.limits.max_ack_backlog
    }

    /// `inet_csk_reqsk_queue_is_full()`.
    pub(crate) fn syn_queue_is_full(&self) -> bool {
        self.qlen >= self.limits.syn_queue_full_at(self.features.syn_queue)
    }

    /// The SYN queue test as a condition with its present values.
    pub(crate) fn syn_queue_condition(&self) -> Condition {
        let test = self.features.syn_queue;
        let limit = match test {
            SynQueueTest::MaxQlenLog => u32::from(self.limits.max_qlen_log),
            SynQueueTest::AtBacklog | SynQueueTest::AboveBacklog => self.limits.max_ack_backlog,
        };
        Condition::SynQueue { test, qlen: self.qlen, limit }
    }

    /// `inet_csk_reqsk_queue_hash_add()`: a new, young request.
    pub(crate) fn add_request(&mut self, now: Nanos) -> Request {
        if self.qlen == 0 && self.features.synack_timer == SynackTimer::ListenerWheel {
            self.wheel.start(now);
        }
        self.qlen += 1;
        self.young += 1;
        Request {
            num_timeout: 0,
            acked: false,
            expires: self.features.timer_wheel.expires(now, timers::TIMEOUT_INIT),
            bucket: self.wheel.next_bucket(),
        }
    }

    /// `reqsk_queue_removed()`.
    pub(crate) fn remove_request(&mut self, req: &Request) {
        self.qlen -= 1;
        if req.num_timeout == 0 {
            self.young -= 1;
        }
        if self.qlen == 0 {
            self.wheel.stop();
        }
    }

    /// Whether old requests fill more than half of the SYN queue, so that retries are cut.
    pub(crate) fn crowded(&self) -> bool {
        match self.features.synack_timer {
            SynackTimer::ListenerWheel => self.qlen >> (self.limits.max_qlen_log - 1) != 0,
            SynackTimer::PerRequest => (self.qlen << 1) > self.limits.max_ack_backlog.max(8),
        }
    }
}
