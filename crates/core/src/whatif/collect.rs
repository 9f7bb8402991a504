//! A recording's frames -> what it holds of each listener.

use std::{
    collections::{BTreeMap, HashSet},
    io,
};

use overflow_common::{Kind, Path, RawEvent};
use thiserror::Error;

use super::{
    accepts::{self, Reading},
    fate,
    recorded::{Accepts, Arrived, Member, Place, Recorded},
    spacing::Spacing,
};
use crate::{
    cause::evidence::QueueSample,
    connections::{At, Bounds, ConnTable},
    decode::{ConnKey, Decoder, Event},
    hook_point::HookPoint,
    kernel::{Facts, Symbols},
    listeners::{Inventory, Listener, Sysctls},
    recording::{Frame, Header},
    syn_limit::SynLimitEstimator,
    verdict::{Connection, Stage, VerdictId},
};

/// Clients that one answer is made of; of a recording with more a part is to be asked about.
pub const MOST_CLIENTS: usize = 1 << 20;

/// Why a recording cannot answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unanswerable {
    /// Nothing came.
    #[error(
        "the recording holds no handshake with a listener that was asked for, so there is nothing to \
         play again"
    )]
    Empty,
    /// Recorded by the default trace.
    #[error(
        "the recording holds only handshakes that went wrong, and what would have been enough \
         depends on all of them; record them by `overflow trace --all --record FILE`"
    )]
    OnlyOverflows,
    /// More than [`MOST_CLIENTS`].
    #[error(
        "the recording holds more than {MOST_CLIENTS} clients; ask about one listener by -P PORT, or \
         record for a shorter time by `overflow trace --all --duration 60 --record FILE`"
    )]
    TooLong,
}

/// Whether a connection of this listener is asked for, or of one of which nothing is known.
type Wants = dyn Fn(Option<&Listener>, &ConnKey) -> bool;

/// (network namespace, socket or 0, port)
type Key = (u32, u32, u16);

/// Takes a recording's frames.
pub struct Collector {
    decoder: Decoder,
    table: ConnTable,
    limit: SynLimitEstimator,
    inventory: Inventory,
    sockets: BTreeMap<Key, Socket>,
    with_data: HashSet<ConnKey>,
    accept_traced: bool,
    kernel: String,
    jiffies_ns: Option<i64>,
    spacing: Spacing,
    processors: Option<u32>,
    healthy: bool,
    clients: usize,
    begun_before: u64,
    linear: (u64, u64),
    lost: u64,
    period: Option<(u64, u64)>,
    /// Nothing was kept since the last frame.
    gap: bool,
    gaps: u64,
    wants: Box<Wants>,
    stages: Vec<Stage>,
}

/// What is gathered of a socket.
#[derive(Default)]
struct Socket {
    limit: Option<u32>,
    limit_changed: bool,
    defer_accept: u8,
    sysctls: Sysctls,
    address: Option<std::net::SocketAddr>,
    readings: Vec<Reading>,
    accepts: Vec<u64>,
    clients: Vec<Arrived>,
    closed_ns: Option<u64>,
}

impl Collector {
    /// Begins with a recording's header; only what `wants` says is kept.
    pub fn new(
        header: &Header,
        wants: impl Fn(Option<&Listener>, &ConnKey) -> bool + 'static,
    ) -> Self {
        let facts = Facts {
            drop_reasons: header.drop_reasons.clone(),
            reset_reasons: header.reset_reasons.clone(),
            ..Facts::default()
        };
        let ranges = header.symbols.iter().map(|(start, end, name)| (*start, *end, name.as_str()));
        let accept = HookPoint::Accept.as_str();
        Self {
            decoder: Decoder::new(&facts, Symbols::from_ranges(ranges)),
            table: ConnTable::new(Bounds::LIVE),
            limit: SynLimitEstimator::default(),
            inventory: Inventory::default(),
            sockets: BTreeMap::new(),
            with_data: HashSet::new(),
            accept_traced: header.rungs.iter().any(|(m, rung)| m == accept && !rung.is_empty()),
            kernel: header.kernel.clone(),
            jiffies_ns: header.jiffies_ns,
            spacing: Spacing::default(),
            processors: header.processors,
            healthy: false,
            clients: 0,
            begun_before: 0,
            linear: (0, 0),
            lost: 0,
            period: None,
            gap: false,
            gaps: 0,
            wants: Box::new(wants),
            stages: Vec::new(),
        }
    }

