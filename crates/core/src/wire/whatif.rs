//! A `whatif` line: what a setting would have meant for a recording's clients.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Serialize};

use super::Counts;
use crate::text::duration::period;
use crate::whatif::{
    advise::Advice,
    fate::{DELAY_BOUNDS_S, Tally},
    replay::Bounds,
    setting::Setting,
};

/// One address with one setting; the first line of each has what was recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whatif<'a> {
    /// Format version.
    pub v: u32,
    /// Inode number of the listener's network namespace.
    pub netns: u32,
    /// Where it listens.
    pub listener: Cow<'a, str>,
    /// Who holds it, in short; `null` where nobody is known.
    pub owner: Option<Cow<'a, str>>,
    /// What differs from the recording; empty on the first line.
    pub setting: Asked<'a>,
    /// With which settings it was recorded, as far as one number says it; on the first line alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded_setting: Option<Asked<'a>>,
    /// What was recorded; on the first line alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded: Option<Clients<'a>>,
    /// If the application had gone on at the pace that it showed while it was busy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_pace: Option<Clients<'a>>,
    /// The same, held up after so many connections instead of at its time, or the other way round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otherwise: Option<Clients<'a>>,
    /// If it had taken no more by any time than it was seen to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_seen: Option<Clients<'a>>,
    /// If it had taken everything as early as the records allow; absent where `accept()` was traced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early: Option<Clients<'a>>,
    /// As `at_pace`, each time with other small differences, as two runs of one load have them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shaken: Vec<Clients<'a>>,
    /// The least that each number can be: what is stated as its lower bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least: Option<Clients<'a>>,
    /// The most that each number can be: what is stated as its upper bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most: Option<Clients<'a>>,
    /// With `--advise`, on a line of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<Advised>,
    /// What the answer rests on, as sentences; on the first line alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assumed: Vec<Cow<'a, str>>,
}

/// A setting; what is absent is as recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked<'a> {
    /// The backlog argument of listen(2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backlog: Option<u32>,
    /// net.core.somaxconn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub somaxconn: Option<u32>,
    /// net.ipv4.tcp_max_syn_backlog.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_syn_backlog: Option<u32>,
    /// net.ipv4.tcp_syncookies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub syncookies: Option<u8>,
    /// net.ipv4.tcp_abort_on_overflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abort_on_overflow: Option<u8>,
    /// The kernel's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<Cow<'a, str>>,
    /// Nanoseconds for each connection that is accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept_every_ns: Option<u64>,
    /// Sockets of the `SO_REUSEPORT` group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<u32>,
}

/// What became of the clients.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clients<'a> {
    /// All of them.
    pub clients: u64,
    /// Reset because the queue was full.
    pub reset: u64,
    /// Refused at first, in the accept queue later.
    pub delayed: u64,
    /// Those by how long: upper bound in seconds to number; `inf` has no bound. Each is no less than
    /// the bound before it: 1, 3, 7.
    pub delayed_below_s: Counts<'a>,
    /// Not in the accept queue when the recording ended.
    pub not_in: u64,
    /// Waited for longer than `--timeout`.
    pub gave_up: u64,
    /// From a client's first SYN to its `accept()`, or to the end, nanoseconds; absent where it is not
    /// known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longest_wait_ns: Option<u64>,
    /// Most connections in one accept queue at a time; absent where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deepest: Option<u32>,
}

/// The smallest change that hurts nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advised {
    /// The smallest backlog at the application's pace; `null` where none suffices.
    pub backlog: Option<u32>,
    /// The longest wait with it, nanoseconds.
    pub longest_wait_ns: Option<u64>,
    /// The smallest backlog if the application takes no more than it was seen to.
    pub certain_backlog: Option<u32>,
    /// At the recorded backlog, in how many nanoseconds it has to take each, evenly; `null` where no
    /// rate suffices.
    pub accept_every_ns: Option<u64>,
    /// In how many it took each while something waited; `null` where nothing shows it.
    pub accepted_every_ns: Option<u64>,
    /// In how many a client came, on average; `null` for a single one.
    pub arrived_every_ns: Option<u64>,
}

