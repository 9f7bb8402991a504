//! ListenerCache a connection is, looked up once for each address that connections go to.

use std::{collections::HashMap, net::SocketAddr};

use foldhash::fast::RandomState;

use super::{filter::Filter, listener_totals::ListenerTotals};
use overflow_core::listeners::{Inventory, Listener};

/// More addresses than these are looked up again.
const MOST: usize = 1 << 14;

/// What is known of an address.
#[derive(Debug)]
pub(crate) struct Known {
    /// Where its listeners are in the inventory: one, or all that share it; none if unknown.
    pub listeners: Vec<usize>,
    /// Whether the filter takes it.
    pub meant: bool,
    /// The number of its place.
    pub place: Option<usize>,
}

/// Addresses that were looked up in one inventory.
#[derive(Debug, Default)]
pub(crate) struct ListenerCache {
    known: Vec<Known>,
    numbers: HashMap<(u32, SocketAddr), usize, RandomState>,
    latest: Option<((u32, SocketAddr), usize)>,
}

impl ListenerCache {
    /// What is known of `server` in `netns`.
    pub(crate) fn find(
        &mut self,
        inventory: &Inventory,
        filter: &Filter,
        netns: u32,
        server: SocketAddr,
    ) -> &mut Known {
        let key = (netns, server);
        let number = match self.latest {
            Some((latest, number)) if latest == key => number,
            _ => self.number(inventory, filter, key),
        };
        self.latest = Some((key, number));
        &mut self.known[number]
    }

    /// Forgets all: there is another inventory.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    fn number(&mut self, inventory: &Inventory, filter: &Filter, key: (u32, SocketAddr)) -> usize {
        if let Some(number) = self.numbers.get(&key) {
            return *number;
        }
        if self.known.len() >= MOST {
            self.clear();
        }
        let (netns, server) = key;
        let listeners = inventory.find_places(netns, server);
        let group: Vec<&Listener> = listeners.iter().map(|i| &inventory.listeners[*i]).collect();
        let meant = filter.address(netns, server) && filter.owner(&group);
        self.known.push(Known { listeners, meant, place: None });
        self.numbers.insert(key, self.known.len() - 1);
        self.known.len() - 1
    }
}

impl Known {
    /// The number of the place where its connections are counted.
    pub(crate) fn place(
        &mut self,
        inventory: &Inventory,
        places: &mut ListenerTotals,
        netns: u32,
        server: SocketAddr,
    ) -> usize {
        *self.place.get_or_insert_with(|| {
            let first = self.listeners.first().map(|i| inventory.listeners[*i].local);
            places.number((netns, first.unwrap_or(server)))
        })
    }
}
