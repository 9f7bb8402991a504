//! Connections while they are talked about: each new moment is judged in the light of the earlier
//! ones. Bounded in bytes, in moments each, and in time. Pure: time is in the moments.
//!
//! Of each moment is kept what judging reads of it, in a few bytes ([`moment`], [`template`]). A
//! connection is a chain of blocks of one size ([`blocks`]); a half-open one takes one.

mod blocks;
mod index;
mod moment;
mod servers;
mod template;
mod store;

use std::{hint, io, mem};

use overflow_common::{Kind, Path};

pub use self::blocks::Id;
use self::store::{History, MOMENTS, RESERVE, Store};
use crate::{
    decode::{ConnKey, Event},
    loss::Loss,
    packet::flags::SYN,
    syn_limit::SynQueueLimit,
    verdict::{self, Connection, Stage},
};

/// After so long without a moment nothing more is expected: no SYN-ACK retransmission waits longer
/// than TCP_RTO_MAX, 120 s.
const IDLE_NS: u64 = 130_000_000_000;

/// How much is remembered.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connections; the one that was quiet for longest is forgotten first.
    pub connections: usize,
    /// Blocks of 46 bytes for all of them; when these run out, it is the same.
    pub blocks: usize,
    /// Moments of one connection; then the latest takes the place of the one before it.
    pub moments: usize,
    /// Kinds of moments; a moment of one more is not kept.
    pub templates: usize,
    /// Addresses that connections go to; for one more, the quietest connections go.
    pub servers: usize,
}

impl Bounds {
    /// Of a live trace: 1,048,576 connections over IPv4 with two or three moments, half as many
    /// over IPv6 or with up to five; 52 MiB.
    pub const LIVE: Self = Self {
        connections: 1 << 20,
        blocks: (1 << 20) + RESERVE,
        moments: 48,
        templates: 1 << 15,
        servers: 1 << 16,
    };
}

/// Takes a connection of which no more will be heard; `None` where nobody wants them.
pub type Over<'a> = Option<&'a mut dyn FnMut(&mut Connection) -> io::Result<()>>;

/// The connections.
pub struct ConnTable {
    store: Store,
    bounds: Bounds,
    story: History,
    judged: Connection,
    forgotten: u64,
    merged: u64,
    shapeless: u64,
}

impl ConnTable {
    /// Nothing yet.
    pub fn new(bounds: Bounds) -> Self {
        let bounds = Bounds { moments: bounds.moments.clamp(1, MOMENTS), ..bounds };
        Self {
            store: Store::new(bounds),
            bounds,
            story: History::default(),
            judged: Connection::default(),
            forgotten: 0,
            merged: 0,
            shapeless: 0,
        }
    }

    /// Whether anything is remembered of this connection.
    pub fn knows(&mut self, key: &ConnKey) -> bool {
        self.store.find(key).is_some()
    }

    /// Brings into the processor's cache what finding these connections takes. Memory is waited for
    /// once for many of them that way, instead of once for each.
    pub fn expect(&self, keys: impl Iterator<Item = ConnKey>) {
        hint::black_box(keys.fold(0, |all, key| all ^ self.store.touch(&key)));
    }

    /// Adds a moment and judges its connection anew: all its stages are put into `stages`, unless
    /// the moment can have brought about none. Returns the connection's number, which is good until
    /// the next call. `over` is handed connections that had to be forgotten for it.
    pub fn add(
        &mut self,
        moment: &Event,
        limit: Option<SynQueueLimit>,
        stages: &mut Vec<Stage>,
        mut over: Over<'_>,
    ) -> io::Result<Id> {
        let key = moment.conn;
        stages.clear();
        while !self.store.has_room() {
            self.forget(limit, &mut over)?;
        }
        let id = if let Some(id) = self.store.find(&key) {
            // A SYN-ACK sent again is no stage.
            if moment.kind == Kind::SynAckRetransmit
                && self.store.append(id, moment, self.bounds.moments)
            {
                return Ok(id);
            }
            self.store.load(id, &mut self.story);
            if begins_anew(&self.story.moments, moment) {
                self.tell(id, limit, &mut over)?;
                self.store.restart(id, moment.t_ns, &mut self.story);
            }
            id
        } else {
            while !self.store.takes(&key) {
                self.forget(limit, &mut over)?;
            }
            let id = self.store.begin(&key, moment.t_ns, &mut self.story);
            if self.store.append(id, moment, self.bounds.moments) {
                mem::swap(&mut self.judged.stages, stages);
                verdict::judge_into(&mut self.judged, key, [moment], limit);
                mem::swap(&mut self.judged.stages, stages);
                return Ok(id);
            }
            id
        };
        let story = &mut self.story;
        story.last_ns = story.last_ns.max(moment.t_ns);
        let merge = story.moments.len() >= self.bounds.moments;
        if merge {
            story.moments.pop();
            self.store.release(story.numbers.pop().flatten());
            self.merged += 1;
        }
        // Several CPUs write into one ring: records of one connection can arrive out of order.
        let at = story.moments.partition_point(|m| m.t_ns <= moment.t_ns);
        let template = self.store.template(moment);
        self.shapeless += u64::from(template.is_none());
        let (earlier, later) = story.moments.split_at(at);
        mem::swap(&mut self.judged.stages, stages);
        let all = earlier.iter().chain([moment]).chain(later);
        verdict::judge_into(&mut self.judged, key, all, limit);
        mem::swap(&mut self.judged.stages, stages);
        match template {
            Some(template) if later.is_empty() && !merge && !story.timed => {
                self.store.push(id, moment, template);
            }
            _ => {
                story.moments.insert(at, moment.clone());
                story.numbers.insert(at, template);
                self.store.save(id, story);
            }
        }
        Ok(id)
    }

