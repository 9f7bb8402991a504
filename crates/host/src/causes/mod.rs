//! Why a listener is full: its holders are looked at twice, a short time apart.
//!
//! Everything here is read from procfs, cgroupfs and `sock_diag`, and is bounded: so many listeners,
//! processes, threads and descriptors in one look. What it means is judged by
//! [`overflow_core::cause`].

mod calls;
mod cgroups;
mod descriptors;
mod holders;
mod queue;
mod threads;

use std::{
    collections::{BTreeMap, HashMap},
    io, thread,
};

use overflow_core::{
    cause::{Evidence, Waiter, evidence::Member},
    listeners::{Inventory, Listener, forecast},
    model::features::Features,
};

use self::{
    cgroups::Hierarchies,
    holders::Held,
    queue::{Asked, Sampled},
};
use crate::{clock::monotonic_ns, model_kernel, netns::Namespaces};

/// Listeners of one look; the others wait for the next.
pub const LISTENERS: usize = 16;
/// Listeners of which is remembered who waited on them.
const REMEMBERED: usize = 4096;

/// A listener: the inode numbers of its network namespace and of its socket.
pub type Socket = (u32, u64);

/// Looks at holders, and remembers who waited on which socket.
#[derive(Clone, Debug, Default)]
pub(crate) struct Investigator {
    hierarchies: Option<Hierarchies>,
    /// What this kernel's SYN queue limit follows from.
    features: Option<Features>,
    waited: HashMap<Socket, Vec<Waiter>>,
}

impl Investigator {
    /// One that knows this kernel, as far as the model does.
    pub(crate) fn new() -> Self {
        let features = model_kernel::model_kernel().ok().map(|kernel| kernel.features);
        Self { features, ..Self::default() }
    }

    /// Looks at the first [`LISTENERS`] of these that are there, for a second at most.
    pub(crate) fn look(
        &mut self,
        places: &Namespaces,
        inventory: &Inventory,
        sockets: &[Socket],
    ) -> io::Result<Vec<Evidence>> {
        let hierarchies = self.hierarchies.get_or_insert_with(Hierarchies::mounted).clone();
        let of = |(netns, inode): &Socket| {
            inventory.listeners.iter().find(|l| l.netns == *netns && l.inode == *inode)
        };
        let listeners: Vec<&Listener> = sockets.iter().filter_map(of).take(LISTENERS).collect();
        let file_table = descriptors::file_table();
        let began_ns = monotonic_ns();
        let known = listeners.iter().filter_map(|l| self.waited.get(&(l.netns, l.inode)));
        let known: Vec<Waiter> = known.flatten().cloned().collect();
        let held = Held::first(&listeners, &known, &hierarchies);
        let sampled = self.sampled(places, inventory, &listeners)?;
        let apart_ns = monotonic_ns().saturating_sub(began_ns);
        let held = held.second(&hierarchies);
        let mut found = Vec::new();
        for (listener, sampled) in listeners.iter().zip(sampled) {
            let Some(seen) = &sampled.last else { continue };
            let socket = (listener.netns, listener.inode);
            let waited = self.waited.get(&socket).cloned().unwrap_or_default();
            let (holders, mut unread) = held.of(listener);
            if listener.owner.is_none() {
                // The last ones are about owners.
                unread.extend(inventory.notes.iter().rev().cloned());
            }
            let there = inventory.namespaces.get(&listener.netns);
            let now = Listener {
                recv_q: seen.recv_q,
                send_q: seen.send_q,
                syn_recv: Some(sampled.syn_recv),
                drops: seen.drops,
                ..(*listener).clone()
            };
            let evidence = Evidence {
                t_ns: monotonic_ns(),
                apart_ns,
                syn_queue_limit: self.syn_queue_limit(inventory, listener),
                sysctls: there.map(|s| s.sysctls).unwrap_or_default(),
                members: members(inventory, listener, &sampled),
                listener: now,
                queue: sampled.queue,
                waiting: sampled.waiting,
                rises: sampled.rises,
                resent: sampled.resent,
                holders,
                waited,
                file_table,
                unread,
            };
            self.remember(socket, holders::waiters(&evidence.holders, evidence.t_ns));
            found.push(evidence);
        }
        Ok(found)
    }

