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
mod read;
mod rise;
#[cfg(test)]
mod tests;
mod told;

use std::collections::{BTreeMap, BTreeSet};

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
pub use read::Read;

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
    /// What the kernel side has read of the counters so far, since it judges.
    #[serde(default)]
    pub read: Vec<Read>,
    /// What they rose by since, where no hook has looked; `None` where that is not known.
    #[serde(default)]
    pub pending: Option<Vec<Read>>,
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
    /// What the kernel side left out, and had left out where the account begins.
    left_out: BTreeMap<LeftOut, u64>,
    left_out_before: BTreeMap<LeftOut, u64>,
    /// What it has read of the counters: all of it, and what it had read while the hooks were at work
    /// for certain.
    read: Option<Read>,
    read_at_work: Option<Read>,
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
    /// Whether counters were read before the hooks were at work, and of whom they could not be read:
    /// what is first read of others later was made meanwhile.
    began: bool,
    unreadable: BTreeSet<u32>,
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
        let left_out_so_far = |netns: u32| {
            let own = look.left_out.iter().filter(move |(of, ..)| *of == netns);
            own.filter_map(|(_, what, n)| Some((LeftOut::from_u32(*what)?, *n))).collect()
        };
        for (netns, values) in look.seen.namespaces.iter().filter(|(netns, _)| meant(netns)) {
            let account = self.accounts.entry(*netns).or_default();
            let old =
                !self.began || self.unreadable.contains(netns) || look.seen.hidden.contains(netns);
            let late = account.rise.is_none() && old;
            if late && !matches!(look.cut, Cut::Arming | Cut::Armed) {
                // What it counted, and what was told of it, before it was seen: nobody can compare.
                *account = Account {
                    rise: Some(Rise::from_here(values)),
                    left_out_before: left_out_so_far(*netns),
                    ..Account::default()
                };
            } else {
                let segments = look.seen.segments.get(netns).copied();
                let rise = account.rise.get_or_insert_with(|| Rise::new(look.cut));
                rise.take(look.cut, values, segments);
            }
        }
        self.began |= matches!(look.cut, Cut::Arming | Cut::Armed);
        self.unreadable.extend(&look.seen.unreadable);
        self.take_kernel_side(look);
        if matches!(look.cut, Cut::Running | Cut::Disarmed) {
            self.compare(look, losses);
        }
    }

    /// What the kernel side left out and has read. Numbers of a namespace go on where another has its
    /// number, and so does what is told.
    fn take_kernel_side(&mut self, look: &Look) {
        for account in self.accounts.values_mut() {
            account.left_out.clear();
            account.read = None;
        }
        for (netns, what, count) in &look.left_out {
            if let Some(kind) = LeftOut::from_u32(*what) {
                let account = self.accounts.entry(*netns).or_default();
                *account.left_out.entry(kind).or_default() += count;
            }
        }
        for read in &look.read {
            self.accounts.entry(read.netns).or_default().read = Some(*read);
        }
        if look.cut != Cut::Disarmed {
            self.accounts.values_mut().for_each(|account| account.read_at_work = account.read);
        }
        for pending in look.pending.iter().flatten() {
            // What nobody has heard of is no namespace: the survey reads the list's head as one.
            if let Some(account) = self.accounts.get_mut(&pending.netns) {
                for (kind, count) in pending.unseen() {
                    *account.left_out.entry(kind).or_default() += count;
                }
                account.read = Some(account.read.unwrap_or_default().plus(*pending));
            }
        }
        for account in self.accounts.values_mut() {
            for (kind, count) in &account.left_out_before {
                let now = account.left_out.entry(*kind).or_default();
                *now = now.saturating_sub(*count);
            }
        }
    }

    fn compare(&mut self, look: &Look, losses: &[(Loss, u64)]) {
        let last = look.cut == Cut::Disarmed;
        let by_records = self.counts.is_none() || self.by_tracepoints(HookPoint::ThirdAck);
        let mut budget = Budget::new(lost::explaining(losses, by_records));
        let Self { accounts, rungs, only, .. } = self;
        let meant = |netns: &u32| only.is_empty() || only.contains(netns);
        for (netns, account) in accounts.iter_mut().filter(|(netns, _)| meant(netns)) {
            let gone = !look.seen.namespaces.contains_key(netns);
            let mut balances: Vec<Balance> = Vec::new();
            let mut owed = 0;
            for counter in Counter::AUDITED.iter().copied() {
                let Some((least, most)) = account.rose(counter, last, gone) else { continue };
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
                    gaps: gaps::gaps(counter, look.watched, rungs, look.pending.is_some()),
                    bound: &|other| account.rose(other, last, gone).map_or(0, |(least, _)| least),
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
            if gone {
                balances.retain(|balance| !balance.is_quiet());
            }
            let appeared = account.rise.as_ref().is_none_or(Rise::appeared);
            if !balances.is_empty() || account.rise.is_some() {
                account.audit =
                    Some(NamespaceAudit { netns: *netns, appeared, unread: gone, balances });
            }
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
    /// How far a counter rose, at least and at most (`None` for no limit). `None` for one that is not
    /// known. `gone`: nobody could read it a last time.
    fn rose(&self, counter: Counter, last: bool, gone: bool) -> Option<(u64, Option<u64>)> {
        let read = |read: Option<Read>| read.unwrap_or_default().of(counter);
        let looks = self.rise.as_ref().map(|rise| rise.of(counter, last));
        let begins_later = self.rise.as_ref().is_some_and(Rise::begins_later);
        if gone {
            let known = self.read.filter(|_| !begins_later).and_then(|read| read.of(counter));
            let least = looks.flatten().map_or(0, |(least, _)| least);
            return Some(known.map_or((least, None), |count| (count, Some(count))));
        }
        let (least, most) = looks??;
        // Others may have had its number before, and gone before anybody looked: what was told of them is
        // told of it, and so is what was read of their counters.
        match (most, read(self.read_at_work), read(self.read)) {
            (None, Some(at_work), Some(all)) if last && self.read.is_some() && !begins_later => {
                let least = least.max(at_work);
                Some((least, Some(all.max(least))))
            }
            _ => Some((least, most)),
        }
    }
}
