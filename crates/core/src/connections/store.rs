//! Histories by connection, packed: a connection is a block, with more of them if its events do not
//! fit; all connections stand in one least-recently-used list.

use std::{
    hash::BuildHasher,
    iter,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use foldhash::fast::RandomState;

use super::{
    Bounds,
    blocks::{Blocks, Id, NONE, number, set_number},
    index::Index,
    packed_event::{self, Earlier},
    servers::Servers,
    template::{Template, Templates},
};
use crate::decode::{ConnKey, Event};

/// Blocks that must be left before a history gets longer: as many as one event can need.
pub(crate) const RESERVE: usize = Blocks::needed(packed_event::LONGEST + REST_OF_IPV6 + TIMES) + 1;
/// Events that fit into any history.
pub(crate) const MOST_EVENTS: usize =
    (Blocks::LONGEST - REST_OF_IPV6 - TIMES) / packed_event::LONGEST;

/// A block's head: the client's address (of IPv6, its first four bytes) and port, the server's
/// number, and the next connection in the list.
const ADDRESS: usize = 0;
const PORT: usize = 4;
const SERVER: usize = 6;
const NEXT: usize = 9;

/// The head's flags. Something of it was shown.
const SHOWN: u8 = 1;
/// The client's address goes on in the first bytes of the text.
const IPV6: u8 = 2;
/// The history's times do not follow from its events, and stand before these.
const TIMED: u8 = 4;
/// Its client was hurt, or may have been.
const HURT: u8 = 8;

/// Bytes of an IPv6 address that are in the text, and of times.
const REST_OF_IPV6: usize = 12;
const TIMES: usize = 16;

/// One connection's events, unpacked.
#[derive(Default)]
pub(crate) struct History {
    /// In order of time.
    pub events: Vec<Event>,
    /// The number of each one's template; `None` for one that is not to be kept.
    pub numbers: Vec<Option<u32>>,
    /// When the connection got into the list, nanoseconds.
    pub queued_ns: u64,
    /// When its latest event was, nanoseconds.
    pub last_ns: u64,
    /// Whether these times are stored, and are not those of the first event and the last.
    pub timed: bool,
}

/// The histories.
pub(crate) struct Store {
    blocks: Blocks,
    index: Index,
    hasher: RandomState,
    servers: Servers,
    templates: Templates,
    first: Id,
    last: Id,
    len: usize,
    connections: usize,
    /// What times are counted from.
    base_ns: u64,
    /// What a later event of the history that was unpacked last is packed as a difference from.
    end: Earlier,
    text: Vec<u8>,
    buffer: Vec<u8>,
}

impl Store {
    /// Nothing yet.
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            blocks: Blocks::new(bounds.blocks.max(2 * RESERVE)),
            index: Index::new(bounds.connections),
            hasher: RandomState::default(),
            servers: Servers::new(bounds.servers),
            templates: Templates::new(bounds.templates),
            first: NONE,
            last: NONE,
            len: 0,
            connections: bounds.connections.max(1),
            base_ns: 0,
            text: Vec::new(),
            end: Earlier::default(),
            buffer: Vec::new(),
        }
    }

    /// Whether there is room for an event more, of whatever connection.
    pub(crate) fn has_room(&self) -> bool {
        self.blocks.left() >= RESERVE
    }

    /// Whether there is room for a connection more, to this server.
    pub(super) fn takes(&mut self, key: &ConnKey) -> bool {
        self.len < self.connections && self.servers.take((key.netns, key.server))
    }

    /// The connection with this key.
    pub(super) fn find(&mut self, key: &ConnKey) -> Option<Id> {
        let server = self.servers.find((key.netns, key.server))?;
        let hash = self.hash(key.client, server);
        self.index.find(hash, |id| {
            let head = self.blocks.head(id);
            number(head, SERVER) == server && self.client(id) == key.client
        })
    }

    /// Reads what finding this connection will read, to have it in the processor's cache then. The
    /// result means nothing.
    pub(super) fn touch(&self, key: &ConnKey) -> u8 {
        let server = self.servers.latest(&(key.netns, key.server));
        let hash = server.map(|server| self.hash(key.client, server));
        hash.and_then(|hash| self.index.guess(hash)).map_or(0, |id| self.blocks.head(id)[ADDRESS])
    }

    /// Adds a connection that is not there, at the end of the list. There must be room.
    pub(super) fn begin(&mut self, key: &ConnKey, t_ns: u64, history: &mut History) -> Id {
        if self.len == 0 {
            self.base_ns = t_ns;
        }
        let server = self.servers.number((key.netns, key.server));
        let id = self.blocks.take();
        self.text.clear();
        let first = match key.client.ip() {
            IpAddr::V4(ip) => ip.octets(),
            IpAddr::V6(ip) => {
                let octets = ip.octets();
                self.text.extend_from_slice(&octets[4..]);
                self.blocks.set_flags(id, IPV6);
                [octets[0], octets[1], octets[2], octets[3]]
            }
        };
        let head = self.blocks.head_mut(id);
        head[ADDRESS..PORT].copy_from_slice(&first);
        head[PORT..SERVER].copy_from_slice(&key.client.port().to_le_bytes());
        set_number(head, SERVER, server);
        self.blocks.set_text(id, &self.text);
        self.join(id);
        self.len += 1;
        if self.index.is_full() {
            self.rebuild();
        } else {
            self.index.insert(self.hash(key.client, server), id);
        }
        history.events.clear();
        history.numbers.clear();
        (history.queued_ns, history.last_ns, history.timed) = (t_ns, t_ns, false);
        self.end = Earlier { t_ns: self.base_ns, seq: 0 };
        id
    }

    /// Whose connection it is.
    pub(super) fn key(&self, id: Id) -> ConnKey {
        let (netns, server) = self.servers.server(number(self.blocks.head(id), SERVER));
        ConnKey { netns, client: self.client(id), server }
    }

    /// Unpacks a history.
    pub(super) fn load(&mut self, id: Id, history: &mut History) {
        history.events.clear();
        history.numbers.clear();
        let conn = self.key(id);
        let text = self.blocks.text(id, &mut self.buffer);
        let (mut at, times) = preface(self.blocks.flags(id), text);
        let mut earlier = Earlier { t_ns: self.base_ns, seq: 0 };
        while at < text.len() {
            let number = packed_event::number(text, &mut at);
            let template = self.templates.template(number);
            history.events.push(packed_event::read(text, &mut at, template, conn, &mut earlier));
            history.numbers.push(Some(number));
        }
        let ends = history.events.first().zip(history.events.last());
        let ends = ends.map(|(first, last)| (first.t_ns, last.t_ns));
        history.timed = times.is_some();
        (history.queued_ns, history.last_ns) = times.or(ends).unwrap_or_default();
        self.end = earlier;
    }

    /// Adds an event to the end of a history, or begins it, without unpacking it: only one that is
    /// later than all of it, and while it has fewer than so many. There must be room.
    pub(super) fn append(&mut self, id: Id, event: &Event, most: usize) -> bool {
        let flags = self.blocks.flags(id);
        let text = self.blocks.text(id, &mut self.buffer);
        let (mut at, _) = preface(flags, text);
        let mut earlier = Earlier { t_ns: self.base_ns, seq: 0 };
        let mut events = 0;
        while at < text.len() {
            let template = self.templates.template(packed_event::number(text, &mut at));
            packed_event::skip(text, &mut at, template, &mut earlier);
            events += 1;
        }
        let later = events == 0 || earlier.t_ns < event.t_ns;
        if flags & TIMED != 0 || !later || events >= most {
            return false;
        }
        let template = Template::of(event);
        let Some(number) = self.templates.number(&template) else { return false };
        self.text.clear();
        packed_event::write(&mut self.text, number, &template, event, &mut earlier);
        self.blocks.push_text(id, &self.text, &mut self.buffer);
        true
    }

    /// Inode number of the listener's socket in the last event that has it, without unpacking.
    pub(super) fn listener(&mut self, id: Id) -> Option<u32> {
        let flags = self.blocks.flags(id);
        let text = self.blocks.text(id, &mut self.buffer);
        let (mut at, _) = preface(flags, text);
        let mut earlier = Earlier::default();
        let mut ino = None;
        while at < text.len() {
            let template = self.templates.template(packed_event::number(text, &mut at));
            packed_event::skip(text, &mut at, template, &mut earlier);
            ino = template.ino.or(ino);
        }
        ino
    }

    /// Adds an event of this template to the end of the history that was unpacked, or begun, just
    /// before, and that is not timed. There must be room.
    pub(super) fn push(&mut self, id: Id, event: &Event, template: u32) {
        self.text.clear();
        let mut end = self.end;
        packed_event::write(
            &mut self.text,
            template,
            self.templates.template(template),
            event,
            &mut end,
        );
        self.blocks.push_text(id, &self.text, &mut self.buffer);
    }

    /// Packs a history anew. There must be room.
    pub(super) fn save(&mut self, id: Id, history: &History) {
        let kept =
            || history.events.iter().zip(&history.numbers).filter_map(|(m, n)| Some((m, (*n)?)));
        let ends = kept().next().zip(kept().next_back());
        let ends = ends.map(|((first, _), (last, _))| (first.t_ns, last.t_ns));
        let timed = ends != Some((history.queued_ns, history.last_ns));
        let flags = self.blocks.flags(id);
        self.text.clear();
        if flags & IPV6 != 0 {
            self.text.extend_from_slice(&self.blocks.beginning(id)[..REST_OF_IPV6]);
        }
        if timed {
            self.text.extend_from_slice(&history.queued_ns.to_le_bytes());
            self.text.extend_from_slice(&history.last_ns.to_le_bytes());
        }
        self.blocks.set_flags(id, flags & !TIMED | if timed { TIMED } else { 0 });
        let mut end = Earlier { t_ns: self.base_ns, seq: 0 };
        for (event, number) in kept() {
            let template = self.templates.template(number);
            packed_event::write(&mut self.text, number, template, event, &mut end);
        }
        self.blocks.set_text(id, &self.text);
    }

    /// Empties the history that was unpacked just before, for the next connection with the same
    /// key. Its place in the list stays; it must be packed anew.
    pub(crate) fn restart(&mut self, id: Id, t_ns: u64, history: &mut History) {
        history.numbers.iter().for_each(|template| self.release(*template));
        history.events.clear();
        history.numbers.clear();
        (history.last_ns, history.timed) = (t_ns, true);
        self.blocks.set_flags(id, self.blocks.flags(id) & !(SHOWN | HURT));
    }

    /// The number of an event's template, which one event more has now; `None` if there are too
    /// many templates.
    pub(super) fn template(&mut self, event: &Event) -> Option<u32> {
        self.templates.number(&Template::of(event))
    }

    /// One event less has this template.
    pub(super) fn release(&mut self, template: Option<u32>) {
        if let Some(number) = template {
            self.templates.release(number);
        }
    }

    /// The least recently used.
    pub(super) fn first(&self) -> Option<Id> {
        (self.first != NONE).then_some(self.first)
    }

    /// All, the least recently used first.
    pub(crate) fn lru(&self) -> impl Iterator<Item = Id> {
        let next = |id: &Id| Some(number(self.blocks.head(*id), NEXT)).filter(|id| *id != NONE);
        iter::successors(self.first(), next)
    }

    /// Moves the least recently used to the end.
    pub(crate) fn requeue(&mut self) {
        let id = self.first;
        self.leave();
        self.join(id);
    }

    /// Removes the least recently used, whose history this is.
    pub(crate) fn remove_first(&mut self, history: &History) {
        let id = self.first;
        let server = number(self.blocks.head(id), SERVER);
        self.index.remove(self.hash(self.client(id), server), id);
        history.numbers.iter().for_each(|template| self.release(*template));
        self.servers.release(server);
        self.leave();
        self.blocks.give(id);
        self.len -= 1;
    }

    /// Whether anything of it was shown.
    pub(super) fn shown(&self, id: Id) -> bool {
        self.blocks.flags(id) & SHOWN != 0
    }

    /// Notes that something of it was shown.
    pub(super) fn mark_shown(&mut self, id: Id) {
        self.blocks.set_flags(id, self.blocks.flags(id) | SHOWN);
    }

    /// Whether its client was hurt.
    pub(super) fn hurt(&self, id: Id) -> bool {
        self.blocks.flags(id) & HURT != 0
    }

    /// Notes that its client was hurt.
    pub(super) fn mark_hurt(&mut self, id: Id) {
        self.blocks.set_flags(id, self.blocks.flags(id) | HURT);
    }

    /// When its first event was that is kept, nanoseconds.
    pub(super) fn begun_ns(&mut self, id: Id) -> Option<u64> {
        let text = self.blocks.text(id, &mut self.buffer);
        let (mut at, _) = preface(self.blocks.flags(id), text);
        (at < text.len()).then(|| {
            packed_event::number(text, &mut at);
            packed_event::time(text, &mut at, self.base_ns)
        })
    }

    /// Gives the memory back by which connections are found. From here on, none is.
    pub(super) fn seal(&mut self) {
        self.index.clear();
    }

    fn client(&self, id: Id) -> SocketAddr {
        let head = self.blocks.head(id);
        let [a, b, c, d] = [0, 1, 2, 3].map(|i| head[ADDRESS + i]);
        let port = u16::from_le_bytes([head[PORT], head[PORT + 1]]);
        if self.blocks.flags(id) & IPV6 == 0 {
            return SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), port);
        }
        let mut octets = [0; 16];
        octets[..4].copy_from_slice(&[a, b, c, d]);
        // A text begins in its first block, and no shorter than this.
        octets[4..].copy_from_slice(&self.blocks.beginning(id)[..REST_OF_IPV6]);
        SocketAddr::new(Ipv6Addr::from(octets).into(), port)
    }

    fn hash(&self, client: SocketAddr, server: u32) -> u64 {
        let place = u64::from(client.port()) << 32 | u64::from(server);
        match client.ip() {
            IpAddr::V4(ip) => self.hasher.hash_one((u32::from(ip), place)),
            IpAddr::V6(ip) => self.hasher.hash_one((u128::from(ip), place)),
        }
    }

    /// In the order of the list, which is that of memory.
    fn rebuild(&mut self) {
        let mut index = std::mem::replace(&mut self.index, Index::new(0));
        index.rebuild(
            self.len,
            self.lru().map(|id| {
                let server = number(self.blocks.head(id), SERVER);
                (self.hash(self.client(id), server), id)
            }),
        );
        self.index = index;
    }

    fn join(&mut self, id: Id) {
        set_number(self.blocks.head_mut(id), NEXT, NONE);
        if self.last == NONE {
            self.first = id;
        } else {
            set_number(self.blocks.head_mut(self.last), NEXT, id);
        }
        self.last = id;
    }

    fn leave(&mut self) {
        self.first = number(self.blocks.head(self.first), NEXT);
        if self.first == NONE {
            self.last = NONE;
        }
    }
}

/// Where the events begin in a text with these flags, and the times if they stand before them.
fn preface(flags: u8, text: &[u8]) -> (usize, Option<(u64, u64)>) {
    let at = if flags & IPV6 == 0 { 0 } else { REST_OF_IPV6 };
    if flags & TIMED == 0 {
        return (at, None);
    }
    let time = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&text[at..at + 8]);
        u64::from_le_bytes(bytes)
    };
    (at + TIMES, Some((time(at), time(at + 8))))
}