    /// Takes the next frame.
    pub fn frame(&mut self, frame: Frame) {
        match frame {
            Frame::Event(raw) => self.event(&raw),
            Frame::Inventory(mut inventory) => {
                // A listener that was closed since is still the one that its clients came to.
                let gone = std::mem::take(&mut self.inventory);
                let known: HashSet<_> =
                    inventory.listeners.iter().map(|l| (l.netns, l.inode)).collect();
                let gone = gone.listeners.into_iter();
                inventory.listeners.extend(gone.filter(|l| !known.contains(&(l.netns, l.inode))));
                self.inventory = inventory.indexed();
            }
            Frame::Opened(listener) => {
                let mut inventory = std::mem::take(&mut self.inventory);
                inventory.listeners.push(*listener);
                self.inventory = inventory.indexed();
            }
            Frame::Losses(losses) => {
                self.lost =
                    losses.iter().filter(|(loss, _)| loss.hides_records()).map(|(_, n)| n).sum();
            }
            Frame::Evidence(evidence) => {
                let key = Key::from((
                    evidence.listener.netns,
                    u32::try_from(evidence.listener.inode).unwrap_or(0),
                    evidence.listener.local.port(),
                ));
                if let Some(socket) = self.sockets.get_mut(&key) {
                    let sample =
                        |s: &QueueSample| Reading { t_ns: s.t_ns, len: s.recv_q, child: false };
                    socket.readings.extend(evidence.queue.iter().map(sample));
                }
            }
            Frame::Tick(t_ns) | Frame::End(t_ns) => self.time(t_ns),
            Frame::Gap(_) => self.gap = true,
            Frame::Aggregates(..) | Frame::Look(_) => {}
        }
    }

    /// Takes a record.
    pub fn event(&mut self, raw: &RawEvent) {
        let Some(event) = self.decoder.decode(raw) else { return };
        if std::mem::take(&mut self.gap) {
            self.restart();
        }
        self.time(event.t_ns);
        self.limit.learn(&event);
        self.healthy |=
            event.kind == Kind::Syn && event.path.has(Path::REQSK_HASHED | Path::TP_SYNACK_REQUEST);
        if event.kind == Kind::Ack && event.segment.is_some_and(|s| s.payload_len > 0) {
            self.with_data.insert(event.conn);
        }
        self.read(&event);
        let limit = self.limit.limit();
        let mut done = Vec::new();
        let mut stages = std::mem::take(&mut self.stages);
        let mut finished = |connection: &mut Connection, at: At| -> io::Result<()> {
            done.push((connection.clone(), at));
            Ok(())
        };
        if let Ok(id) = self.table.add(&event, limit, &mut stages, Some(&mut finished)) {
            self.table.mark_shown(id);
        }
        self.stages = stages;
        for (connection, at) in &done {
            self.client(connection, *at);
        }
    }

    /// What the recording holds.
    pub fn finish(mut self) -> Result<Recorded, Unanswerable> {
        let limit = self.limit.limit();
        let mut done = Vec::new();
        let mut finished = |connection: &mut Connection, at: At| -> io::Result<()> {
            done.push((connection.clone(), at));
            Ok(())
        };
        // It fails only where what it calls does.
        let _ = self.table.finish(limit, Some(&mut finished));
        for (connection, at) in &done {
            self.client(connection, *at);
        }
        if self.clients == 0 {
            return Err(Unanswerable::Empty);
        }
        if self.clients > MOST_CLIENTS {
            return Err(Unanswerable::TooLong);
        }
        if !self.healthy {
            return Err(Unanswerable::OnlyOverflows);
        }
        Ok(self.recorded())
    }

    /// Forgets what was before a gap: neither clients nor accepts can be followed through it.
    fn restart(&mut self) {
        self.table = ConnTable::new(Bounds::LIVE);
        self.sockets.clear();
        self.with_data.clear();
        self.healthy = false;
        (self.clients, self.begun_before) = (0, 0);
        self.period = None;
        self.gaps += 1;
    }

    fn time(&mut self, t_ns: u64) {
        let (from, to) = self.period.unwrap_or((t_ns, t_ns));
        self.period = Some((from.min(t_ns), to.max(t_ns)));
    }

    /// Of which socket, if that one is asked for.
    fn key(&self, conn: &ConnKey, ino: Option<u32>) -> Option<Key> {
        let ino = ino.filter(|ino| *ino != RawEvent::NOT_AT_ADDRESS);
        let known = ino.and_then(|ino| self.inventory.find_socket(conn.netns, ino));
        let listener = known.or_else(|| match &self.inventory.find(conn.netns, conn.server)[..] {
            [one] if ino.is_none() => Some(*one),
            _ => None,
        });
        if !(self.wants)(listener, conn) {
            return None;
        }
        let Some(listener) = listener else {
            return Some((conn.netns, ino.unwrap_or(0), conn.server.port()));
        };
        let ino = u32::try_from(listener.inode).unwrap_or(0);
        Some((conn.netns, ino, listener.local.port()))
    }

    /// The queue at this time, and the settings.
    fn read(&mut self, event: &Event) {
        self.spacing.event(event);
        let Some(key) = self.key(&event.conn, event.ino) else { return };
        let socket = self.sockets.entry(key).or_default();
        if event.kind == Kind::Accept {
            socket.accepts.push(event.t_ns);
            return;
        }
        if !matches!(event.kind, Kind::Syn | Kind::Ack) {
            return;
        }
        socket.address.get_or_insert(event.conn.server);
        if let Some((len, limit)) = event.before.accept {
            let child = event.kind == Kind::Ack && accepts::made_child(event);
            socket.readings.push(Reading { t_ns: event.t_ns, len, child });
            socket.limit_changed |= socket.limit.is_some_and(|before| before != limit);
            socket.limit = Some(limit);
        }
        let sysctls = &mut socket.sysctls;
        sysctls.syncookies = event.syncookies.or(sysctls.syncookies);
        sysctls.abort_on_overflow = event.abort_on_overflow.or(sysctls.abort_on_overflow);
        socket.defer_accept = event.defer_accept.unwrap_or(socket.defer_accept);
    }

