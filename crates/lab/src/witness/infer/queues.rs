//! The queues of one cell over time, as its packets show them.

use std::{collections::HashMap, net::SocketAddr};

use overflow_core::{
    capture::{evidence::WireEvidence, flow::canonical},
    verdict::{Counter, WirePattern},
};

use super::{
    accepting_ack,
    answers::{Fates, Known, Life, Syn, fates},
};
use crate::{CellConfig, Observation, witness::counters::READING_NS};

/// The queues of one cell over time, as the packets show them.
pub(in crate::witness) struct Queues<'a> {
    pub(super) config: &'a CellConfig,
    /// The limit of both queues: `sk_max_ack_backlog`, `ss` Send-Q.
    pub(super) limit: usize,
    /// When the accept queue grew, CLOCK_MONOTONIC nanoseconds, in order.
    accepted: Vec<u64>,
    /// What became of each SYN, by client, in order of time.
    fates: HashMap<SocketAddr, Vec<(u64, Fates)>>,
}

impl<'a> Queues<'a> {
    /// Reads the queues' history off the packets of all connections of a cell.
    pub(in crate::witness) fn new(
        config: &'a CellConfig,
        seen: &Observation,
        evidence: &[WireEvidence],
    ) -> Self {
        let mut accepted: Vec<u64> = evidence.iter().filter_map(accepting_ack).collect();
        accepted.sort_unstable();
        let limit = seen.queue.1.send_q as usize;
        let mut queues = Self { config, limit, accepted, fates: HashMap::new() };
        queues.fates = queues.learn(seen, evidence);
        queues
    }

    /// Accept queue length just before `t_ns`, connections.
    pub(super) fn accept_queue(&self, t_ns: u64) -> usize {
        self.accepted.partition_point(|t| *t < t_ns)
    }

    /// Whether the accept queue is full just before `t_ns`.
    pub(super) fn full(&self, t_ns: u64) -> bool {
        self.accept_queue(t_ns) > self.limit
    }

    /// What became of each SYN of a client, in order of time.
    pub(super) fn fates(&self, client: SocketAddr) -> &[(u64, Fates)] {
        self.fates.get(&client).map_or(&[], Vec::as_slice)
    }

    fn learn(
        &self,
        seen: &Observation,
        evidence: &[WireEvidence],
    ) -> HashMap<SocketAddr, Vec<(u64, Fates)>> {
        let requests = seen.server_sockets.iter().filter(|s| s.state == "SYN_RECV");
        let requests: Vec<SocketAddr> = requests.map(|s| canonical(s.peer)).collect();
        let end = seen.timeline.hold_end;
        let lives: Vec<Life> =
            evidence.iter().map(|e| self.life(e, end, requests.contains(&e.flow.client))).collect();
        let mut syns: Vec<Syn> = Vec::new();
        for (connection, evidence) in evidence.iter().enumerate() {
            let answered = evidence.answered_syns();
            syns.extend(evidence.flow.syns.iter().map(|&t_ns| Syn {
                connection,
                t_ns,
                answered: answered.contains(&t_ns),
                accept_queue_full: self.full(t_ns),
            }));
        }
        syns.sort_by_key(|syn| syn.t_ns);
        let known = Known {
            syns: &syns,
            lives: &lives,
            syncookies: self.config.syncookies,
            backlog: self.limit,
            rose: &|counter: Counter| seen.counters.get(counter.as_str()).copied(),
            counted: end.saturating_sub(READING_NS)..end.saturating_add(READING_NS),
        };
        let mut by_client: HashMap<SocketAddr, Vec<(u64, Fates)>> = HashMap::new();
        for (syn, fates) in syns.iter().zip(fates(&known)) {
            let client = evidence[syn.connection].flow.client;
            by_client.entry(client).or_default().push((syn.t_ns, fates));
        }
        by_client
    }

    /// What a connection's packets, and the server's socket, say of its request.
    fn life(&self, evidence: &WireEvidence, end: u64, is_request: bool) -> Life {
        let flow = &evidence.flow;
        let resent = evidence.resent_synacks();
        let overflow_reset = self.config.abort_on_overflow != 0
            && evidence.pattern == WirePattern::AckReset
            && flow.acks.first().is_some_and(|ack| self.full(ack.t_ns));
        let request = is_request
            || !resent.is_empty()
            || overflow_reset
            || evidence.pattern == WirePattern::AckResent;
        let answer = if request || self.config.syncookies == 0 {
            Fates::REQUEST
        } else if evidence.pattern == WirePattern::AckSilent {
            Fates::COOKIE
        } else {
            Fates::REQUEST.or(Fates::COOKIE)
        };
        let ended = match (evidence.pattern, flow.acks.first()) {
            (WirePattern::Accepted, Some(_)) => accepting_ack(evidence).map(|t| t..t),
            (WirePattern::AckReset, Some(ack)) => Some(ack.t_ns..ack.t_ns),
            _ => None,
        };
        // Its timer, or its client's RST, ends it.
        let alive = resent.last().copied().filter(|_| !is_request);
        let alive = if is_request { Some(end) } else { alive };
        let alive = alive.or(evidence.answered_syns().first().copied()).unwrap_or(0);
        let ended = ended.unwrap_or(alive..flow.client_reset.unwrap_or(u64::MAX).max(alive));
        Life { answer, ended }
    }
}
