//! A row per listener, of no more listeners than a scraper can bear.

use std::collections::{BTreeMap, BTreeSet};

use crate::sink::trace::{Listened, Snapshot, Totals};
use overflow_core::listeners::Listener;

/// Listeners that have a row of their own; what happens at more is summed up in one row.
pub(super) const ROWS: usize = 1000;

/// (inode number of the network namespace, address as `ss` writes it).
type Key = (u32, String);

/// Which listeners have a row of their own. A counter must not move from one row to another, or it
/// would seem to start anew, so a row is kept for good once something has happened there.
#[derive(Debug, Default)]
pub(super) struct RowLimit {
    own: BTreeSet<Key>,
}

/// The labels of a row's numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ListenerLabels {
    /// Inode number of the network namespace; `None` for the row of the rest.
    pub netns: Option<u32>,
    /// Where it listens, or `other`.
    pub listener: String,
    /// Name of the main process that holds it.
    pub process: String,
    /// Short id of its container.
    pub container: String,
    /// UID of its pod.
    pub pod_uid: String,
}

/// The accept queue and the SYN queue as they were last looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Queues {
    /// Accept queue, connections; of a group of `SO_REUSEPORT` listeners the fullest.
    pub length: u32,
    /// Its limit, connections; it is full above it.
    pub limit: Option<u32>,
    /// Requests in SYN_RECV.
    pub syn: u32,
    /// Sockets that share the address.
    pub sockets: u32,
}

/// One listener.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    pub labels: ListenerLabels,
    /// What happened there since the trace began.
    pub totals: Totals,
    /// `None` if it is gone, and for the row of the rest.
    pub queues: Option<Queues>,
}

impl RowLimit {
    /// The rows, and how many listeners share the last one.
    pub(super) fn rows(&mut self, snapshot: &Snapshot<'_>) -> (Vec<Row>, usize) {
        let mut queues = queues(snapshot);
        let mut rows = Vec::new();
        let mut rest = Row::default();
        "other".clone_into(&mut rest.labels.listener);
        let mut folded = 0;
        for listened in &snapshot.listeners {
            let key = (listened.netns, listened.place.clone());
            let known = queues.remove(&key);
            let totals = reliable(listened.totals, snapshot.accepts);
            if self.own.contains(&key) || self.own.len() < ROWS {
                self.own.insert(key);
                let queues = known.map(|(queues, _)| match totals.recv_q {
                    // Where the kernel side counts, it knows better than the last look.
                    Some((length, limit)) if totals.full.is_some() => {
                        Queues { length, limit: Some(limit), ..queues }
                    }
                    _ => queues,
                });
                rows.push(Row { labels: labels(listened), totals, queues });
            } else {
                add(&mut rest.totals, &totals);
                folded += 1;
            }
        }
        let room = ROWS.saturating_sub(rows.len());
        folded += queues.len().saturating_sub(room);
        rows.extend(queues.into_iter().take(room).map(|((netns, listener), (queues, first))| {
            Row {
                labels: ListenerLabels::new(netns, listener, first),
                totals: Totals::default(),
                queues: Some(queues),
            }
        }));
        if folded > 0 {
            rows.push(rest);
        }
        (rows, folded)
    }
}

/// Without accept() in sight, what the kernel side counted of the queue never shrinks, and is not
/// taken.
fn reliable(totals: &Totals, accepts: bool) -> Totals {
    let mut totals = totals.clone();
    if !accepts {
        (totals.full, totals.waits) = (None, None);
    }
    totals
}

/// Adds what happened at one more listener. Gauges and the longest episode are not summed: they belong to no single listener.
fn add(sum: &mut Totals, more: &Totals) {
    let Totals {
        verdicts,
        recv_q_max,
        recv_q: _,
        syn_queue_max,
        synack_retransmits,
        phantoms,
        full,
        waits,
    } = more;
    for (id, count) in verdicts {
        *sum.verdicts.entry(*id).or_default() += count;
    }
    sum.recv_q_max = sum.recv_q_max.max(*recv_q_max);
    sum.syn_queue_max = sum.syn_queue_max.max(*syn_queue_max);
    sum.synack_retransmits += synack_retransmits;
    sum.phantoms += phantoms;
    if let Some(more) = full {
        let full = sum.full.get_or_insert_default();
        full.times += more.times;
        full.total_ns += more.total_ns;
    }
    if let Some(more) = waits {
        let waits = sum.waits.get_or_insert_default();
        waits.total_ns += more.total_ns;
        for (sum, n) in waits.buckets.iter_mut().zip(more.buckets) {
            *sum += n;
        }
    }
}

impl ListenerLabels {
    fn new(netns: u32, listener: String, first: Option<&Listener>) -> Self {
        let main = first.and_then(|l| l.owner.as_ref()?.main());
        let cgroup = main.map(|p| &p.cgroup);
        Self {
            netns: Some(netns),
            listener,
            process: main.map(|p| p.comm.clone()).unwrap_or_default(),
            container: cgroup
                .and_then(|c| Some(c.container.as_ref()?.short_id().to_owned()))
                .unwrap_or_default(),
            pod_uid: cgroup.and_then(|c| c.pod.clone()).unwrap_or_default(),
        }
    }
}

fn labels(listened: &Listened<'_>) -> ListenerLabels {
    let owned = listened.listeners.iter().find(|l| l.owner.is_some());
    ListenerLabels::new(listened.netns, listened.place.clone(), owned.copied())
}