    /// A connection, whole.
    fn client(&mut self, connection: &Connection, at: At) {
        let conn =
            ConnKey { netns: at.netns, client: connection.client, server: connection.server };
        let Some(key) = self.key(&conn, at.ino) else { return };
        let closed = connection.stages.iter().find(|s| s.id == VerdictId::LaterListenerClosed);
        if let Some(closed) = closed {
            let before = &mut self.sockets.entry(key).or_default().closed_ns;
            *before = Some(before.map_or(closed.t_ns, |t| t.min(closed.t_ns)));
        }
        let syns = connection.stages.iter().filter(|s| s.id.is_syn());
        let mut syns: Vec<u64> =
            syns.flat_map(|s| s.repeats_ns.iter().copied().chain([s.t_ns])).collect();
        syns.sort_unstable();
        let Some(&syn_ns) = syns.first() else {
            self.begun_before += u64::from(connection.stages.iter().any(|s| s.id.is_ack()));
            return;
        };
        if let [a, b, c, ..] = syns[..] {
            // 1 s and 1 s, or 1 s and 2 s.
            let linear = 2 * (c - b) < 3 * (b - a);
            self.linear.0 += u64::from(linear);
            self.linear.1 += u64::from(!linear);
        }
        let first_ack = connection.stages.iter().position(|s| s.id.is_ack());
        let rtt_ns = first_ack.and_then(|ack| {
            let ack = connection.stages[ack].t_ns;
            syns.iter().rev().find(|syn| **syn <= ack).map(|syn| ack - syn)
        });
        let (fate, child_ns) = fate::of_connection(connection);
        self.clients += 1;
        if self.clients > MOST_CLIENTS {
            return;
        }
        self.sockets.entry(key).or_default().clients.push(Arrived {
            client: connection.client,
            syn_ns,
            rtt_ns,
            sent_data: self.with_data.contains(&conn),
            child_ns,
            fate,
        });
    }

    fn recorded(self) -> Recorded {
        let (spacing_ns, costs) = (self.spacing.usual(), self.spacing.costs());
        let Self { inventory, sockets, accept_traced, period, .. } = self;
        let period_ns = period.unwrap_or_default();
        let mut places: Vec<Place> = Vec::new();
        for ((netns, ino, port), mut socket) in sockets {
            if socket.clients.is_empty() {
                continue;
            }
            socket.clients.sort_by_key(|client| client.syn_ns);
            socket.readings.sort_by_key(|reading| reading.t_ns);
            let listener = inventory.find_socket(netns, ino);
            let address = || socket.address.map(|a| a.to_string());
            let local = listener.map(Listener::place).or_else(address).unwrap_or_default();
            let waiting_before = socket.readings.first().map_or(0, |reading| reading.len);
            let accepts = if accept_traced {
                socket.accepts.sort_unstable();
                Accepts {
                    latest_ns: socket.accepts.clone(),
                    earliest_ns: socket.accepts.clone(),
                    likely_ns: socket.accepts,
                    traced: true,
                }
            } else {
                accepts::between(&socket.readings)
            };
            let member = Member {
                max_ack_backlog: socket.limit.or(listener.and_then(|l| l.send_q)).unwrap_or(0),
                limit_changed: socket.limit_changed,
                defer_accept: socket.defer_accept,
                clients: socket.clients,
                accepts,
                waiting_before,
                closed_ns: socket.closed_ns,
            };
            if let Some(place) = places.iter_mut().find(|p| (p.netns, &p.local) == (netns, &local))
            {
                place.members.push(member);
                continue;
            }
            let there = inventory.namespaces.get(&netns).map(|s| s.sysctls).unwrap_or_default();
            let seen = socket.sysctls;
            places.push(Place {
                netns,
                local,
                port,
                owner: listener.and_then(|l| l.owner.as_ref()).map_or_else(String::new, short),
                sysctls: Sysctls {
                    syncookies: seen.syncookies.or(there.syncookies),
                    abort_on_overflow: seen.abort_on_overflow.or(there.abort_on_overflow),
                    ..there
                },
                members: vec![member],
                period_ns,
            });
        }
        let linear_syns = match self.linear {
            (0, 0) => None,
            (linear, other) => Some(linear > other),
        };
        Recorded {
            kernel: self.kernel,
            syn_queue_limit: self.limit.limit(),
            places,
            linear_syns,
            jiffies_ns: self.jiffies_ns,
            spacing_ns,
            costs,
            processors: self.processors,
            lost: self.lost,
            begun_before: self.begun_before,
            gaps: self.gaps,
        }
    }
}

/// Who holds a listener, in a few words.
fn short(owner: &crate::owner::Owner) -> String {
    owner.main().map_or_else(String::new, |main| format!("{}[{}]", main.comm, main.pid))
}