    /// Remembers who waits on these listeners now, so that a later look knows whose work it is to
    /// accept. Looks at each process once, and at no more than a look may.
    pub(crate) fn acquaint(&mut self, listeners: &[&Listener]) {
        let hierarchies = Hierarchies::default();
        let seen = Held::first(listeners, &[], &hierarchies).second(&hierarchies);
        for listener in listeners {
            let waiting = holders::waiters(&seen.of(listener).0, monotonic_ns());
            self.remember((listener.netns, listener.inode), waiting);
        }
    }

    /// Who was seen last is known; where nobody was, what was known stays.
    fn remember(&mut self, socket: Socket, waiting: Vec<Waiter>) {
        if !waiting.is_empty()
            && (self.waited.len() < REMEMBERED || self.waited.contains_key(&socket))
        {
            self.waited.insert(socket, waiting);
        }
    }

    /// Whether its SYN queue is full, as far as that is known.
    pub(crate) fn syn_queue_full(&self, inventory: &Inventory, listener: &Listener) -> bool {
        listener.syn_queue_full(self.syn_queue_limit(inventory, listener))
    }

    fn syn_queue_limit(&self, inventory: &Inventory, listener: &Listener) -> Option<u32> {
        let sysctls = inventory.namespaces.get(&listener.netns)?.sysctls;
        forecast(self.features.as_ref()?, listener, &sysctls, None).syn_queue_limit
    }

    /// Samples the queues, each namespace's from inside it and all at the same time.
    fn sampled(
        &self,
        places: &Namespaces,
        inventory: &Inventory,
        listeners: &[&Listener],
    ) -> io::Result<Vec<Sampled>> {
        let mut by_netns: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (i, listener) in listeners.iter().enumerate() {
            by_netns.entry(listener.netns).or_default().push(i);
        }
        let mut sampled: Vec<Sampled> = vec![Sampled::default(); listeners.len()];
        let asked = |i: &usize| Asked {
            listener: listeners[*i],
            inventory,
            syn_queue_limit: self.syn_queue_limit(inventory, listeners[*i]),
        };
        thread::scope(|scope| -> io::Result<()> {
            let looking: Vec<_> = by_netns
                .iter()
                .filter_map(|(netns, which)| Some((places.by_inum.get(netns)?, which)))
                .map(|(place, which)| {
                    let asked: Vec<Asked> = which.iter().map(asked).collect();
                    (which, scope.spawn(move || place.inside(|| queue::sample(&asked))))
                })
                .collect();
            for (which, looking) in looking {
                let failed = |_| io::Error::other("the thread that looks at queues failed");
                let found = looking.join().map_err(failed)?;
                // A namespace may have gone meanwhile, and its listeners with it.
                let Ok(found) = found else { continue };
                for (i, found) in which.iter().zip(found?) {
                    sampled[*i] = found;
                }
            }
            Ok(())
        })?;
        Ok(sampled)
    }
}

/// The other listeners of its group.
fn members(inventory: &Inventory, listener: &Listener, sampled: &Sampled) -> Vec<Member> {
    let owner = |inode: u64| {
        let group = || inventory.group(listener);
        let of = group().find(|member| member.inode == inode);
        of.and_then(|member| member.owner.as_ref()).map_or_else(|| "?".to_owned(), |o| o.short(40))
    };
    let others = sampled.others.iter();
    let member = |s: &crate::sockets::TcpSocket| Member {
        inode: s.inode,
        recv_q: s.recv_q,
        send_q: s.send_q,
        owner: owner(s.inode),
    };
    others.map(member).collect()
}
