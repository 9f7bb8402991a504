//! What must come out of a scenario, and whether it did: pure.

use std::collections::BTreeMap;

use overflow_core::{
    syn_limit::SynQueueLimit,
    verdict::{Connection, Known, Stage, Values, VerdictId},
};

use super::Scenario;

/// One set of outcomes that a kernel may give.
#[derive(Clone, Copy, Debug)]
pub struct Alternative {
    /// The kernels it is the outcome on.
    pub when: When,
    /// How many connections have which history: the ids of their stages, in order, with `*N` behind
    /// a stage that must have happened N times in a row.
    pub histories: &'static [(usize, &'static str)],
}

/// Kernels, by how they behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// All, or those which nothing predicts before the run.
    Always,
    /// Those that hold the SYN queue full at the backlog (`>=`, v4.4 to v6.12).
    AtBacklog,
    /// Those that hold it full above the backlog (`>`, since 3479c7549fb1 and its backports).
    AboveBacklog,
}

/// What was seen of a cell, and how well the tracer could see.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// The SYN queue's limit, if some connection showed it.
    pub limit: Option<SynQueueLimit>,
    /// Verdicts that no hook in use shows.
    pub blind_to: &'a [VerdictId],
    /// Whether anything traced the kernel. Nothing did: what packets, counters and sockets say must be
    /// right, but need not be all.
    pub traced: bool,
    /// Whether third ACKs were seen by tracepoints only: some exits then are `*.other`.
    pub coarse: bool,
    /// Increases of the namespace's counters.
    pub counters: &'a BTreeMap<String, u64>,
}

impl Alternative {
    /// How many connections it is about.
    #[cfg(test)]
    pub(super) fn connections(&self) -> usize {
        self.histories.iter().map(|(n, _)| n).sum()
    }

    /// Every verdict that its histories name.
    pub(super) fn ids(&self) -> impl Iterator<Item = VerdictId> {
        let steps = self.histories.iter().flat_map(|(_, history)| steps(history));
        steps.map(|(id, _)| VerdictId::parse(id).unwrap_or_else(|| panic!("{id} is not a verdict")))
    }

    fn applies(&self, limit: Option<SynQueueLimit>) -> bool {
        match (self.when, limit) {
            (When::Always, _) | (_, None) => true,
            (When::AtBacklog, Some(limit)) => limit == SynQueueLimit::AtBacklog,
            (When::AboveBacklog, Some(limit)) => limit == SynQueueLimit::AboveBacklog,
        }
    }

    /// What differs, one sentence each; empty if nothing.
    fn differences(&self, connections: &[&Connection], evidence: &Evidence<'_>) -> Vec<String> {
        let mut left: Vec<&Connection> = connections.to_vec();
        // Those of which nothing can be told fit whatever remains.
        left.sort_by_key(|connection| connection.handshake().is_none());
        let mut problems = Vec::new();
        for (wanted, history) in self.histories {
            let mut found = 0;
            left.retain(|connection| {
                let hit = found < *wanted && is(connection, history, evidence);
                found += usize::from(hit);
                !hit
            });
            if found < *wanted {
                problems.push(format!("{found} instead of {wanted} connections are [{history}]"));
            }
        }
        for connection in left {
            let history = text(connection);
            problems.push(format!("{} is [{history}], which was not expected", connection.client));
        }
        problems
    }
}

impl Scenario {
    /// How far what was seen is from what must come out: one sentence per difference, empty if the
    /// scenario holds.
    pub fn differences(&self, connections: &[&Connection], evidence: &Evidence<'_>) -> Vec<String> {
        let applicable = self.alternatives.iter().filter(|a| a.applies(evidence.limit));
        let nearest = applicable
            .map(|a| a.differences(connections, evidence))
            .min_by_key(Vec::len)
            .unwrap_or_default();
        let counters = self.counters.iter().filter_map(|(name, expected)| {
            // A kernel without the counter cannot contradict.
            let seen = *evidence.counters.get(*name)?;
            (seen != *expected).then(|| format!("{name} rose by {seen} instead of {expected}"))
        });
        nearest.into_iter().chain(counters).collect()
    }
}

/// The stages of a connection as in an [`Alternative`].
pub fn text(connection: &Connection) -> String {
    let words: Vec<String> = connection
        .stages
        .iter()
        .map(|stage| match stage.repeats_ns.len() {
            0 => stage.id.to_string(),
            again => format!("{}*{}", stage.id, again + 1),
        })
        .collect();
    words.join(" ")
}

fn steps(history: &str) -> impl Iterator<Item = (&str, Option<usize>)> {
    history.split_whitespace().map(|word| match word.split_once('*') {
        Some((id, times)) => (id, times.parse().ok()),
        None => (word, None),
    })
}

fn is(connection: &Connection, history: &str, evidence: &Evidence<'_>) -> bool {
    if !evidence.traced {
        return fits(connection, history);
    }
    let visible = |id: VerdictId| !evidence.blind_to.contains(&id);
    let mut stages = connection.stages.iter().filter(|s| visible(s.id));
    let mut wanted = steps(history).filter(|(id, _)| VerdictId::parse(id).is_none_or(visible));
    loop {
        match (stages.next(), wanted.next()) {
            (None, None) => return true,
            (Some(stage), Some((id, times))) => {
                let same = stage.id.as_str() == id || (evidence.coarse && covers(stage.id, id));
                if !same || times.is_some_and(|n| stage.repeats_ns.len() + 1 != n) {
                    return false;
                }
            }
            _ => return false,
        }
    }
}

