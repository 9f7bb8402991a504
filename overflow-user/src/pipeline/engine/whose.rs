//! Whose an event, a count or a connection is: the pipeline's way from a record to its listener.

use std::{io, net::SocketAddr};

use overflow_common::{Kind, RawEvent, Socket};

use super::{Engine, part::concerns};
use crate::{
    pipeline::{
        filter::Filter,
        listener_cache::{Asked, Known, ListenerCache},
        listener_totals::ListenerTotals,
        window::Bounds,
    },
    sink::trace::{Finished, JudgedEvent, Message, Sink},
};
use overflow_core::{
    aggregates::Aggregates,
    clients::{self, Harm, HurtClients},
    connections::{At, ConnTable},
    decode::{Decoder, Event},
    hook_point::{self, About},
    listeners::{Inventory, Listener},
    syn_limit::SynQueueLimit,
    verdict::{Connection, Shown, Stage},
};

/// What is not known of the listener that a record is about.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lacks {
    /// It was never seen.
    pub listener: bool,
    /// Neither who holds it is known, nor who opened it: inode number of the network namespace, and of
    /// the socket.
    pub owner: Option<(u32, u32)>,
}

impl Engine {
    /// The eBPF side has the filter too, and tests the port of the listener itself.
    pub(crate) fn port_is_tested(&mut self) {
        self.options.filter.port_tested = true;
    }

    /// What is not known of the listener that this record is about: itself, by its socket or, if that
    /// is not known, at its address; and whose it is.
    pub(crate) fn lacks(&mut self, event: &RawEvent) -> Lacks {
        let kind = Kind::from_u8(event.kind);
        let about_a_listener = kind.is_some_and(|kind| hook_point::about(kind) == About::Listener);
        let Some((asked, known)) = self.known(event) else { return Lacks::default() };
        let socket = asked.ino.map(|ino| (asked.netns, ino));
        Lacks {
            listener: (about_a_listener || socket.is_some()) && !known.seen,
            owner: socket.filter(|_| known.unowned),
        }
    }

    /// What is known of the listener of a record; `None` where no look would find it.
    fn known(&mut self, event: &RawEvent) -> Option<(Asked, &Known)> {
        let Self { cache, inventory, options, places, table, .. } = self;
        let key = Decoder::connection(event)?;
        if event.ino == RawEvent::NOT_AT_ADDRESS {
            return None;
        }
        let ino = Some(event.ino).filter(|ino| *ino != 0).or_else(|| table.listener(&key));
        let asked = Asked { netns: key.netns, server: key.server, ino };
        Some((asked, cache.find(inventory, places, &options.filter, asked)))
    }

    /// Whether neither who holds this socket is known, nor who opened it.
    pub(crate) fn is_unowned(&self, netns: u32, ino: u32) -> bool {
        let known = self.inventory.find_socket(netns, ino);
        let known = known.or_else(|| self.places.listener(netns, ino));
        known.is_none_or(|listener| listener.owner.is_none())
    }

    /// Takes who called `listen()` on a socket of which no owner is known: whoever is found to hold it
    /// later is its owner instead.
    pub(super) fn opened(&mut self, listener: Listener) {
        let Ok(ino) = u32::try_from(listener.inode) else { return };
        if let Some(at) = self.inventory.find_socket_place(listener.netns, ino) {
            let owner = &mut self.inventory.listeners[at].owner;
            *owner = owner.take().or_else(|| listener.owner.clone());
        }
        self.places.opened(ino, listener);
        self.cache.clear();
    }

    /// Whether this look shows that a queue is not full of which that would be said.
    pub(crate) fn contradicts(&self, inventory: &Inventory) -> bool {
        self.options.accepts && self.places.contradicts(inventory)
    }

    /// Whether any accept queue is full as far as it is known.
    pub(crate) fn any_full(&self) -> bool {
        self.options.accepts && self.places.any_full()
    }

    pub(super) fn aggregates(&mut self, t_ns: u64, aggregates: &Aggregates) {
        self.exact = true;
        self.tell_counts(aggregates);
        let counts = aggregates.sockets(&mut self.decoder, self.limit.limit(), t_ns);
        let Self { places, inventory, cache, options, .. } = self;
        places.kernel_has(&counts.keys().copied().collect());
        for (socket, now) in counts {
            let Some(local) = now.local else { continue };
            let ino = Some(socket.ino).filter(|ino| *ino != 0);
            let asked = Asked { netns: socket.netns, server: local, ino };
            let known = cache.find(inventory, places, &options.filter, asked);
            if !is_meant(inventory, places, &options.filter, &socket, local) {
                continue;
            }
            let key = known.key;
            let place = match places.kernel_number(&socket) {
                Some(place) => place,
                None => known.number(places, local),
            };
            places.look(place, key, local, inventory);
            places.exact(socket, place, now, options.accepts, t_ns);
        }
    }

    /// What an event says of its listener. One that does not know the socket is of the same as those
    /// before it of its connection.
    pub(super) fn asked(&mut self, observed: &Event) -> Asked {
        let conn = observed.conn;
        // Looked up only where it decides.
        let mut known = || self.table.listener(&conn);
        let ino = match observed.kind {
            // Whoever answers by RST need not be whose the handshake was.
            Kind::Reset => known().or(observed.ino),
            Kind::Syn
            | Kind::Ack
            | Kind::SynAckRetransmit
            | Kind::RequestRemoved
            | Kind::ActiveReset
            | Kind::Accept
            | Kind::IcmpError
            | Kind::Destroyed
            | Kind::PeerReset => observed.ino.or_else(known),
        };
        Asked { netns: conn.netns, server: conn.server, ino }
    }

