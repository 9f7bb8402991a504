//! Stages that the tracer did not see, drawn from the packets and the lab's own settings.
//!
//! In the lab nobody calls `accept()`, so the accept queue only grows, and the packets show when:
//! each accepted third ACK adds one. That shows which queue was full at any other time.

mod answers;
mod queues;

pub(super) use queues::Queues;

use answers::Fates;
use overflow_core::{
    capture::{evidence::WireEvidence, flow::Flow},
    verdict::{Class, Connection, Known, Stage, Values, VerdictId, WirePattern},
};

/// What certainly happened, but not which of several verdicts it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undetermined {
    /// When, CLOCK_MONOTONIC nanoseconds.
    pub times: Vec<u64>,
    /// What each of them may have been.
    pub candidates: Vec<VerdictId>,
    /// Whether some of them may have been nothing.
    pub at_most: bool,
}

impl Queues<'_> {
    /// Adds to `connection` the stages of its handshake that it lacks, each marked as inferred, and
    /// returns what remains open.
    ///
    /// Nothing is added where the packets leave a choice. With no handshake verdict of its own
    /// the connection also gets what came later, and an outcome.
    pub(super) fn complete(
        &self,
        connection: &mut Connection,
        evidence: &WireEvidence,
    ) -> Vec<Undetermined> {
        let unseen = connection.handshake().is_none();
        let has = |test: fn(VerdictId) -> bool| connection.stages.iter().any(|s| test(s.id));
        let mut found = Found::default();
        if !has(VerdictId::is_dropped_syn) {
            self.syns(evidence, Class::SynDropped, &mut found);
        }
        // A Fast Open child was accepted with its SYN.
        let fast_open = has(|id| id == VerdictId::SynFastopen);
        if !has(VerdictId::is_ack) && !fast_open {
            self.acks(evidence, &mut found);
        }
        if !has(|id| matches!(id, VerdictId::SynQueued | VerdictId::SynCookie)) && !fast_open {
            let traced = connection.stages.iter().find(|s| s.id.is_ack());
            match traced.and_then(|ack| ack.id.after()) {
                Some(id) => found.stages.extend(answered_syns(evidence, id)),
                None if traced.is_none() => {
                    self.syns(evidence, Class::SynAnswered, &mut found);
                }
                None => {}
            }
        }
        if unseen {
            found.keep_only_whole();
        }
        if unseen && !has(VerdictId::is_later) {
            found.stages.extend(later(&evidence.flow));
        }
        connection.stages.extend(found.stages);
        connection.stages.sort_by_key(|s| s.t_ns);
        if unseen {
            connection.outcome = connection.outcome.or_else(|| outcome(connection));
            connection.synack_retransmits_ns = evidence.resent_synacks();
        }
        found.open
    }

    /// What became of the SYNs that were answered, or of those that were dropped.
    fn syns(&self, evidence: &WireEvidence, class: Class, found: &mut Found) {
        let answered = evidence.answered_syns();
        for &(t_ns, fates) in self.fates(evidence.flow.client) {
            if answered.contains(&t_ns) != (class == Class::SynAnswered) {
                continue;
            }
            match fates.verdict() {
                Some(id) => found.add(id, t_ns, || self.why_syn(id, t_ns)),
                None => found.leave_open(t_ns, class),
            }
        }
    }

    fn why_syn(&self, id: VerdictId, t_ns: u64) -> String {
        let (queue, limit) = (self.accept_queue(t_ns), self.limit);
        match id {
            VerdictId::SynQueued => {
                format!("{}: a SYN-ACK, while the SYN queue had room", self.sources())
            }
            VerdictId::SynCookie => {
                format!("{}: a SYN-ACK, while the SYN queue was full", self.sources())
            }
            VerdictId::SynDropAcceptQueueFull => {
                format!("packets: no SYN-ACK, with {queue} > {limit} in the accept queue")
            }
            _ => "packets and TCPReqQFullDrop: no SYN-ACK, while the SYN queue was full, without \
                  SYN cookies"
                .to_owned(),
        }
    }

    /// What tells requests from cookies.
    fn sources(&self) -> &'static str {
        if self.config.syncookies == 0 { "packets" } else { "packets and SyncookiesSent" }
    }

    fn acks(&self, evidence: &WireEvidence, found: &mut Found) {
        let times: Vec<u64> = evidence.flow.acks.iter().map(|a| a.t_ns).collect();
        let Some(&third) = times.first() else { return };
        let answers = self.fates(evidence.flow.client).iter();
        let answer = answers.rev().find(|(t, fates)| *t <= third && fates.is_answer());
        let answer = answer.map_or(Fates::default(), |(_, fates)| *fates);
        let (queue, limit, full) = (self.accept_queue(third), self.limit, self.full(third));
        let seen = evidence.pattern.words();
        let why =
            |seen: &str| format!("packets: {seen}, with {queue} > {limit} in the accept queue");
        let open = |found: &mut Found| {
            let candidates: Vec<VerdictId> =
                evidence.pattern.admitted().filter(|id| id.is_ack()).collect();
            if !candidates.is_empty() {
                found.open.push(Undetermined { times: times.clone(), candidates, at_most: true });
            }
        };
        match evidence.pattern {
            WirePattern::Accepted => {
                let Some(entered) = accepting_ack(evidence) else { return };
                let early = times.iter().position(|t| *t >= entered).unwrap_or(0);
                if early > 0 && full {
                    let seen = WirePattern::AckResent.words();
                    found.add_all(VerdictId::AckDropOverflow, &times[..early], || why(seen));
                }
                let id = match answer {
                    Fates::REQUEST => VerdictId::AckAccepted,
                    Fates::COOKIE => VerdictId::AckAcceptedCookie,
                    _ => return found.leave_open(entered, Class::AckAccepted),
                };
                let from = self.sources();
                found.add(id, entered, || format!("{from}: {seen}"));
            }
            _ if !full => open(found),
            WirePattern::AckReset if self.config.abort_on_overflow != 0 => {
                found.add(VerdictId::AckResetOverflow, third, || why(seen));
            }
            WirePattern::AckResent => {
                found.add_all(VerdictId::AckDropOverflow, &times, || why(seen));
            }
            WirePattern::AckSilent => {
                found.add_all(VerdictId::AckDropOverflowCookie, &times, || why(seen));
            }
            // A third ACK with nothing after it for less than a request's timer: what it met tells.
            WirePattern::AckSilentShort
                if answer == Fates::REQUEST && self.config.abort_on_overflow == 0 =>
            {
                found.add_all(VerdictId::AckDropOverflow, &times, || why(seen));
            }
            WirePattern::AckSilentShort if answer == Fates::COOKIE => {
                found.add_all(VerdictId::AckDropOverflowCookie, &times, || why(seen));
            }
            // A cookie is good for some seconds before v3.14 (8c27bd75f04f), and what comes later meets
            // nothing.
            WirePattern::DataReset if answer == Fates::COOKIE => {
                let refused = evidence.flow.resets.first().map_or(0, |reset| reset.acks_before);
                let good = &times[..refused.saturating_sub(1)];
                found.add_all(VerdictId::AckDropOverflowCookie, good, || why(seen));
            }
            WirePattern::NoSyn
            | WirePattern::StrayReset
            | WirePattern::SynUnanswered
            | WirePattern::SynRefused
            | WirePattern::SynAckOnly => {}
            WirePattern::AckReset
            | WirePattern::AckSilentShort
            | WirePattern::AckUnanswered
            | WirePattern::AckThenClientReset
            | WirePattern::DataReset => open(found),
        }
    }
}

