//! A place where something happened to clients: a listener, a cell of the lab, a predicted cell.

use std::collections::BTreeMap;

use overflow_core::{
    text::values,
    verdict::{Values, VerdictId},
};

use crate::{
    fate::Fates,
    step::Step,
    story::{Stories, Story, Told},
    timeline::{Reading, Timeline},
};

/// A name and its value, for a reader.
pub(crate) type Fact = (String, String);

/// What is known of one place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scene {
    /// Its name.
    pub(crate) title: String,
    /// What it is, in a few facts.
    pub(crate) facts: Vec<Fact>,
    /// Who holds it.
    pub(crate) owner: Option<String>,
    /// Its clients.
    pub(crate) fates: Fates,
    /// What happened to them.
    pub(crate) stories: Stories,
    /// Its queues.
    pub(crate) timeline: Timeline,
    /// Segments that were refused, by verdict: how many, and the comparison that decided the first.
    pub(crate) refusals: BTreeMap<VerdictId, (u64, String)>,
    /// Why its queue was full.
    pub(crate) causes: Vec<Cause>,
    /// Looks for causes that found no room.
    pub(crate) more_causes: u64,
    /// Sysctls of its namespace.
    pub(crate) sysctls: BTreeMap<String, u64>,
    /// What the namespace's counters rose by.
    pub(crate) counters: BTreeMap<String, u64>,
    /// What a reader must know of it.
    pub(crate) notes: Vec<String>,
    /// Where two kernels part: their names, and the decision of each.
    pub(crate) parting: Option<Parting>,
}

/// Where two kernels decide differently.
#[derive(Clone, Debug)]
pub(crate) struct Parting {
    pub(crate) kernels: [String; 2],
    /// Which connection; nothing where they decide alike.
    pub(crate) connection: Option<String>,
    pub(crate) steps: [Option<Step>; 2],
}

/// Why a queue is full, by one look.
#[derive(Clone, Debug)]
pub(crate) struct Cause {
    pub(crate) t_ns: u64,
    pub(crate) queue: String,
    pub(crate) owner: Option<String>,
    pub(crate) found: Vec<Found>,
    /// Cause and why it is ruled out.
    pub(crate) ruled_out: Vec<Fact>,
    /// Cause and why it cannot be told.
    pub(crate) unknown: Vec<Fact>,
    pub(crate) unread: Vec<String>,
}

/// A cause that holds.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) id: &'static str,
    pub(crate) label: &'static str,
    pub(crate) evidence: Vec<String>,
    pub(crate) values: Vec<Fact>,
    pub(crate) advice: String,
}

impl Scene {
    /// Looks for causes that are kept.
    const CAUSES: usize = 12;

    /// Adds a connection.
    pub(crate) fn tell(&mut self, told: Told) {
        self.fates.add(told.fate);
        self.stories.add(told);
    }

    /// Adds what was read of the queues as something was decided, and whether that was a refusal.
    pub(crate) fn decided(&mut self, t_ns: u64, id: VerdictId, seen: &Values) {
        self.timeline.read(
            t_ns,
            Reading {
                accept: seen.sk_ack_backlog,
                limit: seen.sk_max_ack_backlog,
                syn: seen.syn_queue_len,
            },
        );
        if is_refusal(id) {
            self.timeline.refuse(t_ns, id);
            self.refused(id, values::comparison(id, seen));
        }
    }

    /// Counts a refusal, of which the time is not known or shown elsewhere.
    pub(crate) fn refused(&mut self, id: VerdictId, comparison: String) {
        let (n, first) = self.refusals.entry(id).or_default();
        *n += 1;
        if first.is_empty() {
            *first = comparison;
        }
    }

    /// Refusals by verdict, the most frequent first: verdict, how often, the comparison that decided.
    pub(crate) fn refusals(&self) -> Vec<(VerdictId, u64, &str)> {
        let each = self.refusals.iter();
        let mut all: Vec<_> = each.map(|(id, (n, first))| (*id, *n, first.as_str())).collect();
        all.sort_by_key(|(_, n, _)| std::cmp::Reverse(*n));
        all
    }

    /// Adds a look for causes.
    pub(crate) fn caused(&mut self, cause: Cause) {
        if self.causes.len() < Self::CAUSES {
            self.causes.push(cause);
        } else {
            self.more_causes += 1;
        }
    }

    /// Its stories, the worst first.
    pub(crate) fn stories(&self) -> Vec<&Story> {
        self.stories.each()
    }

    /// Whether anything is to be told of it.
    pub(crate) fn is_empty(&self) -> bool {
        self.fates.total() == 0
            && self.timeline.steps().next().is_none()
            && self.causes.is_empty()
            && self.parting.is_none()
    }
}

/// Whether it refuses a segment or its queue, as the chart marks it: a cookie is an answer, though
/// one that keeps no request.
pub(crate) fn is_refusal(id: VerdictId) -> bool {
    id.is_abnormal() && !id.is_later()
}
