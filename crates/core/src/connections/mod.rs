//! The table of live connections: each new event is judged in the light of the earlier ones.
//! Bounded in bytes, in events of each connection, and in time. Pure: time is in the events.
//!
//! Of each event is kept what judging reads of it, in a few bytes ([`packed_event`], [`template`]).
//! A connection is a chain of blocks of one size ([`blocks`]); a half-open one takes one.

mod blocks;
mod index;
mod packed_event;
mod servers;
mod template;
mod store;

use std::{hint, io, mem};

use overflow_common::{Kind, Path};

pub use self::blocks::Id;
use self::store::{History, MOST_EVENTS, RESERVE, Store};
use crate::{
    clients,
    decode::{ConnKey, Event},
    loss::Loss,
    packet::flags::SYN,
    syn_limit::SynQueueLimit,
    verdict::{self, Connection, Stage},
};

/// After so long without an event nothing more is expected: no SYN-ACK retransmission waits longer
/// than TCP_RTO_MAX, 120 s.
const IDLE_NS: u64 = 130_000_000_000;

/// How much is remembered.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connections; the one that was quiet for longest is forgotten first.
    pub connections: usize,
    /// Blocks of 46 bytes for all of them; when these run out, it is the same.
    pub blocks: usize,
    /// Events of one connection; then the latest takes the place of the one before it.
    pub events: usize,
    /// Different templates of events; an event of one more is not kept.
    pub templates: usize,
    /// Addresses that connections go to; for one more, the quietest connections go.
    pub servers: usize,
}

impl Bounds {
    /// Of a live trace: 1,048,576 connections over IPv4 with two or three events, half as many
    /// over IPv6 or with up to five; 52 MiB.
    pub const LIVE: Self = Self {
        connections: 1 << 20,
        blocks: (1 << 20) + RESERVE,
        events: 48,
        templates: 1 << 15,
        servers: 1 << 16,
    };
}

/// Called with each connection that is finished, of which no more events are expected, and with its
/// listener: those of which anything was shown, unless nobody wants them, and those whose client was
/// hurt.
pub(crate) type OnFinished<'a> = Option<&'a mut dyn FnMut(&mut Connection, At) -> io::Result<()>>;

/// Whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// Inode number of the listener's network namespace.
    pub netns: u32,
    /// Inode number of the listener's socket, as the last event that knew it had it.
    pub ino: Option<u32>,
    /// Whether anything of it was shown.
    pub shown: bool,
    /// Whether nothing more can come of it: it was silent for too long, or its port is used again.
    pub over: bool,
}

/// The connections.
pub struct ConnTable {
    store: Store,
    bounds: Bounds,
    history: History,
    judged: Connection,
    /// Whether connections are handed over because something of them was shown.
    hands_over_shown: bool,
    forgotten: u64,
    merged: u64,
    no_template: u64,
}

impl ConnTable {
    /// Nothing yet.
    pub fn new(bounds: Bounds) -> Self {
        let bounds = Bounds { events: bounds.events.clamp(1, MOST_EVENTS), ..bounds };
        Self {
            store: Store::new(bounds),
            bounds,
            history: History::default(),
            judged: Connection::default(),
            hands_over_shown: true,
            forgotten: 0,
            merged: 0,
            no_template: 0,
        }
    }

    /// Hands over only those whose client was hurt, unless those are wanted of which anything was shown:
    /// judging a million of them takes its time.
    #[must_use]
    pub fn handing_over_shown(self, wanted: bool) -> Self {
        Self { hands_over_shown: wanted, ..self }
    }

    /// Whether anything is remembered of this connection.
    pub fn knows(&mut self, key: &ConnKey) -> bool {
        self.store.find(key).is_some()
    }

    /// Inode number of the listener's socket, as the last event of this connection that knew it had
    /// it.
    pub fn listener(&mut self, key: &ConnKey) -> Option<u32> {
        let id = self.store.find(key)?;
        self.store.listener(id)
    }

    /// Brings into the processor's cache what finding these connections takes. Memory is waited for
    /// once for many of them that way, instead of once for each.
    pub fn expect(&self, keys: impl Iterator<Item = ConnKey>) {
        hint::black_box(keys.fold(0, |all, key| all ^ self.store.touch(&key)));
    }