/// What was inferred of one connection, and what was not.
#[derive(Default)]
struct Found {
    stages: Vec<Stage>,
    open: Vec<Undetermined>,
}

impl Found {
    /// Adds an event; of several in a row that are alike, one stage.
    fn add(&mut self, id: VerdictId, t_ns: u64, why: impl FnOnce() -> String) {
        match self.stages.last_mut() {
            Some(last) if last.id == id => last.repeats_ns.push(t_ns),
            _ => self.stages.push(inferred(id, t_ns, why())),
        }
    }

    fn add_all(&mut self, id: VerdictId, times: &[u64], why: impl Fn() -> String) {
        for t_ns in times {
            self.add(id, *t_ns, &why);
        }
    }

    /// Without the event that decided it, what came before is no verdict on a handshake: it stays open
    /// as well.
    fn keep_only_whole(&mut self) {
        if self.open.is_empty() || self.stages.iter().any(|s| s.id.is_ack()) {
            return;
        }
        self.open.extend(self.stages.drain(..).map(|stage| Undetermined {
            times: std::iter::once(stage.t_ns).chain(stage.repeats_ns).collect(),
            candidates: vec![stage.id],
            at_most: false,
        }));
    }

    /// Notes an event that was one of a class.
    fn leave_open(&mut self, t_ns: u64, class: Class) {
        let ids = VerdictId::ALL.iter().copied();
        let candidates = ids.filter(|id| id.class() == class).collect();
        self.open.push(Undetermined { times: vec![t_ns], candidates, at_most: false });
    }
}

/// What became of the SYNs that were answered, by what their ACK met.
fn answered_syns(evidence: &WireEvidence, id: VerdictId) -> Option<Stage> {
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
