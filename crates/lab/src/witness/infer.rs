//! Stages that the tracer did not see, drawn from the packets and the lab's own settings.
//!
//! In the lab nobody calls `accept()`, so the accept queue only grows, and the packets show when:
//! each accepted third ACK adds one. That shows which queue was full at any other time.

use crate::{CellConfig, Observation};
use overflow_core::{
    capture::{evidence::WireEvidence, flow::Flow},
    syn_limit::SynQueueLimit,
    verdict::{Connection, Counter, Known, Stage, Values, VerdictId, WirePattern},
};

/// The queues of one cell over time, as the packets show them.
pub(super) struct Queues<'a> {
    config: &'a CellConfig,
    evidence: &'a [WireEvidence],
    /// The limit of both queues: `sk_max_ack_backlog`, `ss` Send-Q.
    limit: usize,
    /// When the accept queue grew, CLOCK_MONOTONIC nanoseconds, in order.
    accepted: Vec<u64>,
    /// When requests entered the SYN queue, and when they left it, each in order.
    requests: (Vec<u64>, Vec<u64>),
    /// When the SYN queue is full, as the packets show it: independent of what the tracer learns.
    syn_queue_limit: Option<SynQueueLimit>,
    /// Whether all, or none, of the accepted connections had a cookie; `None` if it is mixed.
    accepted_by_cookie: Option<bool>,
}

impl<'a> Queues<'a> {
    /// Reads the queues' history off the packets of all connections of a cell.
    pub(super) fn new(
        config: &'a CellConfig,
        seen: &Observation,
        evidence: &'a [WireEvidence],
    ) -> Self {
        let mut accepted: Vec<u64> = evidence.iter().filter_map(accepting_ack).collect();
        accepted.sort_unstable();
        let spans = evidence.iter().filter_map(request_span);
        let mut requests: (Vec<u64>, Vec<u64>) = spans.map(|s| (s.start, s.end)).unzip();
        requests.0.sort_unstable();
        requests.1.sort_unstable();
        let mut queues = Self {
            config,
            evidence,
            limit: seen.queue.1.send_q as usize,
            accepted,
            requests,
            syn_queue_limit: None,
            accepted_by_cookie: None,
        };
        queues.syn_queue_limit = queues.learn_limit();
        queues.accepted_by_cookie = queues.learn_cookies(seen);
        queues
    }

    /// Adds to `connection` the stages of its handshake that it lacks, each marked as inferred.
    ///
    /// Nothing is added where the packets leave a choice. With no handshake verdict of its own
    /// the connection also gets what came later, and an outcome.
    pub(super) fn complete(&self, connection: &mut Connection, evidence: &WireEvidence) {
        let unseen = connection.handshake().is_none();
        let has = |test: fn(VerdictId) -> bool| connection.stages.iter().any(|s| test(s.id));
        let mut added = Vec::new();
        if !has(VerdictId::is_dropped_syn) {
            added.extend(self.dropped_syns(evidence));
        }
        // A Fast Open child was accepted with its SYN.
        if !has(VerdictId::is_ack) && !has(|id| id == VerdictId::SynFastopen) {
            added.extend(self.acks(evidence));
        }
        if !has(|id| matches!(id, VerdictId::SynQueued | VerdictId::SynCookie)) {
            let ack = connection.stages.iter().chain(&added).find(|s| s.id.is_ack());
            added.extend(answered_syns(evidence, ack.map(|s| s.id)));
        }
        if unseen && !has(VerdictId::is_later) {
            added.extend(later(&evidence.flow));
        }
        connection.stages.extend(added);
        connection.stages.sort_by_key(|s| s.t_ns);
        if unseen {
            connection.outcome = connection.outcome.or_else(|| outcome(connection));
            connection.synack_retransmits_ns = evidence.resent_synacks();
        }
    }

    /// Accept queue length just before `t_ns`, connections.
    fn accept_queue(&self, t_ns: u64) -> usize {
        self.accepted.partition_point(|t| *t < t_ns)
    }

    /// Requests in the SYN queue just before `t_ns`, as far as the packets can distinguish requests
    /// from cookies.
    fn open_requests(&self, t_ns: u64) -> usize {
        let (entered, left) = &self.requests;
        entered.partition_point(|t| *t < t_ns) - left.partition_point(|t| *t < t_ns)
    }

