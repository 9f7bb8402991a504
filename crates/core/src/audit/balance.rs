//! One counter of one namespace: what it rose by, split into what is known of it.

use std::collections::BTreeMap;

use overflow_common::LeftOut;

use super::{
    gaps::Gap,
    left_out::{self, NOT_ASKED_FOR},
    ranges::Range,
};
use crate::{loss::Loss, verdict::Counter};

/// A counter's rise and what accounts for it. The parts, `unaccounted` among them, add up to
/// `rose`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balance {
    /// Which.
    pub counter: Counter,
    /// What it rose by while the trace was at work: of all numbers that the looks allow, the one
    /// that leaves least unaccounted.
    pub rose: u64,
    /// What verdicts account for.
    pub told: u64,
    /// What was seen and left out on purpose.
    pub left_out: u64,
    /// What is missing and a loss can have hidden.
    pub lost: u64,
    /// What is missing and outside of what this trace watches.
    pub unwatched: u64,
    /// What is missing all the same; below 0, what was told and the kernel did not count.
    pub unaccounted: i64,
    /// What `left_out`, `lost` and `unwatched` consist of, each as a number and what it is.
    pub why: Vec<String>,
}

/// What was found in one namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceAudit {
    /// Inode number of the namespace.
    pub netns: u32,
    /// Whether it was made after the trace began.
    pub appeared: bool,
    /// Whether its counters could not be read then, because it was gone, nothing led to it any more, or
    /// nobody could look: they stand as hooks have read them, or as was told.
    pub unread: bool,
    /// Each audited counter that its kernel has.
    pub balances: Vec<Balance>,
}

/// How much is unaccounted in all of them together, missing and told too much alike.
pub fn unaccounted(audits: &[NamespaceAudit]) -> u64 {
    let all = audits.iter().flat_map(|audit| &audit.balances);
    all.fold(0, |sum, balance| sum.saturating_add(balance.unaccounted.unsigned_abs()))
}

/// Losses that are left to explain with, for each counter: one loss can hide one of each.
pub(super) struct Budget {
    losses: Vec<(Loss, u64)>,
    left: BTreeMap<Counter, Vec<u64>>,
}

/// All that is known of one counter.
pub(super) struct Sides<'a> {
    pub(super) counter: Counter,
    pub(super) least: u64,
    pub(super) most: Option<u64>,
    pub(super) told: Range,
    /// What came and was then left out.
    pub(super) dropped: Range,
    pub(super) left_out: &'a BTreeMap<LeftOut, u64>,
    pub(super) gaps: Vec<Gap>,
    /// How far another counter rose at least.
    pub(super) bound: &'a dyn Fn(Counter) -> u64,
    /// So much of it has no excuse, because it is missing of another counter as well.
    pub(super) owed: u64,
}

/// Splits a rise.
pub(super) fn balance(sides: &Sides<'_>, budget: &mut Budget) -> Balance {
    let counter = sides.counter;
    let mut kinds: Vec<(&str, Range)> = vec![(NOT_ASKED_FOR, sides.dropped)];
    for (kind, count) in sides.left_out {
        kinds.push((left_out::why(*kind), left_out::range(*kind, *count, counter)));
    }
    let left_out = kinds.iter().fold(Range::default(), |sum, (_, range)| sum.plus(*range));
    let known = sides.told.plus(left_out);
    let rose = match sides.most {
        Some(most) => known.least.clamp(sides.least, most.max(sides.least)),
        // Events go on: what was told meanwhile was counted meanwhile.
        None => known.least.max(sides.least),
    };
    // Where it is not known which it was, it was told.
    let told = rose.saturating_sub(left_out.least).clamp(sides.told.least, sides.told.most);
    let left = rose.saturating_sub(told).clamp(left_out.least, left_out.most);
    let accounted = told.saturating_add(left);
    let mut balance = Balance {
        counter,
        rose,
        told,
        left_out: left,
        lost: 0,
        unwatched: 0,
        unaccounted: 0,
        why: Vec::new(),
    };
    balance.explain_left_out(&kinds, left);
    let mut missing = rose.saturating_sub(accounted);
    balance.lost = budget.spend(counter, missing, &mut balance.why);
    missing -= balance.lost;
    let owed = sides.owed.min(missing);
    missing -= owed;
    for gap in &sides.gaps {
        let part = gap.at_most.map_or(missing, |other| missing.min((sides.bound)(other)));
        if part > 0 {
            // Where nothing bounds it, all that it can be is said together.
            let others = sides.gaps.iter().filter(|g| gap.at_most.is_none() && g.at_most.is_none());
            let whys: Vec<&str> = match gap.at_most {
                Some(_) => vec![&gap.why],
                None => others.map(|g| g.why.as_str()).collect(),
            };
            balance.why.push(format!("{part} {}", whys.join(", or ")));
            balance.unwatched += part;
            missing -= part;
        }
    }
    let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    balance.unaccounted = signed(missing + owed) - signed(accounted.saturating_sub(rose));
    balance
}

impl Balance {
    fn explain_left_out(&mut self, kinds: &[(&str, Range)], mut left: u64) {
        let mut parts: Vec<(&str, u64)> = Vec::new();
        let certain = kinds.iter().map(|(why, range)| (*why, range.least));
        let perhaps = kinds.iter().map(|(why, range)| (*why, range.most - range.least));
        for (why, most) in certain.chain(perhaps) {
            let part = left.min(most);
            left -= part;
            match parts.iter_mut().find(|(known, _)| *known == why) {
                Some((_, sum)) => *sum += part,
                None => parts.push((why, part)),
            }
        }
        let parts = parts.into_iter().filter(|(_, n)| *n > 0);
        self.why.extend(parts.map(|(why, n)| format!("{n} {why}")));
    }

    /// Leaves of what is unaccounted only what was so at the last look too, `before`: an event can
    /// be counted and its record be under way. The rest of the rise is left for the next look.
    pub(super) fn keep_what_lasts(&mut self, before: i64) {
        let lasting = self.unaccounted.min(before).max(0);
        let on_its_way = self.unaccounted - lasting;
        self.unaccounted = lasting;
        self.rose = self.rose.saturating_sub(on_its_way.max(0).unsigned_abs());
    }

    /// Whether there is nothing to say of it.
    pub fn is_quiet(&self) -> bool {
        self.rose == 0 && self.told == 0 && self.left_out == 0 && self.unaccounted == 0
    }

    /// What accounts for it besides what was told.
    pub fn explained(&self) -> u64 {
        self.left_out.saturating_add(self.lost).saturating_add(self.unwatched)
    }
}

impl NamespaceAudit {
    /// How much of it is unaccounted, missing and told too much alike.
    pub fn unaccounted(&self) -> u64 {
        unaccounted(std::slice::from_ref(self))
    }
}

impl Budget {
    pub(super) fn new(losses: Vec<(Loss, u64)>) -> Self {
        Self { losses, left: BTreeMap::new() }
    }

    /// Explains as much of `missing` as losses can, and says by which.
    fn spend(&mut self, counter: Counter, missing: u64, why: &mut Vec<String>) -> u64 {
        let full = || self.losses.iter().map(|(_, n)| *n).collect();
        let left = self.left.entry(counter).or_insert_with(full);
        let mut spent = 0;
        for ((loss, _), left) in self.losses.iter().zip(left) {
            let part = (missing - spent).min(*left);
            if part > 0 {
                *left -= part;
                spent += part;
                why.push(format!("{part} lost: {}", loss.id()));
            }
        }
        spent
    }
}