    /// Adds an event and judges its connection anew: all its stages are put into `stages`, unless
    /// the event can have brought about none. Returns the connection's number, which is good until
    /// the next call. `on_finished` gets the connections that had to be forgotten for it.
    pub fn add(
        &mut self,
        event: &Event,
        limit: Option<SynQueueLimit>,
        stages: &mut Vec<Stage>,
        mut on_finished: OnFinished<'_>,
    ) -> io::Result<Id> {
        let key = event.conn;
        stages.clear();
        while !self.store.has_room() {
            self.forget(limit, &mut on_finished)?;
        }
        let id = if let Some(id) = self.store.find(&key) {
            // A SYN-ACK sent again is no stage.
            if event.kind == Kind::SynAckRetransmit
                && self.store.append(id, event, self.bounds.events)
            {
                return Ok(id);
            }
            self.store.load(id, &mut self.history);
            if begins_anew(&self.history.events, event) {
                self.hand_over(id, true, limit, &mut on_finished)?;
                self.store.restart(id, event.t_ns, &mut self.history);
            }
            id
        } else {
            while !self.store.takes(&key) {
                self.forget(limit, &mut on_finished)?;
            }
            let id = self.store.begin(&key, event.t_ns, &mut self.history);
            if self.store.append(id, event, self.bounds.events) {
                mem::swap(&mut self.judged.stages, stages);
                verdict::judge_into(&mut self.judged, key, [event], limit);
                mem::swap(&mut self.judged.stages, stages);
                note_harm(&mut self.store, id, stages);
                return Ok(id);
            }
            id
        };
        let history = &mut self.history;
        history.last_ns = history.last_ns.max(event.t_ns);
        let merge = history.events.len() >= self.bounds.events;
        if merge {
            history.events.pop();
            self.store.release(history.numbers.pop().flatten());
            self.merged += 1;
        }
        // Several CPUs write into one ring: records of one connection can arrive out of order.
        let at = history.events.partition_point(|m| m.t_ns <= event.t_ns);
        let template = self.store.template(event);
        self.no_template += u64::from(template.is_none());
        let (earlier, later) = history.events.split_at(at);
        mem::swap(&mut self.judged.stages, stages);
        let all = earlier.iter().chain([event]).chain(later);
        verdict::judge_into(&mut self.judged, key, all, limit);
        mem::swap(&mut self.judged.stages, stages);
        note_harm(&mut self.store, id, stages);
        match template {
            Some(template) if later.is_empty() && !merge && !history.timed => {
                self.store.push(id, event, template);
            }
            _ => {
                history.events.insert(at, event.clone());
                history.numbers.insert(at, template);
                self.store.save(id, history);
            }
        }
        Ok(id)
    }

    /// Notes that an event of this connection was shown; true for the first time.
    pub fn mark_shown(&mut self, id: Id) -> bool {
        let before = self.store.shown(id);
        self.store.mark_shown(id);
        !before
    }

    /// Removes the connections that were silent for so long that no more events are expected;
    /// those that were never shown are not handed over.
    pub fn expire(
        &mut self,
        now_ns: u64,
        limit: Option<SynQueueLimit>,
        mut on_finished: OnFinished<'_>,
    ) -> io::Result<()> {
        while let Some(id) = self.store.first() {
            self.store.load(id, &mut self.history);
            let history = &mut self.history;
            if history.queued_ns.saturating_add(IDLE_NS) > now_ns {
                break;
            }
            if history.last_ns <= history.queued_ns {
                self.pop(id, true, limit, &mut on_finished)?;
            } else if self.store.has_room() {
                // Back in the list; the order is near enough to that of the last events.
                self.store.requeue();
                history.queued_ns = history.last_ns;
                self.store.save(id, history);
            } else {
                self.forgotten += 1;
                self.pop(id, false, limit, &mut on_finished)?;
            }
        }
        Ok(())
    }

    /// Removes all that are left, in the order in which they began.
    pub fn finish(
        &mut self,
        limit: Option<SynQueueLimit>,
        on_finished: OnFinished<'_>,
    ) -> io::Result<()> {
        self.store.seal();
        if let Some(on_finished) = on_finished {
            let wants_shown = self.hands_over_shown;
            let store = &mut self.store;
            let wanted = |id: &Id| store.hurt(*id) || (wants_shown && store.shown(*id));
            let mut left = Vec::with_capacity(store.lru().filter(wanted).count());
            left.extend(store.lru().filter(wanted));
            left.sort_by(|a, b| {
                let begun = store.begun_ns(*a).cmp(&store.begun_ns(*b));
                begun.then_with(|| store.key(*a).cmp(&store.key(*b)))
            });
            for id in left {
                self.store.load(id, &mut self.history);
                let key = self.store.key(id);
                verdict::judge_into(&mut self.judged, key, &self.history.events, limit);
                let shown = self.store.shown(id);
                on_finished(&mut self.judged, At::of(key, &self.history.events, shown, false))?;
            }
        }
        self.store = Store::new(self.bounds);
        Ok(())
    }