    /// Notes that a moment of this connection was shown; true for the first time.
    pub fn mark_shown(&mut self, id: Id) -> bool {
        let before = self.store.shown(id);
        self.store.mark_shown(id);
        !before
    }

    /// Lets go of the connections of which nothing was heard for so long that nothing will be;
    /// those of which nothing was shown are just forgotten.
    pub fn expire(
        &mut self,
        now_ns: u64,
        limit: Option<SynQueueLimit>,
        mut over: Over<'_>,
    ) -> io::Result<()> {
        while let Some(id) = self.store.first() {
            self.store.load(id, &mut self.story);
            let story = &mut self.story;
            if story.queued_ns.saturating_add(IDLE_NS) > now_ns {
                break;
            }
            if story.last_ns <= story.queued_ns {
                self.pop(id, limit, &mut over)?;
            } else if self.store.has_room() {
                // Back in line; the order is near enough to that of the last moments.
                self.store.requeue();
                story.queued_ns = story.last_ns;
                self.store.save(id, story);
            } else {
                self.forgotten += 1;
                self.pop(id, limit, &mut over)?;
            }
        }
        Ok(())
    }

    /// Lets go of all that are left, in the order in which they began.
    pub fn finish(&mut self, limit: Option<SynQueueLimit>, over: Over<'_>) -> io::Result<()> {
        self.store.seal();
        if let Some(over) = over {
            let store = &mut self.store;
            let mut left = Vec::with_capacity(store.line().filter(|id| store.shown(*id)).count());
            left.extend(store.line().filter(|id| store.shown(*id)));
            left.sort_by(|a, b| {
                let begun = store.begun_ns(*a).cmp(&store.begun_ns(*b));
                begun.then_with(|| store.key(*a).cmp(&store.key(*b)))
            });
            for id in left {
                self.store.load(id, &mut self.story);
                let key = self.store.key(id);
                verdict::judge_into(&mut self.judged, key, &self.story.moments, limit);
                over(&mut self.judged)?;
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
            (Loss::NoTemplate, self.shapeless),
        ]
    }

    /// Lets go of the first in line, before its time.
    fn forget(&mut self, limit: Option<SynQueueLimit>, over: &mut Over<'_>) -> io::Result<()> {
        let Some(id) = self.store.first() else { return Ok(()) };
        self.forgotten += 1;
        self.store.load(id, &mut self.story);
        self.pop(id, limit, over)
    }

    /// Lets go of the first in line, which is unpacked.
    fn pop(&mut self, id: Id, limit: Option<SynQueueLimit>, over: &mut Over<'_>) -> io::Result<()> {
        self.tell(id, limit, over)?;
        self.store.remove_first(&self.story);
        Ok(())
    }

    /// Hands over a connection, which is unpacked, if anything of it was shown.
    fn tell(
        &mut self,
        id: Id,
        limit: Option<SynQueueLimit>,
        over: &mut Over<'_>,
    ) -> io::Result<()> {
        if let Some(over) = over
            && self.store.shown(id)
        {
            let key = self.store.key(id);
            verdict::judge_into(&mut self.judged, key, &self.story.moments, limit);
            over(&mut self.judged)?;
        }
        Ok(())
    }
}

/// Whether a moment is of the client's next connection from the same port: its SYN, or, where those
/// that go well are not seen, its third ACK. The sequence number tells.
fn begins_anew(story: &[Event], moment: &Event) -> bool {
    let Some(new) = isn(moment) else { return false };
    let near = match moment.kind {
        // Sent again, a SYN has the same.
        Kind::Syn => 0,
        // A child was tried, so it lies in the window, which is not scaled before that.
        _ if moment.path.has(Path::SYN_RECV_SOCK_NULL | Path::SYN_RECV_SOCK_CHILD) => 0xffff,
        _ => return false,
    };
    let other = |old: u32| new.wrapping_sub(old).min(old.wrapping_sub(new)) > near;
    let mut known = story.iter().filter_map(isn).peekable();
    known.peek().is_some()
        && known.all(other)
        && story.last().is_some_and(|last| last.t_ns < moment.t_ns)
}

/// The sequence number of the SYN of a connection, as far as this moment shows it.
fn isn(moment: &Event) -> Option<u32> {
    let segment = moment.segment?;
    match moment.kind {
        // By tracepoints a SYN that its connection's request refuses is one too.
        Kind::Syn if !moment.path.has(Path::TP_KFREE_SKB) => Some(segment.seq),
        Kind::Ack if !moment.flags(SYN, 0) => Some(segment.seq.wrapping_sub(1)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