impl<'a> Asked<'a> {
    /// Of a setting.
    pub fn of(setting: &'a Setting) -> Self {
        Self {
            backlog: setting.backlog,
            somaxconn: setting.somaxconn,
            max_syn_backlog: setting.syn_backlog,
            syncookies: setting.syncookies,
            abort_on_overflow: setting.abort,
            kernel: setting.kernel.as_ref().map(|(name, _)| name.as_str().into()),
            accept_every_ns: setting.accept_rate.and_then(every_ns),
            members: setting.members,
        }
    }
}

impl Asked<'_> {
    /// Its numbers in words; of one that differs in nothing from the recording, that it does not.
    pub fn in_words(&self) -> String {
        let Self {
            backlog,
            somaxconn,
            max_syn_backlog,
            syncookies,
            abort_on_overflow,
            kernel,
            accept_every_ns,
            members,
        } = self;
        let number = |name: &str, n: Option<u32>| n.map(|n| format!("{name} {n}"));
        let words = [
            kernel.as_ref().map(|kernel| format!("kernel {kernel}")),
            number("members", *members),
            accept_every_ns.map(|ns| format!("one accepted each {}", period(ns))),
            number("somaxconn", *somaxconn),
            number("tcp_max_syn_backlog", *max_syn_backlog),
            number("tcp_syncookies", syncookies.map(u32::from)),
            number("tcp_abort_on_overflow", abort_on_overflow.map(u32::from)),
            number("backlog", *backlog),
        ];
        let words: Vec<String> = words.into_iter().flatten().collect();
        if words.is_empty() { "the same, by the model".to_owned() } else { words.join(", ") }
    }
}

impl Clients<'_> {
    /// Of a tally.
    pub fn of(tally: &Tally) -> Self {
        let bound = |i: usize| {
            DELAY_BOUNDS_S.get(i).map_or(Cow::Borrowed("inf"), |s| Cow::Owned(s.to_string()))
        };
        let delayed = tally.delayed.iter().enumerate().filter(|(_, n)| **n > 0);
        Self {
            clients: tally.clients,
            reset: tally.reset,
            delayed: tally.delayed(),
            delayed_below_s: delayed.map(|(i, n)| (bound(i), *n)).collect::<BTreeMap<_, _>>(),
            not_in: tally.not_in,
            gave_up: tally.gave_up,
            longest_wait_ns: tally.longest_wait_ns,
            deepest: tally.deepest,
        }
    }
}

impl Whatif<'_> {
    /// With the answer; `traced`: whether `accept()` was.
    #[must_use]
    pub fn answered(self, bounds: &Bounds, traced: bool) -> Self {
        let (least, most) = bounds.ranges();
        let (least_delayed, most_delayed) = bounds.range(Tally::delayed);
        Self {
            least: Some(Clients { delayed: least_delayed, ..Clients::of(&least) }),
            most: Some(Clients { delayed: most_delayed, ..Clients::of(&most) }),
            at_pace: Some(Clients::of(&bounds.at_pace)),
            otherwise: Some(Clients::of(&bounds.otherwise)),
            as_seen: Some(Clients::of(&bounds.as_seen)),
            shaken: bounds.shaken.iter().map(Clients::of).collect(),
            early: (!traced).then(|| Clients::of(&bounds.early)),
            ..self
        }
    }
}

/// Of so many a second.
fn every_ns(rate: f64) -> Option<u64> {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // whole nanoseconds
    (rate > 0.0).then(|| (1e9 / rate) as u64)
}

impl From<&Advice> for Advised {
    fn from(advice: &Advice) -> Self {
        Self {
            backlog: advice.backlog.map(|(backlog, _)| backlog),
            longest_wait_ns: advice.backlog.and_then(|(_, b)| b.at_pace.longest_wait_ns),
            certain_backlog: advice.certain,
            accept_every_ns: advice.accept_rate.and_then(every_ns),
            accepted_every_ns: advice.seen_rate.and_then(every_ns),
            arrived_every_ns: every_ns(advice.arrival_rate),
        }
    }
}
