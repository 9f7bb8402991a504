//! What happened where: counts by network namespace and listening address.

use std::{collections::BTreeMap, net::SocketAddr};

use overflow_common::Kind;

use crate::sink::trace::{Listened, Totals};
use overflow_core::{
    aggregates,
    decode::Event,
    listeners::{Inventory, Listener, Sysctls},
    verdict::VerdictId,
};

/// Network namespace and the listener's address, or the connection's where no listener is known.
pub(crate) type ListenerKey = (u32, SocketAddr);

/// What happened at one listener, in all and since the last aggregates were shown.
#[derive(Default)]
pub(crate) struct Counted {
    /// Since tracing began.
    pub total: Totals,
    /// Since the last aggregates.
    pub recent: Totals,
    /// The listeners there when something last happened, of that inventory: they can be closed by
    /// the time the summary is printed.
    listeners: Vec<Listener>,
    sysctls: Option<Sysctls>,
    inventory: u64,
    /// What the kernel had counted here when it was last asked, and when `recent` began.
    exact: aggregates::ListenerCounts,
    exact_before: aggregates::ListenerCounts,
}

impl Counted {
    /// Takes what the kernel has counted here since it was attached. Without accept() in sight a
    /// queue never seems to get shorter.
    pub(crate) fn exact(&mut self, now: aggregates::ListenerCounts, accepts: bool) {
        for (id, count) in &now.verdicts {
            let before = self.exact.verdicts.get(id).copied().unwrap_or(0);
            for totals in [&mut self.total, &mut self.recent] {
                let more = count.saturating_sub(before);
                if more > 0 {
                    let sum = totals.verdicts.entry(*id).or_default();
                    *sum = sum.saturating_add(more);
                }
            }
        }
        for (totals, before) in [
            (&mut self.total, &aggregates::ListenerCounts::default()),
            (&mut self.recent, &self.exact_before),
        ] {
            totals.full = accepts.then(|| now.full.since(&before.full));
            totals.waits = accepts.then(|| now.waits.since(&before.waits));
            totals.recv_q = now.recv_q.or(totals.recv_q);
            if now.recv_q.is_some() {
                totals.recv_q_max = totals.recv_q_max.max(Some(now.recv_q_max));
            }
        }
        self.exact = now;
    }

    /// Counts a verdict.
    pub(crate) fn verdict(&mut self, id: VerdictId) {
        for totals in [&mut self.total, &mut self.recent] {
            let sum = totals.verdicts.entry(id).or_default();
            *sum = sum.saturating_add(1);
        }
    }

    /// Counts a connection that its client alone believes established.
    pub(crate) fn phantom(&mut self) {
        self.total.phantoms += 1;
        self.recent.phantoms += 1;
    }

    /// Counts what an event shows of the queues.
    pub(crate) fn event(&mut self, event: &Event) {
        for totals in [&mut self.total, &mut self.recent] {
            totals.synack_retransmits += u64::from(event.kind == Kind::SynAckRetransmit);
            for queue in [Some(&event.before), event.after.as_ref()].into_iter().flatten() {
                if let Some((len, limit)) = queue.accept {
                    totals.recv_q_max = totals.recv_q_max.max(Some(len));
                    totals.recv_q = Some((len, limit));
                }
                totals.syn_queue_max = totals.syn_queue_max.max(queue.qlen);
            }
        }
    }

    /// Remembers the listeners that connections to `server` belong to, if there are any; of each
    /// inventory, by its number, once.
    pub(crate) fn learn(
        &mut self,
        inventory: &Inventory,
        number: u64,
        netns: u32,
        server: SocketAddr,
    ) {
        if self.inventory == number {
            return;
        }
        self.inventory = number;
        self.learn_now(inventory, netns, server);
    }

    fn learn_now(&mut self, inventory: &Inventory, netns: u32, server: SocketAddr) {
        let known = inventory.find(netns, server);
        if !known.is_empty() {
            self.listeners = known.into_iter().cloned().collect();
            self.sysctls = inventory.namespaces.get(&netns).map(|s| s.sysctls);
        }
    }
}

/// Everywhere.
#[derive(Default)]
pub(crate) struct ListenerTotals {
    counted: Vec<Counted>,
    /// Where each is in `counted`.
    numbers: BTreeMap<ListenerKey, usize>,
}

impl ListenerTotals {
    /// The number of a place; it never changes.
    pub(crate) fn number(&mut self, place: ListenerKey) -> usize {
        let counted = &mut self.counted;
        *self.numbers.entry(place).or_insert_with(|| {
            counted.push(Counted::default());
            counted.len() - 1
        })
    }

    /// What was counted there.
    pub(crate) fn counted(&mut self, number: usize) -> &mut Counted {
        &mut self.counted[number]
    }

    /// Looks in a new inventory for the listeners of places that have none.
    pub(crate) fn learn(&mut self, inventory: &Inventory) {
        for (&(netns, server), &number) in &self.numbers {
            let counted = &mut self.counted[number];
            if counted.listeners.is_empty() {
                counted.learn_now(inventory, netns, server);
            }
        }
    }

    /// Begins the next interval.
    pub(crate) fn next_interval(&mut self) {
        for counted in &mut self.counted {
            counted.recent = Totals::default();
            counted.exact_before = counted.exact.clone();
        }
    }

    /// Listeners where something happened, those with the most overflows first.
    pub(crate) fn listened<'a>(
        &'a self,
        which: impl Fn(&'a Counted) -> &'a Totals,
    ) -> Vec<Listened<'a>> {
        let eventful = |t: &Totals| !t.verdicts.is_empty() || t.synack_retransmits > 0;
        let mut listened: Vec<Listened<'a>> = self
            .numbers
            .iter()
            .map(|(place, number)| (place, &self.counted[*number]))
            .map(|(place, counted)| (place, counted, which(counted)))
            .filter(|(_, _, totals)| eventful(totals))
            .map(|((netns, local), counted, totals)| {
                let listeners: Vec<&Listener> = counted.listeners.iter().collect();
                let place = listeners.first().map_or_else(|| local.to_string(), |l| l.place());
                Listened { netns: *netns, place, listeners, sysctls: counted.sysctls, totals }
            })
            .collect();
        listened.sort_by_key(|l| std::cmp::Reverse(l.totals.overflows()));
        listened
    }
}
