//! The audit: what was told against what the kernel counted, per network namespace and counter.
//!
//! The kernel's counters are a witness that owes nothing to the hooks. What they rose by while the
//! trace was at work is either told (verdicts), or left out on purpose, or lost, or outside of what
//! this trace watches; what remains is `unaccounted`: an event that was missed, or told and did not
//! happen.
//!
//! A [`Look`] is one reading of all namespaces' counters. Counting and reading are not one act, so
//! looks come in pairs: just before and just after the hooks begin to judge, and likewise at the
//! end. A rise is a range, and so is what was told; nothing is unaccounted where both can be equal.

mod balance;
mod counts;
mod gaps;
mod left_out;
mod lost;
mod ranges;
mod rise;
#[cfg(test)]
mod tests;
mod told;

use std::collections::BTreeMap;

use overflow_common::LeftOut;
use serde::{Deserialize, Serialize};

use crate::{
    aggregates::Aggregates,
    decode::{Decoder, Event},
    hook_point::HookPoint,
    loss::Loss,
    syn_limit::SynQueueLimit,
    verdict::{Counter, VerdictId},
};
pub use balance::{Balance, NamespaceAudit, unaccounted};
pub use counts::Place;
pub use gaps::Watched;
pub use ranges::{Ranges, Readings, Values};

use balance::{Budget, Sides};
use counts::Counts;
use ranges::Range;
use rise::Rise;

/// When a look was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cut {
    /// Just before the hooks begin to judge.
    Arming,
    /// Just after.
    Armed,
    /// While they are at work.
    Running,
    /// Just before they cease to.
    Disarming,
    /// Just after.
    Disarmed,
}

/// All namespaces' counters at one time, with what the kernel side had left out by then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// CLOCK_MONOTONIC nanoseconds when it was over.
    pub t_ns: u64,
    /// Where in the trace.
    pub cut: Cut,
    /// What this trace watches; the same in all looks.
    pub watched: Watched,
    /// The counters.
    pub seen: Readings,
    /// (inode number of the namespace, number of the [`LeftOut`], how many so far).
    #[serde(default)]
    pub left_out: Vec<(u32, u32, u64)>,
}

/// What is known of one namespace.
#[derive(Debug, Default)]
struct Account {
    rise: Option<Rise>,
    /// What records told, and what the kernel side counted by verdict.
    told: Ranges,
    told_by_kernel: Ranges,
    /// What came here and was then left out, likewise.
    dropped: Ranges,
    dropped_by_kernel: Ranges,
    /// What the kernel side left out.
    left_out: BTreeMap<LeftOut, u64>,
    /// The result of the last look at it, and before what lasts is told from what was on its way.
    audit: Option<NamespaceAudit>,
    raw: BTreeMap<Counter, i64>,
}

/// Keeps the accounts of all namespaces.
#[derive(Debug, Default)]
pub struct Auditor {
    rungs: BTreeMap<HookPoint, Option<overflow_common::Rung>>,
    only: Vec<u32>,
    accounts: BTreeMap<u32, Account>,
    /// What the kernel counts of SYNs and third ACKs, if it does.
    counts: Option<Counts>,
}

impl Auditor {
    /// An auditor of a trace with these rungs, as (hook point, rung) by name, and of these network
    /// namespaces, or of all if none is named.
    pub fn new(rungs: &[(String, String)], only: &[u32]) -> Self {
        let point = |name: &str| HookPoint::ALL.iter().find(|h| h.as_str() == name).copied();
        let rung = |name: &str| {
            overflow_common::Rung::ALL.iter().find(|rung| rung.as_str() == name).copied()
        };
        let rungs = rungs.iter().filter_map(|(h, r)| Some((point(h)?, rung(r))));
        Self { rungs: rungs.collect(), only: only.to_vec(), ..Self::default() }
    }

    /// An event was judged as `id`; each event is to be told once. `meant`: it is to be reported.
    pub fn tell(&mut self, event: &Event, id: VerdictId, meant: bool) {
        let account = self.accounts.entry(event.conn.netns).or_default();
        let sum = if meant { &mut account.told } else { &mut account.dropped };
        told::add(sum, event, id, 1);
    }

    /// A third ACK that is not to be reported was dropped or answered by RST, and nothing shows for
    /// which reason.
    pub fn tell_unknown(&mut self, netns: u32) {
        let account = self.accounts.entry(netns).or_default();
        for counter in [Counter::ListenOverflows, Counter::ListenDrops, Counter::EmbryonicRsts] {
            account.dropped.add(counter, Range { least: 0, most: 1 });
        }
    }

