//! A row per listener, of no more listeners than a scraper can bear.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::sink::trace::{Listened, Snapshot, Totals, Whose, certain_owner};
use overflow_core::listeners::Listener;

/// Listeners that have a row of their own; what happens at more is summed up in one row.
pub(super) const ROWS: usize = 1000;
/// For so long a listener must be gone, and nothing have happened there, before another one gets its
/// row, nanoseconds: scrapers have read its last numbers by then.
const GONE_NS: u64 = 300_000_000_000;

/// (inode number of the network namespace, address as `ss` writes it).
type Place = (u32, String);

/// A place, and in a `SO_REUSEPORT` group the label by which its members are told apart.
type Key = (u32, String, String);

/// The label of what happened at a group's sockets that are gone, and where it is not known at which.
const CLOSED: &str = "closed";
const UNKNOWN: &str = "unknown";

/// Which listeners have a row of their own. A counter must not move from one row to another, or it
/// would seem to start anew: a row is kept while its listener is there, and what is summed up stays so.
#[derive(Debug, Default)]
pub(super) struct RowLimit {
    own: BTreeMap<Key, Own>,
    /// Those without one, in which something has happened.
    folded: BTreeSet<Key>,
    /// Places that have or had several sockets at a time: their rows go on to be told apart.
    groups: BTreeSet<Place>,
    /// Members that have been gone for long.
    retired: BTreeSet<Key>,
}

/// A row of its own.
#[derive(Clone, Copy, Debug, Default)]
struct Own {
    /// When its listener was last there, or anything happened, CLOCK_MONOTONIC nanoseconds.
    last_ns: u64,
    /// How much had happened then.
    events: u64,
}

/// The labels of a row's numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ListenerLabels {
    /// Inode number of the network namespace; `None` for the row of the rest.
    pub netns: Option<u32>,
    /// Where it listens, or `other`.
    pub listener: String,
    /// Inode number of its socket, if there are or were several at a time.
    pub inode: String,
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
    /// Accept queue, connections.
    pub length: u32,
    /// Its limit, connections; it is full above it.
    pub limit: Option<u32>,
    /// Requests in SYN_RECV, if they were counted; those of a `SO_REUSEPORT` group for each of it.
    pub syn: Option<u32>,
    /// Sockets that this is of.
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

/// What is known of one row before it is known whether it is one.
struct Entry<'a> {
    labels: ListenerLabels,
    totals: Totals,
    open: bool,
    listener: Option<&'a Listener>,
    /// Whether anything happened.
    eventful: bool,
}

impl RowLimit {
    /// The rows, and how many listeners share the last one.
    pub(super) fn rows(&mut self, snapshot: &Snapshot<'_>) -> (Vec<Row>, usize) {
        self.learn_groups(snapshot);
        let mut rest = Row::default();
        "other".clone_into(&mut rest.labels.listener);
        let mut folded = 0;
        let mut entries: HashMap<Key, Entry<'_>> = HashMap::new();
        let mut order = Vec::new();
        for listened in snapshot.listeners.iter().flat_map(each) {
            let totals = reliable(&listened.totals, snapshot.accepts);
            if listened.whose == Whose::Elsewhere {
                rest.totals.add(&totals);
                folded += usize::try_from(listened.sockets).unwrap_or(usize::MAX);
                continue;
            }
            let key = self.key(listened);
            let entry = entries.entry(key.clone()).or_insert_with(|| {
                order.push(key);
                Entry::new(listened)
            });
            entry.add(listened, &totals);
        }
        let meant = |listener: &&Listener| snapshot.filter.listener(listener);
        for listener in snapshot.inventory.listeners.iter().filter(meant) {
            let key = self.key_of(listener);
            let entry = entries.entry(key.clone()).or_insert_with(|| {
                order.push(key);
                Entry::of(listener)
            });
            entry.listener = Some(listener);
            entry.open = true;
        }
        self.forget(&entries);
        // New ones first: they may take the rows of others.
        for key in order.iter().filter(|key| !self.own.contains_key(*key)).collect::<Vec<_>>() {
            if let Some(entry) = entries.get(key).filter(|entry| entry.eventful) {
                self.has_row(key, entry, snapshot.t_ns);
            }
        }
        let mut rows = Vec::new();
        let mut quiet = Vec::new();
        for key in order {
            let Some(entry) = entries.remove(&key) else { continue };
            if !entry.eventful {
                quiet.push((key, entry));
            } else if self.has_row(&key, &entry, snapshot.t_ns) {
                rows.push(entry.row(key));
            } else {
                rest.totals.add(&entry.totals);
                folded += 1;
            }
        }
        quiet.sort_by(|(a, _), (b, _)| a.cmp(b));
        let room = ROWS.saturating_sub(rows.len());
        folded += quiet.len().saturating_sub(room);
        rows.extend(quiet.into_iter().take(room).map(|(key, entry)| entry.row(key)));
        if folded > 0 {
            rows.push(rest);
        }
        (rows, folded)
    }

    /// Whether an eventful listener has a row of its own, given one if there is room.
    fn has_row(&mut self, key: &Key, entry: &Entry<'_>, now_ns: u64) -> bool {
        if self.folded.contains(key) {
            return false;
        }
        let room = self.own.contains_key(key) || self.own.len() < ROWS || self.give_way(now_ns);
        if !room {
            self.folded.insert(key.clone());
            return false;
        }
        let events = entry.totals.events();
        let own = self.own.entry(key.clone()).or_default();
        if entry.open || own.events != events {
            *own = Own { last_ns: now_ns, events };
        }
        true
    }