/// Whether what was inferred of a connection, if anything was, is the verdict of this history.
fn fits(connection: &Connection, history: &str) -> bool {
    let Some(handshake) = connection.handshake() else { return true };
    let stage = |(id, _): (&str, _)| Stage {
        id: VerdictId::parse(id).unwrap_or_else(|| panic!("{id} is not a verdict")),
        t_ns: 0,
        known: Known::Traced,
        path: &[],
        values: Values::default(),
        repeats_ns: Vec::new(),
    };
    let expected =
        Connection { stages: steps(history).map(stage).collect(), ..Connection::default() };
    expected.handshake().is_some_and(|stage| stage.id == handshake.id)
}

/// Whether `seen` is the rest of the family that `id` is one of: `ack.drop.other` for any
/// `ack.drop.*`. A late segment's RST is `ack.reset.other` where the request's end was not seen.
fn covers(seen: VerdictId, id: &str) -> bool {
    if seen == VerdictId::AckResetOther && id == VerdictId::LaterResetNoSocket.as_str() {
        return true;
    }
    let family = seen.as_str().strip_suffix(".other");
    family.is_some_and(|family| VerdictId::parse(id).is_some_and(|id| id.is_under(family)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(history: &str) -> Connection {
        let stage = |(id, times): (&str, Option<usize>)| Stage {
            id: VerdictId::parse(id).unwrap(),
            t_ns: 0,
            known: Known::Traced,
            path: &[],
            values: Values::default(),
            repeats_ns: vec![0; times.unwrap_or(1) - 1],
        };
        Connection {
            client: ([10, 7, 0, 2], 30001).into(),
            server: ([10, 7, 0, 1], 12345).into(),
            stages: steps(history).map(stage).collect(),
            ..Connection::default()
        }
    }

    const EXPECTED: Alternative = Alternative {
        when: When::Always,
        histories: &[
            (1, "syn.queued ack.accepted"),
            (1, "syn.queued ack.drop.paws later.accepted_by_app"),
        ],
    };

    fn check(seen: [&str; 2], blind_to: &[VerdictId], coarse: bool, expect: &str) {
        let seen = seen.map(connection);
        let seen: Vec<_> = seen.iter().collect();
        let counters = BTreeMap::new();
        let evidence =
            Evidence { limit: None, blind_to, traced: true, coarse, counters: &counters };
        assert_eq!(EXPECTED.differences(&seen, &evidence).join("; "), expect);
    }

    #[test]
    fn order_of_connections_does_not_matter_but_histories_do() {
        let (a, b) =
            ("syn.queued ack.accepted", "syn.queued ack.drop.paws*3 later.accepted_by_app");
        check([b, a], &[], false, "");
        check(
            [a, a],
            &[],
            false,
            "0 instead of 1 connections are [syn.queued ack.drop.paws later.accepted_by_app]; \
             10.7.0.2:30001 is [syn.queued ack.accepted], which was not expected",
        );
    }

    #[test]
    fn what_cannot_be_seen_is_not_missed() {
        let seen = ["syn.queued ack.accepted", "syn.queued ack.drop.paws"];
        check(seen, &[VerdictId::LaterAcceptedByApp], false, "");
        let late: Vec<_> = VerdictId::under("syn").chain(VerdictId::under("later")).collect();
        check(seen.map(|s| s.strip_prefix("syn.queued ").unwrap()), &late, false, "");
    }

    #[test]
    fn tracepoints_may_say_other_within_the_family() {
        let seen = |id| ["syn.queued ack.accepted", id];
        let other = seen("syn.queued ack.drop.other later.accepted_by_app");
        check(other, &[], true, "");
        let expect = "0 instead of 1 connections are [syn.queued ack.drop.paws \
                      later.accepted_by_app]; 10.7.0.2:30001 is [syn.queued ack.drop.other \
                      later.accepted_by_app], which was not expected";
        check(other, &[], false, expect);
        let reset = seen("syn.queued ack.reset.other later.accepted_by_app");
        check(reset, &[], true, &expect.replace("ack.drop.other", "ack.reset.other"));
    }

    #[test]
    fn a_count_behind_a_stage_is_exact() {
        let counters = BTreeMap::new();
        let evidence = Evidence {
            limit: None,
            blind_to: &[],
            traced: true,
            coarse: false,
            counters: &counters,
        };
        let twice = connection("syn.queued ack.drop.overflow*2");
        assert!(is(&twice, "syn.queued ack.drop.overflow*2", &evidence));
        assert!(is(&twice, "syn.queued ack.drop.overflow", &evidence));
        assert!(!is(&twice, "syn.queued ack.drop.overflow*3", &evidence));
    }

    #[test]
    fn without_a_tracer_what_is_said_must_be_right_and_need_not_be_all() {
        let check = |seen: [&str; 2]| {
            let seen = seen.map(connection);
            let seen: Vec<_> = seen.iter().collect();
            let counters = BTreeMap::new();
            let evidence = Evidence {
                limit: None,
                blind_to: VerdictId::ALL,
                traced: false,
                coarse: true,
                counters: &counters,
            };
            EXPECTED.differences(&seen, &evidence).len()
        };
        // The first is taken for the second, of which nothing is known, only if nothing else fits.
        assert_eq!(check(["later.listener_closed", "syn.queued ack.accepted"]), 0);
        assert_eq!(check(["syn.queued ack.drop.paws", "ack.accepted"]), 0);
        assert_eq!(check(["syn.queued ack.drop.overflow", "ack.accepted"]), 2);
        assert_eq!(check(["ack.accepted", "ack.accepted"]), 2);
    }
}
