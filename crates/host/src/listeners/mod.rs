//! Every TCP listener of every network namespace: queues, limits, owner.
//!
//! Read from `sock_diag` and procfs, as `ss` does; nothing is traced.

mod dump;
mod requests;
mod settings;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    io,
    net::SocketAddr,
};

use overflow_core::listeners::{Inventory, Listener, Surroundings, best};

use crate::{
    netns::{self, Namespaces},
    owner,
};

pub use requests::Requests;
pub use settings::sysctls;

/// What is to be known of SYN queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SynQueues {
    /// Their lengths: the kernel goes through all connections of the host for that, in each namespace once
    /// for each family.
    Counted,
    /// Nothing.
    Left,
}

/// Takes the inventory. `wanted` namespaces are looked for harder, see [`Namespace`].
pub fn inventory(wanted: &BTreeSet<u32>) -> io::Result<Inventory> {
    of(&netns::discover(wanted)?, SynQueues::Counted)
}

/// The inventory of namespaces that were found before.
pub(crate) fn of(places: &Namespaces, syn_queues: SynQueues) -> io::Result<Inventory> {
    let mut found = queues(places, syn_queues);
    own(&mut found)?;
    Ok(found.indexed())
}

/// The same without owners, for which no process is looked at.
pub(crate) fn queues(places: &Namespaces, syn_queues: SynQueues) -> Inventory {
    let mut found = Inventory::default();
    let mut refused: BTreeMap<String, usize> = BTreeMap::new();
    let mut fallbacks = BTreeSet::new();
    for (inum, place) in &places.by_inum {
        let seen = place.inside(|| (dump::dump(syn_queues), sysctls(), settings::counters()));
        match seen {
            Ok((Ok(dump), sysctls, counters)) => {
                let surroundings =
                    Surroundings { namespace: place.namespace.clone(), sysctls, counters };
                found.namespaces.insert(*inum, surroundings);
                fallbacks.extend(dump.fallback.clone());
                found.listeners.extend(attributed(*inum, dump));
            }
            Ok((Err(error), ..)) | Err(error) => {
                // A namespace can go away between being found and being entered.
                if error.kind() != io::ErrorKind::NotFound {
                    *refused.entry(error.to_string()).or_default() += 1;
                }
            }
        }
    }
    found.notes.extend(fallbacks);
    for (why, count) in refused {
        found.notes.push(format!(
            "{count} other network namespaces cannot be entered ({why}), so their listeners are \
             missing; run as root, or with CAP_SYS_ADMIN"
        ));
    }
    if places.hidden > 0 {
        found.notes.push(format!(
            "the network namespace of {} is hidden; {}",
            owner::processes(places.hidden),
            owner::what_it_takes("CAP_SYS_PTRACE")
        ));
    }
    found.indexed()
}

/// The listeners of one namespace with their requests.
fn attributed(netns: u32, dump: dump::Dump) -> Vec<Listener> {
    let mut listeners: Vec<Listener> = dump
        .listeners
        .into_iter()
        .map(|f| Listener {
            netns,
            local: f.local,
            v6only: f.v6only,
            inode: f.inode,
            uid: f.uid,
            recv_q: f.recv_q,
            send_q: f.send_q,
            syn_recv: dump.requests.as_ref().map(|_| 0),
            drops: f.drops,
            cgroup_id: f.cgroup_id,
            group: 1,
            owner: None,
        })
        .collect();
    for (server, count) in dump.requests.into_iter().flatten() {
        for i in best(&listeners, 0..listeners.len(), server) {
            *listeners[i].syn_recv.get_or_insert_default() += count;
        }
    }
    let mut groups: HashMap<(SocketAddr, bool), u32> = HashMap::new();
    for listener in &listeners {
        *groups.entry((listener.local, listener.v6only)).or_default() += 1;
    }
    for listener in &mut listeners {
        listener.group = groups[&(listener.local, listener.v6only)];
    }
    listeners.sort_by_key(|l| (l.local.port(), l.local.ip(), l.inode));
    listeners
}

/// Fills in the owners.
fn own(inventory: &mut Inventory) -> io::Result<()> {
    let inodes: HashSet<u64> = inventory.listeners.iter().map(|l| l.inode).collect();
    let mut owners = owner::find(&inodes)?;
    for listener in &mut inventory.listeners {
        let owner = owners.by_inode.remove(&listener.inode);
        // Of a group every process may hold all, and each waits for its own.
        let waits = owners.polled_by.get(&listener.inode).filter(|_| listener.group > 1);
        listener.owner = owner.map(|owner| match waits {
            Some(pids) => owner.only(pids),
            None => owner,
        });
    }
    inventory.tell_members_apart();
    inventory.notes.append(&mut owners.notes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::sockets::TcpSocket;

    #[test]
    fn finds_a_listener_of_this_process_by_its_address() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = socket.local_addr().unwrap();
        let found = inventory(&BTreeSet::new()).unwrap();
        let own = found.namespaces.values().find(|s| s.namespace.own).unwrap();
        let listeners = found.find(own.namespace.inum, server);
        assert_eq!(listeners.len(), 1);
        let pid = std::process::id();
        assert_eq!(listeners[0].owner.as_ref().unwrap().pids, [pid]);
        assert!(found.find(own.namespace.inum + 1, server).is_empty());
    }

    #[test]
    fn requests_go_to_the_best_match_and_to_all_of_a_group() {
        let found = |local: &str, inode| TcpSocket {
            local: local.parse().unwrap(),
            peer: ([0, 0, 0, 0], 0).into(),
            state: 10,
            retransmits: 0,
            v6only: false,
            inode,
            uid: 0,
            recv_q: 0,
            send_q: Some(1),
            drops: None,
            cgroup_id: None,
        };
        let dump = dump::Dump {
            listeners: vec![
                found("0.0.0.0:80", 1),
                found("10.0.0.1:80", 2),
                found("0.0.0.0:80", 3),
            ],
            requests: Some(BTreeMap::from([
                ("10.0.0.1:80".parse().unwrap(), 4),
                ("10.0.0.2:80".parse().unwrap(), 5),
            ])),
            fallback: None,
        };
        let got = |dump| -> Vec<_> {
            attributed(1, dump).iter().map(|l| (l.inode, l.syn_recv, l.group)).collect()
        };
        let uncounted = dump::Dump { requests: None, ..dump.clone() };
        assert_eq!(got(dump), [(1, Some(5), 2), (3, Some(5), 2), (2, Some(4), 1)]);
        assert_eq!(got(uncounted), [(1, None, 2), (3, None, 2), (2, None, 1)]);
    }
}