/// The queues of every listener, with a socket that has an owner, if any of them has.
fn queues<'a>(snapshot: &Snapshot<'a>) -> BTreeMap<Key, (Queues, Option<&'a Listener>)> {
    let mut found: BTreeMap<Key, (Queues, Option<&Listener>)> = BTreeMap::new();
    for listener in &snapshot.inventory.listeners {
        let (queues, first) = found.entry((listener.netns, listener.place())).or_default();
        let room = |length: u32, limit: Option<u32>| {
            limit.map_or(i64::MAX, |limit| i64::from(limit) - i64::from(length))
        };
        if queues.sockets == 0
            || room(listener.recv_q, listener.send_q) < room(queues.length, queues.limit)
        {
            (queues.length, queues.limit) = (listener.recv_q, listener.send_q);
        }
        // Requests of a group are shown for each of it.
        queues.syn = queues.syn.max(listener.syn_recv);
        queues.sockets += 1;
        if first.is_none_or(|l| l.owner.is_none()) {
            *first = Some(listener);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::trace::{Full, Waits};
    use overflow_core::{
        listeners::{Inventory, sample},
        verdict::VerdictId,
    };

    fn inventory(listeners: Vec<Listener>) -> Inventory {
        let mut inventory = Inventory::default();
        inventory.listeners = listeners;
        inventory
    }

    fn snapshot<'a>(inventory: &'a Inventory, listeners: Vec<Listened<'a>>) -> Snapshot<'a> {
        Snapshot {
            t_ns: 0,
            listeners,
            inventory,
            accepts: false,
            suppressed: 0,
            losses: Vec::new(),
            audit: None,
        }
    }

    fn listened(place: &str, totals: &'static Totals) -> Listened<'static> {
        Listened { netns: 1, place: place.to_owned(), listeners: Vec::new(), sysctls: None, totals }
    }

    fn overflowed(n: u64) -> &'static Totals {
        let verdicts = BTreeMap::from([(VerdictId::AckDropOverflow, n)]);
        Box::leak(Box::new(Totals { verdicts, ..Totals::default() }))
    }

    #[test]
    fn a_group_shows_its_fullest_socket() {
        let listeners = vec![
            Listener { recv_q: 100, ..sample::listener("0.0.0.0:80") },
            Listener {
                recv_q: 60,
                send_q: Some(64),
                syn_recv: 2,
                ..sample::listener("0.0.0.0:80")
            },
        ];
        let inventory = inventory(listeners);
        let (rows, folded) = RowLimit::default().rows(&snapshot(&inventory, Vec::new()));
        let expected = Queues { length: 60, limit: Some(64), syn: 2, sockets: 2 };
        assert_eq!((rows.len(), folded, rows[0].queues), (1, 0, Some(expected)));
        assert_eq!(rows[0].labels.listener, "0.0.0.0:80");
    }

    #[test]
    fn a_queue_that_is_never_seen_to_shrink_is_not_shown() {
        let listeners = vec![sample::listener("0.0.0.0:80")];
        let inventory = inventory(listeners);
        let counted = Totals {
            recv_q: Some((9, 8)),
            full: Some(Full::default()),
            waits: Some(Waits::default()),
            ..Totals::default()
        };
        let counted = Box::leak(Box::new(counted));
        let mut snapshot = snapshot(&inventory, vec![listened("0.0.0.0:80", counted)]);
        let shown = |snapshot: &Snapshot<'_>| {
            let row = RowLimit::default().rows(snapshot).0.remove(0);
            (row.queues.unwrap().length, row.totals.full.is_some(), row.totals.waits.is_some())
        };
        assert_eq!(shown(&snapshot), (0, false, false));
        snapshot.accepts = true;
        assert_eq!(shown(&snapshot), (9, true, true));
    }

    #[test]
    fn more_listeners_than_rows_are_summed_up_and_never_change_rows() {
        let inventory = Inventory::default();
        let many: Vec<_> =
            (0..ROWS + 2).map(|n| listened(&format!("0.0.0.0:{n}"), overflowed(1))).collect();
        let mut limit = RowLimit::default();
        let (rows, folded) = limit.rows(&snapshot(&inventory, many));
        assert_eq!((rows.len(), folded), (ROWS + 1, 2));
        let last = rows.last().unwrap();
        assert_eq!((last.labels.listener.as_str(), last.totals.overflows()), ("other", 2));
        let turned: Vec<_> =
            (0..ROWS + 2).rev().map(|n| listened(&format!("0.0.0.0:{n}"), overflowed(3))).collect();
        let (rows, _) = limit.rows(&snapshot(&inventory, turned));
        assert_eq!((rows.len(), rows.last().unwrap().totals.overflows()), (ROWS + 1, 6));
        let missing = |n: usize| !rows.iter().any(|r| r.labels.listener == format!("0.0.0.0:{n}"));
        assert!(missing(ROWS) && missing(ROWS + 1) && !missing(0));
    }

    #[test]
    fn quiet_listeners_give_way() {
        let listeners = (1..=u16::try_from(ROWS).unwrap() + 5)
            .map(|port| sample::listener(&format!("127.0.0.1:{port}")))
            .collect();
        let inventory = inventory(listeners);
        let eventful = vec![listened("127.0.0.1:1005", overflowed(1))];
        let (rows, folded) = RowLimit::default().rows(&snapshot(&inventory, eventful));
        assert_eq!((rows.len(), folded), (ROWS + 1, 5));
        assert_eq!(
            (rows[0].labels.listener.as_str(), rows[0].totals.overflows()),
            ("127.0.0.1:1005", 1)
        );
        assert!(rows[0].queues.is_some());
    }
}