    /// What the kernel side has counted by verdict so far, in place of what it had before. `meant`
    /// says of a listener whether it is to be reported.
    pub fn tell_counts(
        &mut self,
        aggregates: &Aggregates,
        decoder: &mut Decoder,
        limit: Option<SynQueueLimit>,
        mut meant: impl FnMut(&Place) -> bool,
    ) {
        for account in self.accounts.values_mut() {
            (account.told_by_kernel, account.dropped_by_kernel) = Default::default();
        }
        let Self { accounts, counts, .. } = self;
        let counts = counts.get_or_insert_default();
        counts.take(aggregates, decoder, limit, |place, ranges, gone| {
            let account = accounts.entry(place.netns).or_default();
            let sum = match (meant(&place), gone) {
                (true, false) => &mut account.told_by_kernel,
                (true, true) => &mut account.told,
                (false, false) => &mut account.dropped_by_kernel,
                (false, true) => &mut account.dropped,
            };
            sum.append(ranges);
        });
    }

    /// Compares, now that everything up to this look was told.
    pub fn look(&mut self, look: &Look, losses: &[(Loss, u64)]) {
        let meant = |netns: &u32| self.only.is_empty() || self.only.contains(netns);
        for (netns, values) in look.seen.namespaces.iter().filter(|(netns, _)| meant(netns)) {
            let account = self.accounts.entry(*netns).or_default();
            let late = account.rise.is_none() && look.seen.hidden.contains(netns);
            if late && !matches!(look.cut, Cut::Arming | Cut::Armed) {
                // What it counted, and what was told of it, before it was seen: nobody can compare.
                account.forget();
                account.rise = Some(Rise::from_here(values));
            } else {
                let segments = look.seen.segments.get(netns).copied();
                let rise = account.rise.get_or_insert_with(|| Rise::new(look.cut));
                rise.take(look.cut, values, segments);
            }
        }
        for (netns, what, count) in &look.left_out {
            if let Some(kind) = LeftOut::from_u32(*what) {
                let account = self.accounts.entry(*netns).or_default();
                account.left_out.insert(kind, *count);
            }
        }
        if matches!(look.cut, Cut::Running | Cut::Disarmed) {
            self.compare(look, losses);
        }
    }

    fn compare(&mut self, look: &Look, losses: &[(Loss, u64)]) {
        let last = look.cut == Cut::Disarmed;
        let by_records = self.counts.is_none() || self.by_tracepoints(HookPoint::ThirdAck);
        let mut budget = Budget::new(lost::explaining(losses, by_records));
        let Self { accounts, rungs, .. } = self;
        for (netns, account) in accounts {
            // Of one that is gone the last audit stays.
            if !look.seen.namespaces.contains_key(netns) {
                if last && account.audit.is_none() {
                    account.audit = account.unread(*netns);
                }
                continue;
            }
            let Some(rise) = &account.rise else { continue };
            let mut balances: Vec<Balance> = Vec::new();
            let mut owed = 0;
            for counter in Counter::AUDITED.iter().copied() {
                let Some((least, most)) = rise.of(counter, last) else { continue };
                let sides = Sides {
                    counter,
                    least,
                    most,
                    told: account.told.of(counter).plus(account.told_by_kernel.of(counter)),
                    dropped: account
                        .dropped
                        .of(counter)
                        .plus(account.dropped_by_kernel.of(counter)),
                    left_out: &account.left_out,
                    gaps: gaps::gaps(counter, look.watched, rungs),
                    rise,
                    owed: if counter == Counter::ListenDrops { owed } else { 0 },
                };
                let mut balance = balance::balance(&sides, &mut budget);
                if matches!(counter, Counter::ListenOverflows | Counter::ReqQFullDrop) {
                    owed += balance.unaccounted.max(0).unsigned_abs();
                }
                let before = account.raw.insert(counter, balance.unaccounted);
                if !last {
                    balance.keep_what_lasts(before.unwrap_or(0));
                }
                balances.push(balance);
            }
            account.audit =
                Some(NamespaceAudit { netns: *netns, appeared: rise.appeared(), balances });
        }
    }

    fn by_tracepoints(&self, point: HookPoint) -> bool {
        self.rungs.get(&point) == Some(&Some(overflow_common::Rung::Tracepoint))
    }

    /// The audits as of the last look; `None` where counters were never compared.
    pub fn audits(&self) -> Option<Vec<NamespaceAudit>> {
        let audits = || self.accounts.values().filter_map(|account| account.audit.clone());
        audits().next().map(|_| audits().collect())
    }
}

impl Account {
    /// Of a namespace that was gone before its counters could be read: what was told there, if
    /// anything was.
    fn unread(&self, netns: u32) -> Option<NamespaceAudit> {
        let balance = |counter: Counter| {
            let told = self.told.of(counter).plus(self.told_by_kernel.of(counter)).least;
            let why = "the namespace was gone before its counters were read: what was told stands \
                       for what they rose by";
            (told > 0).then(|| Balance {
                counter,
                rose: told,
                told,
                left_out: 0,
                lost: 0,
                unwatched: 0,
                unaccounted: 0,
                why: vec![why.to_owned()],
            })
        };
        let balances: Vec<_> = Counter::AUDITED.iter().filter_map(|c| balance(*c)).collect();
        (!balances.is_empty()).then_some(NamespaceAudit { netns, appeared: true, balances })
    }

    fn forget(&mut self) {
        *self = Self::default();
    }
}