    /// Counts together what is gone, if it is too much.
    pub(super) fn make_room(&mut self) {
        if self.places.make_room() {
            self.cache.clear();
        }
    }

    /// Hands an event to the sinks.
    pub(super) fn hand(&mut self, observed: &Event, stage: &Stage) -> io::Result<()> {
        let asked = self.asked(observed);
        let Self { cache, inventory, options, places, sinks, .. } = self;
        let known = cache.find(inventory, places, &options.filter, asked);
        let listener = |place: &usize| &inventory.listeners[*place];
        let (one, group): ([&Listener; 1], Vec<&Listener>);
        let listeners = match &*known.candidates {
            [] => match known.socket().and_then(|ino| places.listener(asked.netns, ino)) {
                Some(listener) => {
                    one = [listener];
                    &one
                }
                None => &[][..],
            },
            candidates => {
                group = candidates.iter().map(listener).collect();
                &group
            }
        };
        let socket = known.socket().filter(|ino| *ino != RawEvent::NOT_AT_ADDRESS);
        let judged = JudgedEvent { t_ns: observed.t_ns, observed, stage, socket, listeners };
        sinks.handle(Message::Event(&judged))
    }
}

/// Whether any connection to a listener that the kernel side counts can be one that is asked for.
pub(super) fn is_meant(
    inventory: &Inventory,
    places: &ListenerTotals,
    filter: &Filter,
    socket: &Socket,
    local: SocketAddr,
) -> bool {
    let Socket { netns, ino, .. } = *socket;
    if ino != 0 {
        let listener = inventory.find_socket(netns, ino).or_else(|| places.listener(netns, ino));
        return listener.map_or_else(|| filter.stranger(netns, local), |l| filter.listener(l));
    }
    let there = inventory.find(netns, local);
    match &*there {
        [] => filter.address(netns, local) && !filter.by_owner(),
        _ => there.iter().any(|l| filter.listener(l)),
    }
}

/// Whether a record whose address has no known listener is about one all the same: it could have
/// been closed meanwhile. An RST to somebody else's segment is not.
pub(super) fn is_a_listeners(observed: &Event, table: &mut ConnTable) -> bool {
    match hook_point::about(observed.kind) {
        About::Listener | About::Request => true,
        About::Anybody => table.knows(&observed.conn),
    }
}

/// What takes the connections of which nothing more is expected.
pub(super) struct Finishing<'a> {
    sinks: &'a mut Vec<Box<dyn Sink>>,
    wants_connections: bool,
    lost_ns: Option<u64>,
    now_ns: u64,
    bounds: Option<Bounds>,
    cache: &'a mut ListenerCache,
    inventory: &'a Inventory,
    filter: &'a Filter,
    places: &'a mut ListenerTotals,
    clients: &'a mut HurtClients,
}

impl Engine {
    /// What takes finished connections `now_ns`, the connections, and the SYN queue limit that they are
    /// judged by.
    pub(super) fn finishing(
        &mut self,
        now_ns: u64,
    ) -> (Finishing<'_>, &mut ConnTable, Option<SynQueueLimit>) {
        let Self {
            table,
            limit,
            sinks,
            lost_ns,
            bounds,
            cache,
            inventory,
            options,
            places,
            clients,
            ..
        } = self;
        let finishing = Finishing {
            wants_connections: sinks.wants_connections(),
            sinks,
            lost_ns: *lost_ns,
            now_ns,
            bounds: *bounds,
            cache,
            inventory,
            filter: &options.filter,
            places,
            clients,
        };
        (finishing, table, limit.limit())
    }
}

impl Finishing<'_> {
    /// Counts its client if it was hurt, and hands it to the sinks if anything of it was shown.
    pub(super) fn take(&mut self, connection: &mut Connection, at: At) -> io::Result<()> {
        let now_ns = (!at.over).then_some(self.now_ns);
        let hurt = clients::hurt(connection, now_ns);
        if let Some(hurt) = hurt
            && concerns(self.bounds, connection)
        {
            self.clients.count(hurt);
            let asked = Asked { netns: at.netns, server: connection.server, ino: at.ino };
            let key = self.cache.find(self.inventory, self.places, self.filter, asked).key;
            if let Some(counted) = self.places.find(&key) {
                counted.client(hurt);
            }
        }
        if !at.shown || !self.wants_connections {
            return Ok(());
        }
        let tries = hurt.is_some_and(|hurt| hurt.harm == Harm::Waiting);
        self.hand_over(connection, at, tries)
    }

    /// What became of it stays open if that follows only from silence, and some of its records may have
    /// been lost.
    fn hand_over(&mut self, connection: &mut Connection, at: At, tries: bool) -> io::Result<()> {
        let Self { sinks, lost_ns, inventory, places, .. } = self;
        let begun = connection.stages.first().map(|stage| stage.t_ns);
        if lost_ns.is_some_and(|lost| begun.is_none_or(|begun| begun <= lost)) {
            connection.outcome = connection.outcome.filter(|id| id.shown_by() != Shown::Silence);
        }
        let At { netns, ino, .. } = at;
        let listeners = match ino {
            Some(ino) => {
                let listener =
                    inventory.find_socket(netns, ino).or_else(|| places.listener(netns, ino));
                listener.into_iter().collect()
            }
            None => inventory.find(netns, connection.server),
        };
        let only = || u32::try_from(listeners.first()?.inode).ok().filter(|_| listeners.len() == 1);
        let socket = ino.or_else(only);
        let finished = Finished { connection, netns, socket, listeners: &listeners, tries };
        sinks.handle(Message::Connection(&finished))
    }
}
