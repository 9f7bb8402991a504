//! What became of a client, seen or predicted, and how many they are.

use super::recorded::Member;
use crate::{
    clients,
    model::{
        path::{ClientState, Path},
        time::Nanos,
    },
    verdict::{Class, Connection, VerdictId},
};

const SECOND: u64 = 1_000_000_000;
/// Delays that are told apart, seconds: where SYNs and SYN-ACKs are sent again when they back off.
pub const DELAY_BOUNDS_S: [u64; 3] = [1, 3, 7];

/// What became of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It got into the accept queue at once.
    AtOnce,
    /// It was refused at first, and got in so many nanoseconds later.
    Delayed(u64),
    /// It was reset because the queue was full.
    Reset,
    /// It had not got in when the recording ended.
    NotIn,
    /// It had waited for longer than its time-out.
    GaveUp,
}

/// How many clients met which fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// All of them.
    pub clients: u64,
    /// See [`Fate::Reset`].
    pub reset: u64,
    /// Delayed ones: below each of [`DELAY_BOUNDS_S`], and above the last.
    pub delayed: [u64; DELAY_BOUNDS_S.len() + 1],
    /// See [`Fate::NotIn`].
    pub not_in: u64,
    /// See [`Fate::GaveUp`].
    pub gave_up: u64,
    /// From a client's first SYN to its `accept()`, or to the end: the longest, nanoseconds; `None`
    /// where it is not known.
    pub longest_wait_ns: Option<u64>,
    /// Most connections in one accept queue at a time; `None` where it is not known.
    pub deepest: Option<u32>,
}

impl Tally {
    /// One more client.
    pub fn count(&mut self, fate: Fate) {
        self.clients += 1;
        let number = match fate {
            Fate::AtOnce => return,
            Fate::Delayed(ns) => {
                let below = DELAY_BOUNDS_S.iter().position(|s| ns < s * SECOND);
                &mut self.delayed[below.unwrap_or(DELAY_BOUNDS_S.len())]
            }
            Fate::Reset => &mut self.reset,
            Fate::NotIn => &mut self.not_in,
            Fate::GaveUp => &mut self.gave_up,
        };
        *number += 1;
    }

    /// Those that were delayed, however long.
    pub fn delayed(&self) -> u64 {
        self.delayed.iter().sum()
    }

    /// Those that were hurt in any way.
    pub fn hurt(&self) -> u64 {
        self.reset + self.delayed() + self.not_in + self.gave_up
    }

    /// What was recorded of these sockets.
    pub fn recorded(members: &[Member]) -> Self {
        let mut tally = Self::default();
        members.iter().flat_map(|m| &m.clients).for_each(|client| tally.count(client.fate));
        tally
    }

    /// By how much each number of clients differs.
    #[must_use]
    pub fn distance(&self, other: &Self) -> Self {
        let apart = |figure: fn(&Self) -> u64| figure(self).abs_diff(figure(other));
        Self {
            clients: apart(|t| t.clients),
            reset: apart(|t| t.reset),
            delayed: std::array::from_fn(|i| self.delayed[i].abs_diff(other.delayed[i])),
            not_in: apart(|t| t.not_in),
            gave_up: apart(|t| t.gave_up),
            longest_wait_ns: None,
            deepest: None,
        }
    }

    /// Another socket's too.
    pub fn add(&mut self, more: &Self) {
        let Self { clients, reset, delayed, not_in, gave_up, longest_wait_ns, deepest } = more;
        self.clients += clients;
        self.reset += reset;
        self.delayed.iter_mut().zip(delayed).for_each(|(sum, n)| *sum += n);
        self.not_in += not_in;
        self.gave_up += gave_up;
        self.longest_wait_ns = self.longest_wait_ns.max(*longest_wait_ns);
        self.deepest = self.deepest.max(*deepest);
    }
}

/// What became of a traced connection, and when its child was made.
///
/// That its listener was closed later is left out: a queue's length had no part in it.
pub fn of_connection(connection: &Connection) -> (Fate, Option<u64>) {
    let stages = &connection.stages;
    let child = stages.iter().find(|stage| stage.id.is_accepted()).map(|stage| stage.t_ns);
    let hurts = |id: VerdictId| clients::hurts(id) && !id.is_later();
    let refused = stages.iter().find(|stage| hurts(stage.id)).map(|stage| stage.t_ns);
    let was_reset = stages.iter().any(|s| hurts(s.id) && s.id.class() == Class::AckReset);
    let fate = match (refused, child) {
        (None, Some(_)) => Fate::AtOnce,
        (Some(since), Some(child)) if child < since => Fate::AtOnce,
        (Some(since), Some(child)) => Fate::Delayed(child - since),
        (Some(_), None) if was_reset => Fate::Reset,
        (_, None) => Fate::NotIn,
    };
    (fate, child)
}

/// What the model made of a client that came at `connect` and gives up after `patience`, by `until`.
pub(super) fn of_path(
    path: &Path,
    (connect, until): (Nanos, Nanos),
    patience: Option<Nanos>,
) -> Fate {
    let decisions = &path.decisions;
    let child = decisions.iter().find(|d| d.id.is_accepted()).map(|d| d.t_ns);
    let hurts = |id: VerdictId| clients::hurts(id) && !id.is_later();
    let refused = decisions.iter().find(|d| hurts(d.id)).map(|d| d.t_ns);
    // Whoever waits for an answer waits for accept(), too.
    let taken = decisions.iter().find(|d| d.id == VerdictId::LaterAcceptedByApp).map(|d| d.t_ns);
    let late = patience.is_some_and(|patience| taken.unwrap_or(until) - connect > patience);
    match (refused, child) {
        _ if late && path.client != ClientState::Reset => Fate::GaveUp,
        (Some(since), Some(child)) if child >= since => {
            Fate::Delayed(u64::try_from(child - since).unwrap_or(0))
        }
        (_, Some(_)) => Fate::AtOnce,
        _ if path.client == ClientState::Reset => Fate::Reset,
        _ if path.client == ClientState::Closed => Fate::GaveUp,
        _ => Fate::NotIn,
    }
}