    fn full(&self, t_ns: u64) -> bool {
        self.accept_queue(t_ns) > self.limit
    }

    /// A SYN that found exactly `limit` requests shows it: queued, or dropped.
    fn learn_limit(&self) -> Option<SynQueueLimit> {
        if self.config.syncookies != 0 {
            return None;
        }
        let at_limit = |t: &u64| self.open_requests(*t) == self.limit && !self.full(*t);
        if self.evidence.iter().any(|e| e.answered_syns().iter().any(at_limit)) {
            return Some(SynQueueLimit::AboveBacklog);
        }
        let dropped = self.evidence.iter().any(|e| e.dropped_syns().iter().any(at_limit));
        dropped.then_some(SynQueueLimit::AtBacklog)
    }

    fn learn_cookies(&self, seen: &Observation) -> Option<bool> {
        let sent = *seen.counters.get(Counter::SyncookiesSent.as_str())?;
        let answers = |pattern| -> u64 {
            let of = self.evidence.iter().filter(|e| e.pattern == pattern);
            of.map(|e| e.answered_syns().len() as u64).sum()
        };
        let left = sent.checked_sub(answers(WirePattern::AckSilent))?;
        if left == 0 {
            return Some(false);
        }
        (left == answers(WirePattern::Accepted)).then_some(true)
    }

    fn dropped_syns(&self, evidence: &WireEvidence) -> Vec<Stage> {
        let mut stages: Vec<Stage> = Vec::new();
        for t_ns in evidence.dropped_syns() {
            let Some((id, why)) = self.dropped_syn(t_ns) else { continue };
            match stages.last_mut() {
                Some(last) if last.id == id => last.repeats_ns.push(t_ns),
                _ => stages.push(inferred(id, t_ns, why)),
            }
        }
        stages
    }

    /// Follows the order of tests in tcp_conn_request: SYN queue (only a drop without cookies),
    /// then accept queue.
    fn dropped_syn(&self, t_ns: u64) -> Option<(VerdictId, String)> {
        let (queue, requests, limit) =
            (self.accept_queue(t_ns), self.open_requests(t_ns), self.limit);
        let by_accept_queue = || {
            let why = format!("packets: no SYN-ACK, with {queue} > {limit} in the accept queue");
            Some((VerdictId::SynDropAcceptQueueFull, why))
        };
        if self.config.syncookies != 0 {
            return if queue > limit { by_accept_queue() } else { None };
        }
        let syn_queue_full = match requests.cmp(&limit) {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal => self.syn_queue_limit? == SynQueueLimit::AtBacklog,
            std::cmp::Ordering::Greater => true,
        };
        if syn_queue_full {
            let why = format!(
                "packets: no SYN-ACK while {requests} requests were open at a limit of {limit}, \
                 without SYN cookies"
            );
            return Some((VerdictId::SynDropSynQueueFull, why));
        }
        if queue > limit { by_accept_queue() } else { None }
    }

    fn acks(&self, evidence: &WireEvidence) -> Vec<Stage> {
        let times: Vec<u64> = evidence.flow.acks.iter().map(|a| a.t_ns).collect();
        let Some(third) = times.first().copied() else { return Vec::new() };
        let (queue, limit) = (self.accept_queue(third), self.limit);
        let stage = |id, times: &[u64], seen: &str| {
            let why = format!("packets: {seen}, with {queue} > {limit} in the accept queue");
            let mut stage = inferred(id, times[0], why);
            stage.repeats_ns = times[1..].to_vec();
            stage
        };
        match evidence.pattern {
            WirePattern::Accepted => {
                let Some(entered) = accepting_ack(evidence) else { return Vec::new() };
                let Some(by_cookie) = self.accepted_by_cookie else { return Vec::new() };
                let id =
                    if by_cookie { VerdictId::AckAcceptedCookie } else { VerdictId::AckAccepted };
                let why = format!("packets and SyncookiesSent: {}", evidence.pattern.words());
                let mut stages = Vec::new();
                let early = times.iter().position(|t| *t >= entered).unwrap_or(0);
                if early > 0 && self.full(third) {
                    let seen = WirePattern::AckResent.words();
                    stages.push(stage(VerdictId::AckDropOverflow, &times[..early], seen));
                }
                stages.push(inferred(id, entered, why));
                stages
            }
            _ if !self.full(third) => Vec::new(),
            WirePattern::AckReset if self.config.abort_on_overflow != 0 => {
                vec![stage(VerdictId::AckResetOverflow, &times[..1], evidence.pattern.words())]
            }
            WirePattern::AckResent => {
                vec![stage(VerdictId::AckDropOverflow, &times, evidence.pattern.words())]
            }
            WirePattern::AckSilent => {
                vec![stage(VerdictId::AckDropOverflowCookie, &times, evidence.pattern.words())]
            }
            WirePattern::NoSyn
            | WirePattern::StrayReset
            | WirePattern::SynUnanswered
            | WirePattern::SynRefused
            | WirePattern::SynAckOnly
            | WirePattern::AckReset
            | WirePattern::AckSilentShort
            | WirePattern::AckUnanswered
            | WirePattern::AckThenClientReset
            | WirePattern::DataReset => Vec::new(),
        }
    }
}