    /// Takes its row from the listener that has been gone for longest, if one has been for long; what
    /// happened there is summed up from now on.
    fn give_way(&mut self, now_ns: u64) -> bool {
        let first = self.own.iter().min_by_key(|(_, own)| own.last_ns);
        let Some((key, own)) = first else { return false };
        if now_ns.saturating_sub(own.last_ns) < GONE_NS {
            return false;
        }
        let key = key.clone();
        self.own.remove(&key);
        self.folded.insert(key);
        true
    }

    fn learn_groups(&mut self, snapshot: &Snapshot<'_>) {
        let place = |l: &Listened<'_>| (l.netns, l.place.clone());
        let now = snapshot.listeners.iter().filter(|l| !l.members.is_empty()).map(place);
        let there = snapshot.inventory.listeners.iter().filter(|l| l.group > 1);
        self.groups.extend(now.chain(there.map(|l| (l.netns, l.place()))));
        let long = |own: &Own| snapshot.t_ns.saturating_sub(own.last_ns) >= GONE_NS;
        let members = self.own.iter().filter(|((_, _, inode), own)| {
            !matches!(inode.as_str(), "" | CLOSED | UNKNOWN) && long(own)
        });
        let members: Vec<Key> = members.map(|(key, _)| key.clone()).collect();
        for key in members {
            self.own.remove(&key);
            self.retired.insert(key);
        }
    }

    fn key(&self, listened: &Listened<'_>) -> Key {
        let place = (listened.netns, listened.place.clone());
        let inode = match listened.whose {
            _ if !self.groups.contains(&place) => String::new(),
            Whose::Socket(ino) => ino.to_string(),
            Whose::Unknown | Whose::Group => UNKNOWN.to_owned(),
            Whose::Closed | Whose::Elsewhere => CLOSED.to_owned(),
        };
        self.told_apart((place.0, place.1, inode))
    }

    fn key_of(&self, listener: &Listener) -> Key {
        let place = (listener.netns, listener.place());
        let group = self.groups.contains(&place);
        let inode = if group { listener.inode.to_string() } else { String::new() };
        (place.0, place.1, inode)
    }

    fn told_apart(&self, key: Key) -> Key {
        if self.retired.contains(&key) { (key.0, key.1, CLOSED.to_owned()) } else { key }
    }

    /// Forgets what nothing is known of any more.
    fn forget(&mut self, entries: &HashMap<Key, Entry<'_>>) {
        self.own.retain(|key, _| entries.contains_key(key));
        self.folded.retain(|key| entries.contains_key(key));
        let places: BTreeSet<Place> =
            entries.keys().map(|(netns, place, _)| (*netns, place.clone())).collect();
        self.groups.retain(|place| places.contains(place));
        self.retired.retain(|(netns, place, _)| places.contains(&(*netns, place.clone())));
    }
}

/// Each that has counts of its own: of a group its members.
fn each<'a>(listened: &'a Listened<'a>) -> impl Iterator<Item = &'a Listened<'a>> {
    let alone = listened.members.is_empty().then_some(listened);
    listened.members.iter().chain(alone)
}

impl<'a> Entry<'a> {
    fn new(listened: &Listened<'a>) -> Self {
        let owner = certain_owner(listened.listeners.iter().copied());
        let first = listened.listeners.first().copied().filter(|_| owner.is_some());
        let labels = ListenerLabels::new(listened.netns, listened.place.clone(), first);
        Self { labels, totals: Totals::default(), open: false, listener: None, eventful: false }
    }

    fn of(listener: &'a Listener) -> Self {
        let labels = ListenerLabels::new(listener.netns, listener.place(), Some(listener));
        Self { labels, totals: Totals::default(), open: true, listener: None, eventful: false }
    }

    /// Adds what happened at one of its sockets, the one that is there naming all.
    fn add(&mut self, listened: &Listened<'a>, totals: &Totals) {
        self.eventful |= totals.events() > 0;
        self.totals.add(totals);
        if listened.open || !self.open {
            self.totals.recv_q = totals.recv_q.or(self.totals.recv_q);
            self.labels = Self::new(listened).labels;
        }
        self.open |= listened.open;
    }

    fn row(self, key: Key) -> Row {
        let mut labels = self.labels;
        if let Some(listener) = self.listener {
            labels = ListenerLabels::new(listener.netns, listener.place(), Some(listener));
        }
        labels.inode = key.2;
        let totals = self.totals;
        let queues = self.listener.map(|l| match totals.recv_q {
            // Where the kernel side counts, it knows better than the last look.
            Some((length, limit)) if totals.full.is_some() => {
                Queues { length, limit: Some(limit), syn: l.syn_recv, sockets: 1 }
            }
            _ => Queues { length: l.recv_q, limit: l.send_q, syn: l.syn_recv, sockets: 1 },
        });
        Row { labels, totals, queues }
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

impl ListenerLabels {
    fn new(netns: u32, listener: String, first: Option<&Listener>) -> Self {
        let main = first.and_then(|l| l.owner.as_ref()?.main());
        let cgroup = main.map(|p| &p.cgroup);
        Self {
            netns: Some(netns),
            listener,
            inode: String::new(),
            process: main.map(|p| p.comm.to_string()).unwrap_or_default(),
            container: cgroup
                .and_then(|c| Some(c.container.as_ref()?.short_id().to_string()))
                .unwrap_or_default(),
            pod_uid: cgroup.and_then(|c| Some(c.pod.as_ref()?.to_string())).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests;