    /// What memory did not suffice for, by cause.
    pub fn losses(&self) -> [(Loss, u64); 3] {
        [
            (Loss::Forgotten, self.forgotten),
            (Loss::Merged, self.merged),
            (Loss::NoTemplate, self.no_template),
        ]
    }

    /// Removes the least recently used, before its time.
    fn forget(
        &mut self,
        limit: Option<SynQueueLimit>,
        on_finished: &mut OnFinished<'_>,
    ) -> io::Result<()> {
        let Some(id) = self.store.first() else { return Ok(()) };
        self.forgotten += 1;
        self.store.load(id, &mut self.history);
        self.pop(id, false, limit, on_finished)
    }

    /// Removes the least recently used, which is unpacked.
    fn pop(
        &mut self,
        id: Id,
        over: bool,
        limit: Option<SynQueueLimit>,
        on_finished: &mut OnFinished<'_>,
    ) -> io::Result<()> {
        self.hand_over(id, over, limit, on_finished)?;
        self.store.remove_first(&self.history);
        Ok(())
    }

    /// Hands over a connection, which is unpacked, if it is wanted.
    fn hand_over(
        &mut self,
        id: Id,
        over: bool,
        limit: Option<SynQueueLimit>,
        on_finished: &mut OnFinished<'_>,
    ) -> io::Result<()> {
        let shown = self.store.shown(id);
        if let Some(on_finished) = on_finished
            && (self.store.hurt(id) || (shown && self.hands_over_shown))
        {
            let key = self.store.key(id);
            verdict::judge_into(&mut self.judged, key, &self.history.events, limit);
            on_finished(&mut self.judged, At::of(key, &self.history.events, shown, over))?;
        }
        Ok(())
    }
}

impl At {
    fn of(key: ConnKey, history: &[Event], shown: bool, over: bool) -> Self {
        let ino = history.iter().rev().find_map(|event| event.ino);
        Self { netns: key.netns, ino, shown, over }
    }
}

/// Notes whether a client was hurt.
fn note_harm(store: &mut Store, id: Id, stages: &[Stage]) {
    if stages.iter().any(|stage| clients::hurts(stage.id)) {
        store.mark_hurt(id);
    }
}

/// Whether an event is of the client's next connection from the same port: its SYN, or, where those
/// that go well are not seen, its third ACK. The sequence number shows it.
fn begins_anew(history: &[Event], event: &Event) -> bool {
    let Some(new) = isn(event) else { return false };
    let near = match event.kind {
        // Sent again, a SYN has the same.
        Kind::Syn => 0,
        // A child was tried, so it lies in the window, which is not scaled before that.
        Kind::Ack
        | Kind::Reset
        | Kind::SynAckRetransmit
        | Kind::RequestRemoved
        | Kind::ActiveReset
        | Kind::Accept
        | Kind::IcmpError
        | Kind::Destroyed
        | Kind::PeerReset => {
            if !event.path.has(Path::SYN_RECV_SOCK_NULL | Path::SYN_RECV_SOCK_CHILD) {
                return false;
            }
            0xffff
        }
    };
    let other = |old: u32| new.wrapping_sub(old).min(old.wrapping_sub(new)) > near;
    let mut known = history.iter().filter_map(isn).peekable();
    known.peek().is_some()
        && known.all(other)
        && history.last().is_some_and(|last| last.t_ns < event.t_ns)
}

/// The sequence number of the SYN of a connection, as far as this event shows it.
fn isn(event: &Event) -> Option<u32> {
    let segment = event.segment?;
    match event.kind {
        // By tracepoints a SYN that its connection's request refuses is one too.
        Kind::Syn if !event.path.has(Path::TP_KFREE_SKB) => Some(segment.seq),
        Kind::Ack if !event.flags(SYN, 0) => Some(segment.seq.wrapping_sub(1)),
        Kind::Syn
        | Kind::Ack
        | Kind::Reset
        | Kind::SynAckRetransmit
        | Kind::RequestRemoved
        | Kind::ActiveReset
        | Kind::Accept
        | Kind::IcmpError
        | Kind::Destroyed
        | Kind::PeerReset => None,
    }
}

#[cfg(test)]
mod tests;
