//! `audit`: what the kernel's counters of a network namespace rose by, and what accounts for it.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Serialize};

use super::VERSION;
use crate::audit;

/// An `audit` line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit<'a> {
    /// Format version.
    pub v: u32,
    /// When the counters were read, CLOCK_MONOTONIC nanoseconds; absent over all the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub t_ns: Option<u64>,
    /// Inode number of the network namespace.
    pub netns: u32,
    /// Whether it was made after the trace began.
    pub appeared: bool,
    /// Whether its counters could not be read then: they stand as hooks have read them, or as was
    /// told. Absent if not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unread: bool,
    /// How much of all counters together is unaccounted, without signs.
    pub unaccounted: u64,
    /// Each audited counter that its kernel has, by its `nstat` name.
    pub counters: BTreeMap<Cow<'a, str>, AuditedCounter<'a>>,
}

/// One counter; the parts add up to `rose`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditedCounter<'a> {
    /// What it rose by.
    pub rose: u64,
    /// What verdicts account for.
    pub told: u64,
    /// Seen, and left out on purpose.
    pub left_out: u64,
    /// Missing, and a loss can have hidden it.
    pub lost: u64,
    /// Missing, and outside of what this trace watches.
    pub unwatched: u64,
    /// Missing all the same; below 0, told and not counted.
    pub unaccounted: i64,
    /// What `left_out`, `lost` and `unwatched` are, each as a number and what it is.
    pub why: Cow<'a, [String]>,
}

impl<'a> Audit<'a> {
    /// What was found in one namespace.
    pub fn of(found: &'a audit::NamespaceAudit, t_ns: Option<u64>) -> Self {
        let counter = |balance: &'a audit::Balance| AuditedCounter {
            rose: balance.rose,
            told: balance.told,
            left_out: balance.left_out,
            lost: balance.lost,
            unwatched: balance.unwatched,
            unaccounted: balance.unaccounted,
            why: (&*balance.why).into(),
        };
        let counters = found.balances.iter();
        Self {
            v: VERSION,
            t_ns,
            netns: found.netns,
            appeared: found.appeared,
            unread: found.unread,
            unaccounted: found.unaccounted(),
            counters: counters.map(|b| (b.counter.as_str().into(), counter(b))).collect(),
        }
    }
}
