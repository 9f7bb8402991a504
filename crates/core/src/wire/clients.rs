//! `clients` of `listener` and `summary`: whom a listener hurt, and how.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Serialize};

use super::Counts;
use crate::clients::{DELAY_BOUNDS_S, HurtClients};

/// Clients that were hurt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clients<'a> {
    /// How many: over all the time every one, in an interval those that were refused for the first
    /// time.
    pub hurt: u64,
    /// What became of them; absent in an interval.
    #[serde(flatten)]
    pub harm: Option<Harm<'a>>,
}

/// What became of clients that were hurt: each is in one of these classes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Harm<'a> {
    /// Refused at first, in the accept queue later.
    pub delayed: u64,
    /// Those by how long: upper bound in seconds to number; `inf` has no bound. Each is no less than
    /// the bound before it: 1, 3, 7, 15, 31, 63.
    pub delayed_below_s: Counts<'a>,
    /// The longest delay, nanoseconds.
    pub longest_delay_ns: u64,
    /// None of their SYNs was taken, and no more came.
    pub never_served: u64,
    /// Closed or reset by the client, which believed in a connection that the server did not have.
    pub gave_up: u64,
    /// Reset by the server.
    pub reset: u64,
    /// Connected as the client believes; the server has nothing.
    pub phantom: u64,
    /// Still being tried at the end.
    pub waiting: u64,
    /// The first refusal, CLOCK_MONOTONIC nanoseconds; absent where nobody was hurt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_ns: Option<u64>,
    /// The last moment that anybody was refused, or was still waiting for what came then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_ns: Option<u64>,
}

impl Clients<'_> {
    /// Over all the time.
    pub fn of(clients: &HurtClients) -> Self {
        let bound = |i: usize| {
            DELAY_BOUNDS_S.get(i).map_or(Cow::Borrowed("inf"), |s| Cow::Owned(s.to_string()))
        };
        let delayed = clients.delayed.iter().enumerate().filter(|(_, n)| **n > 0);
        Self {
            hurt: clients.total(),
            harm: Some(Harm {
                delayed: clients.delayed(),
                delayed_below_s: delayed.map(|(i, n)| (bound(i), *n)).collect::<BTreeMap<_, _>>(),
                longest_delay_ns: clients.longest_delay_ns,
                never_served: clients.never_served,
                gave_up: clients.gave_up,
                reset: clients.reset,
                phantom: clients.phantom,
                waiting: clients.waiting,
                first_ns: clients.period_ns.map(|(first, _)| first),
                last_ns: clients.period_ns.map(|(_, last)| last),
            }),
        }
    }

    /// In an interval.
    pub fn begun(hurt: u64) -> Self {
        Self { hurt, harm: None }
    }
}
