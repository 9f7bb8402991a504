//! Which listener a connection's is, looked up once for each socket and address.

use std::{collections::HashMap, net::SocketAddr};

use foldhash::fast::RandomState;

use super::{
    filter::Filter,
    listener_totals::{ListenerKey, ListenerTotals},
};
use overflow_core::listeners::{Inventory, Listener};

/// More than these are looked up again.
const MOST: usize = 1 << 14;

/// What an event says of its listener: where its connection goes, and the socket if that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Asked {
    /// Inode number of the network namespace.
    pub netns: u32,
    /// The connection's side of the listener.
    pub server: SocketAddr,
    /// Inode number of the listener's socket.
    pub ino: Option<u32>,
}

/// What is known of it.
#[derive(Debug)]
pub(crate) struct Known {
    /// Whose its counts are.
    pub key: ListenerKey,
    /// Whether its listener was seen, now or while it lived.
    pub seen: bool,
    /// Whether it is one socket of which no owner is known.
    pub unowned: bool,
    /// Where those are in the inventory that it can be, if nothing tells them apart.
    pub candidates: Vec<usize>,
    /// Whether the filter takes it.
    pub meant: bool,
    /// The number of its counts.
    pub number: Option<usize>,
}

/// What was looked up in one inventory.
#[derive(Debug, Default)]
pub(crate) struct ListenerCache {
    known: Vec<Known>,
    numbers: HashMap<Asked, usize, RandomState>,
    latest: Option<(Asked, usize)>,
}

impl ListenerCache {
    /// What is known of the listener of such an event.
    pub(crate) fn find(
        &mut self,
        inventory: &Inventory,
        totals: &ListenerTotals,
        filter: &Filter,
        asked: Asked,
    ) -> &mut Known {
        let number = match self.latest {
            Some((latest, number)) if latest == asked => number,
            _ => self.number(inventory, totals, filter, asked),
        };
        self.latest = Some((asked, number));
        &mut self.known[number]
    }

    /// Forgets all: there is another inventory, or counts have other numbers.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    fn number(
        &mut self,
        inventory: &Inventory,
        totals: &ListenerTotals,
        filter: &Filter,
        asked: Asked,
    ) -> usize {
        if let Some(number) = self.numbers.get(&asked) {
            return *number;
        }
        if self.known.len() >= MOST {
            self.clear();
        }
        self.known.push(look(inventory, totals, filter, asked));
        self.numbers.insert(asked, self.known.len() - 1);
        self.known.len() - 1
    }
}

impl Known {
    /// The number of its counts.
    pub(crate) fn number(&mut self, totals: &mut ListenerTotals, server: SocketAddr) -> usize {
        *self.number.get_or_insert_with(|| totals.number(self.key, server))
    }

    /// The socket, if it is known.
    pub(crate) fn socket(&self) -> Option<u32> {
        match self.key {
            ListenerKey::Socket(_, ino) => Some(ino),
            ListenerKey::Address(..) | ListenerKey::Closed(..) | ListenerKey::Elsewhere => None,
        }
    }
}

fn look(inventory: &Inventory, totals: &ListenerTotals, filter: &Filter, asked: Asked) -> Known {
    let Asked { netns, server, ino } = asked;
    let socket = |ino, found: bool, listener: Option<&Listener>| Known {
        key: ListenerKey::Socket(netns, ino),
        seen: found || listener.is_some_and(|l| !l.owner.as_ref().is_some_and(|o| o.called_listen)),
        unowned: listener.is_none_or(|l| l.owner.is_none()),
        candidates: Vec::new(),
        meant: listener
            .map_or_else(|| filter.stranger(netns, server), |l| filter.connection(l, server)),
        number: None,
    };
    if let Some(ino) = ino {
        // What was learnt of it while it lived stays true.
        let listener = inventory.find_socket(netns, ino);
        let found = listener.is_some();
        return socket(ino, found, listener.or_else(|| totals.listener(netns, ino)));
    }
    let candidates = inventory.find_places(netns, server);
    let group: Vec<&Listener> = candidates.iter().map(|i| &inventory.listeners[*i]).collect();
    if let [one] = *group
        && let Ok(ino) = u32::try_from(one.inode)
    {
        return socket(ino, true, Some(one));
    }
    Known {
        key: ListenerKey::Address(netns, group.first().map_or(server, |l| l.local)),
        seen: !group.is_empty(),
        unowned: false,
        candidates,
        meant: filter.address(netns, server) && filter.owner(&group),
        number: None,
    }
}