/// What became of the SYN that was answered: the ACK's path distinguishes a request from a cookie.
fn answered_syns(evidence: &WireEvidence, ack: Option<VerdictId>) -> Option<Stage> {
    let id = ack?.after()?;
    let by = if id == VerdictId::SynCookie {
        "third ACK went through the cookie check"
    } else {
        "third ACK met a request"
    };
    let answered = evidence.answered_syns();
    let (first, repeats) = answered.split_first()?;
    let mut stage = inferred(id, *first, format!("its {by}"));
    stage.repeats_ns = repeats.to_vec();
    Some(stage)
}

/// When an accepted connection entered the accept queue: with its third ACK, or with the one that
/// answered the last SYN-ACK.
fn accepting_ack(evidence: &WireEvidence) -> Option<u64> {
    if evidence.pattern != WirePattern::Accepted {
        return None;
    }
    let last_synack = *evidence.flow.synacks.last()?;
    let acks = &evidence.flow.acks;
    acks.iter().find(|a| a.t_ns >= last_synack).or(acks.first()).map(|a| a.t_ns)
}

/// When a connection certainly or probably had a request in the SYN queue.
fn request_span(evidence: &WireEvidence) -> Option<std::ops::Range<u64>> {
    // The SYN's arrival, not the SYN-ACK's departure: behind a qdisc only the former is exact.
    let from = *evidence.answered_syns().first()?;
    let until = match evidence.pattern {
        WirePattern::Accepted => accepting_ack(evidence)?,
        WirePattern::AckReset => evidence.flow.acks.first()?.t_ns,
        WirePattern::AckResent | WirePattern::SynAckOnly => u64::MAX,
        WirePattern::NoSyn
        | WirePattern::StrayReset
        | WirePattern::SynUnanswered
        | WirePattern::SynRefused
        | WirePattern::AckSilent
        | WirePattern::AckSilentShort
        | WirePattern::AckUnanswered
        | WirePattern::AckThenClientReset
        | WirePattern::DataReset => return None,
    };
    Some(from..until.max(from))
}

fn later(flow: &Flow) -> Vec<Stage> {
    let mut stages = Vec::new();
    if let Some(t_ns) = flow.active_resets.first() {
        let why = "packets: a RST that answers no segment, as a closed listener sends it";
        stages.push(inferred(VerdictId::LaterListenerClosed, *t_ns, why.to_owned()));
    }
    // The first of several refusals may be the handshake's own verdict; those of data are later.
    let mut data = flow.resets.iter().filter(|r| {
        r.acks_before > 0 && flow.acks[..r.acks_before].iter().any(|a| a.payload_len > 0)
    });
    if let Some(first) = data.next() {
        let why = "packets: a RST in answer to data".to_owned();
        let mut stage = inferred(VerdictId::LaterResetNoSocket, first.t_ns, why);
        stage.repeats_ns = data.map(|r| r.t_ns).collect();
        stages.push(stage);
    }
    stages
}

fn outcome(connection: &Connection) -> Option<VerdictId> {
    let last = connection.stages.last()?.id;
    Some(match (last.is_overflow_drop(), last.leaves_request()) {
        (true, true) => VerdictId::LaterPending,
        (true, false) => VerdictId::LaterPhantom,
        (false, true | false) => last,
    })
}

fn inferred(id: VerdictId, t_ns: u64, why: String) -> Stage {
    Stage {
        id,
        t_ns,
        known: Known::Inferred(why.into()),
        path: &[],
        values: Values::default(),
        repeats_ns: Vec::new(),
    }
}
