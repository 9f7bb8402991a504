//! What happened where: counts by listening socket.

use std::{
    collections::{BTreeMap, HashSet},
    net::SocketAddr,
};

use overflow_common::Kind;

use super::{kernel_counts::KernelCounts, remembered::Remembered};
use crate::sink::trace::{Full, Totals, Waits};
use overflow_core::{
    aggregates::ListenerCounts,
    cause::CauseId,
    clients::Hurt,
    decode::Event,
    listeners::{Inventory, Listener, Sysctls},
    verdict::VerdictId,
};

/// Sockets that are gone and are still told apart. Of more, those that were quiet for longest are
/// counted together by where they listened.
const GONE: usize = 512;
/// Places whose sockets are gone, told apart. More are counted together.
const PLACES: usize = 4096;
/// More at any time are not told apart, whether they are gone or not.
const MOST: usize = 1 << 16;

/// Whose numbers are counted together, with the inode number of the network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum ListenerKey {
    /// A socket's, by its inode number.
    Socket(u32, u32),
    /// Of an address, where it is not known which of its sockets it was.
    Address(u32, SocketAddr),
    /// Of sockets at an address that are gone; whether they took IPv6 alone.
    Closed(u32, SocketAddr, bool),
    /// Of sockets that are gone, at any address.
    Elsewhere,
}

/// What happened at one listener, in all and since the last aggregates were shown.
pub(crate) struct Counted {
    /// Since tracing began.
    pub total: Totals,
    /// Since the last aggregates.
    pub recent: Totals,
    /// The listener as it was last seen, which can be long ago; several where it is not known which
    /// it is.
    pub listeners: Vec<Listener>,
    /// Where it listens, or where connections to it go if it is not known.
    pub local: SocketAddr,
    /// Settings of its namespace.
    pub sysctls: Option<Sysctls>,
    /// Whether the last look found it.
    pub open: bool,
    /// How many sockets these numbers are of.
    pub sockets: u64,
    /// The number of the inventory from which the listeners are.
    inventory: u64,
    /// When something last happened here, in frames.
    last: u64,
}

impl Counted {
    fn new(local: SocketAddr) -> Self {
        Self {
            total: Totals::default(),
            recent: Totals::default(),
            listeners: Vec::new(),
            local,
            sysctls: None,
            open: false,
            sockets: 1,
            inventory: 0,
            last: 0,
        }
    }

    /// Counts a verdict.
    pub(crate) fn verdict(&mut self, id: VerdictId) {
        for totals in [&mut self.total, &mut self.recent] {
            let sum = totals.verdicts.entry(id).or_default();
            *sum = sum.saturating_add(1);
        }
    }

    /// Counts a connection that its client alone believes established.
    pub(crate) fn phantom(&mut self) {
        self.total.phantoms += 1;
        self.recent.phantoms += 1;
    }

    /// Takes the queue of a listener that is there as it was looked at: it can have become shorter
    /// unseen. Where accept() is in sight, what is counted is newer.
    fn looked(&mut self) {
        let Some(queue) = self.listeners.first().and_then(|l| Some((l.recv_q, l.send_q?))) else {
            return;
        };
        for totals in [&mut self.total, &mut self.recent].into_iter().filter(|_| self.open) {
            if totals.full.is_none() && totals.recv_q.is_some() {
                totals.recv_q = Some(queue);
                totals.recv_q_max = totals.recv_q_max.max(Some(queue.0));
            }
        }
    }

    /// Counts a client that was refused for the first time.
    pub(crate) fn hurt(&mut self) {
        self.total.hurt += 1;
        self.recent.hurt += 1;
    }

    /// Counts what became of a client that was hurt.
    pub(crate) fn client(&mut self, hurt: Hurt) {
        self.total.clients.count(hurt);
    }

    /// Counts for how long its queue was full, nanoseconds.
    pub(crate) fn full_for(&mut self, cause: CauseId, ns: u64) {
        for totals in [&mut self.total, &mut self.recent] {
            let sum = totals.full_by_cause.entry(cause).or_default();
            *sum = sum.saturating_add(ns);
        }
    }

    /// Counts what an event shows of the queues.
    pub(crate) fn event(&mut self, event: &Event) {
        for totals in [&mut self.total, &mut self.recent] {
            totals.synack_retransmits += u64::from(event.kind == Kind::SynAckRetransmit);
            for queue in [Some(&event.before), event.after.as_ref()].into_iter().flatten() {
                if let Some((len, limit)) = queue.accept {
                    totals.recv_q_max = totals.recv_q_max.max(Some(len));
                    totals.recv_q = Some((len, limit));
                }
                totals.syn_queue_max = totals.syn_queue_max.max(queue.qlen);
            }
        }
    }

    /// Where it listens, as `ss` writes it.
    pub(crate) fn place(&self) -> String {
        self.listeners.first().map_or_else(|| self.local.to_string(), Listener::place)
    }

    /// Numbers for time that begins now.
    fn begun_again(&self) -> Totals {
        Totals {
            full: self.total.full.map(Full::begun_anew),
            waits: self.total.waits.map(|_| Waits::default()),
            ..Totals::default()
        }
    }

    fn take(&mut self, listeners: Vec<Listener>, inventory: &Inventory) {
        self.open = !listeners.is_empty();
        self.name(listeners, inventory);
    }

    /// These are the listeners, whether they are open or not.
    fn name(&mut self, listeners: Vec<Listener>, inventory: &Inventory) {
        let Some(first) = listeners.first() else { return };
        self.local = first.local;
        self.sysctls = inventory.namespaces.get(&first.netns).map(|s| s.sysctls);
        self.listeners = listeners;
    }

    /// Adds what happened at a socket that is gone.
    fn bury(&mut self, gone: &Self) {
        let sockets = self.sockets.saturating_add(gone.sockets);
        if self.sockets == 0 {
            self.listeners.clone_from(&gone.listeners);
            self.sysctls = gone.sysctls;
        }
        self.total.add(&gone.total);
        self.recent.add(&gone.recent);
        self.sockets = sockets;
        self.last = self.last.max(gone.last);
    }
}

/// Everywhere.
#[derive(Default)]
pub(crate) struct ListenerTotals {
    counted: Vec<Option<Counted>>,
    /// Where each is in `counted`.
    numbers: BTreeMap<ListenerKey, usize>,
    free: Vec<usize>,
    /// What is known of sockets that the last look does not show.
    remembered: Remembered,
    kernel: KernelCounts,
    /// How many inventories came.
    inventories: u64,
    /// How many frames came that anything is counted from.
    frames: u64,
}

impl ListenerTotals {
    /// The number of what is counted together, begun at `local` if nothing is known of it. It is
    /// good until [`Self::make_room`] makes any.
    pub(crate) fn number(&mut self, key: ListenerKey, local: SocketAddr) -> usize {
        let Self { counted, numbers, free, .. } = self;
        *numbers.entry(key).or_insert_with(|| {
            let new = Some(Counted::new(local));
            if let Some(number) = free.pop() {
                counted[number] = new;
                return number;
            }
            counted.push(new);
            counted.len() - 1
        })
    }

    /// What is counted with this key, if anything still is.
    pub(crate) fn find(&mut self, key: &ListenerKey) -> Option<&mut Counted> {
        let number = self.numbers.get(key)?;
        self.counted[*number].as_mut()
    }

    /// What was counted there.
    pub(crate) fn counted(&mut self, number: usize) -> &mut Counted {
        self.frames += 1;
        let counted =
            self.counted[number].as_mut().expect("a number is asked for while it is good");
        counted.last = self.frames;
        counted
    }

    /// What was counted of a socket, if anything was.
    pub(crate) fn socket(&self, netns: u32, ino: u32) -> Option<&Counted> {
        let number = self.numbers.get(&ListenerKey::Socket(netns, ino))?;
        self.counted[*number].as_ref()
    }

    /// The listener that this socket is or was, as far as it was ever seen, or noted at `listen()`.
    pub(crate) fn listener(&self, netns: u32, ino: u32) -> Option<&Listener> {
        let seen = self.socket(netns, ino).and_then(|counted| counted.listeners.first());
        seen.or_else(|| self.remembered.get(netns, ino))
    }

    /// Learns who called `listen()` on a socket that no look found, or none with its owner.
    pub(crate) fn opened(&mut self, ino: u32, listener: Listener) {
        let key = ListenerKey::Socket(listener.netns, ino);
        let counted = self.numbers.get(&key).and_then(|number| self.counted[*number].as_mut());
        if let Some(seen) = counted.and_then(|counted| counted.listeners.first_mut()) {
            seen.owner = seen.owner.take().or(listener.owner);
            return;
        }
        self.remembered.keep(ino, listener);
    }

    /// Another look found `now`, and before it there was `earlier`.
    pub(crate) fn replaced(&mut self, earlier: &Inventory, now: &Inventory) {
        self.remembered.keep_gone(earlier, now);
    }

    /// All that is counted, with its key.
    pub(crate) fn all(&self) -> impl Iterator<Item = (ListenerKey, &Counted)> {
        self.numbers.iter().filter_map(|(key, n)| Some((*key, self.counted[*n].as_ref()?)))
    }

    /// Looks in the inventory for the listeners that `number`, of this key, is about; in each
    /// inventory once. Those of an address are the ones that connections to `server` can belong to.
    pub(crate) fn look(
        &mut self,
        number: usize,
        key: ListenerKey,
        server: SocketAddr,
        inventory: &Inventory,
    ) {
        let Self { inventories, counted, remembered, .. } = self;
        let Some(counted) = &mut counted[number] else { return };
        if counted.inventory != *inventories {
            counted.inventory = *inventories;
            counted.take(found(inventory, key, server), inventory);
        }
        if counted.listeners.is_empty()
            && let ListenerKey::Socket(netns, ino) = key
            && let Some(listener) = remembered.get(netns, ino)
        {
            counted.name(vec![listener.clone()], inventory);
        }
    }

    /// Takes a new inventory, `now_ns`.
    pub(crate) fn learn(&mut self, inventory: &Inventory, now_ns: u64) {
        self.inventories += 1;
        let Self { counted, numbers, kernel, inventories, .. } = self;
        for (key, number) in numbers.iter() {
            let Some(counted) = &mut counted[*number] else { continue };
            match key {
                ListenerKey::Socket(..) => {
                    counted.inventory = *inventories;
                    counted.take(found(inventory, *key, counted.local), inventory);
                    counted.looked();
                }
                // Those that were there when something happened, if any were, could it be.
                ListenerKey::Address(..) if counted.listeners.is_empty() => {
                    counted.take(found(inventory, *key, counted.local), inventory);
                }
                ListenerKey::Address(..) => {
                    let is = |l: &Listener| {
                        u32::try_from(l.inode)
                            .is_ok_and(|ino| inventory.find_socket(l.netns, ino).is_some())
                    };
                    counted.open = counted.listeners.iter().any(is);
                }
                ListenerKey::Closed(..) | ListenerKey::Elsewhere => {}
            }
        }
        for (number, queue) in kernel.look(inventory, now_ns) {
            let Some(counted) = &mut counted[number] else { continue };
            for totals in [&mut counted.total, &mut counted.recent] {
                totals.recv_q = Some(queue);
                if let Some(full) = &mut totals.full {
                    full.now = false;
                }
            }
        }
    }

    /// Whether this look shows that a queue is not full of which that would be said.
    pub(crate) fn contradicts(&self, inventory: &Inventory) -> bool {
        self.kernel.contradicted(inventory).next().is_some()
    }

    /// Whether any queue is full as far as it is known.
    pub(crate) fn any_full(&self) -> bool {
        self.kernel.any_full()
    }

    /// Where the kernel's counts of this socket go, if there were any.
    pub(crate) fn kernel_number(&self, socket: &overflow_common::Socket) -> Option<usize> {
        self.kernel.number(socket)
    }

    /// Takes what the kernel has counted of a socket since it was attached, for `number`. Without
    /// accept() in sight a queue never seems to get shorter.
    pub(crate) fn exact(
        &mut self,
        socket: overflow_common::Socket,
        number: usize,
        now: ListenerCounts,
        accepts: bool,
        now_ns: u64,
    ) {
        let Some(counted) = &mut self.counted[number] else { return };
        let more = self.kernel.take(socket, number, now, now_ns);
        let happened = !more.verdicts.is_empty();
        if happened {
            self.frames += 1;
            counted.last = self.frames;
        }
        for totals in [&mut counted.total, &mut counted.recent] {
            for (id, count) in &more.verdicts {
                let sum = totals.verdicts.entry(*id).or_default();
                *sum = sum.saturating_add(*count);
            }
            if accepts {
                let full = totals.full.get_or_insert_default();
                full.add(&more.full);
                totals.waits.get_or_insert_default().add(&more.waits);
            }
            if accepts || happened {
                totals.recv_q = more.recv_q.or(totals.recv_q);
            }
            if more.recv_q.is_some() {
                totals.recv_q_max = totals.recv_q_max.max(Some(more.recv_q_max));
            }
        }
    }

    /// The kernel is about to hand over all it has: of these sockets alone. Of others it knows nothing
    /// more: what was counted of them stays.
    pub(crate) fn kernel_has(&mut self, known: &HashSet<overflow_common::Socket>) {
        for number in self.kernel.numbers() {
            let Some(counted) = &mut self.counted[number] else { continue };
            for full in [&mut counted.total.full, &mut counted.recent.full].into_iter().flatten() {
                full.now = false;
            }
        }
        self.kernel.retain(known);
    }

    /// Begins the next interval. What is full stays so.
    pub(crate) fn next_interval(&mut self) {
        for counted in self.counted.iter_mut().flatten() {
            counted.recent = counted.begun_again();
        }
    }

    /// Counts from here on. What is full stays so.
    pub(crate) fn begin(&mut self) {
        for counted in self.counted.iter_mut().flatten() {
            counted.total = counted.begun_again();
            counted.recent = counted.total.clone();
        }
    }

    /// Whether there are so many that some must be counted together before there is one more.
    pub(crate) fn crowded(&self) -> bool {
        self.numbers.len() >= MOST
    }

    /// Counts those together that are gone and were quiet for longest, if there are too many. True if
    /// numbers are no longer good.
    pub(crate) fn make_room(&mut self) -> bool {
        let gone = |keys: &mut Vec<(u64, ListenerKey)>, most: usize| {
            keys.sort_unstable();
            let more = keys.len().saturating_sub(most);
            // Half as many again, so that this is not done for each.
            keys.truncate(if more > 0 { more + most / 2 } else { 0 });
        };
        let told_apart =
            |key: &ListenerKey| matches!(key, ListenerKey::Socket(..) | ListenerKey::Address(..));
        let mut sockets = self.gone(told_apart);
        gone(&mut sockets, GONE);
        for (_, key) in &sockets {
            self.bury(*key, |counted, netns| {
                let v6only = counted.listeners.first().is_some_and(|l| l.v6only);
                ListenerKey::Closed(netns, counted.local, v6only)
            });
        }
        let mut places = self.gone(|key| matches!(key, ListenerKey::Closed(..)));
        gone(&mut places, PLACES);
        for (_, key) in &places {
            self.bury(*key, |_, _| ListenerKey::Elsewhere);
        }
        !sockets.is_empty() || !places.is_empty()
    }

    /// Those of such keys that no look found last and that the kernel does not count.
    fn gone(&self, which: impl Fn(&ListenerKey) -> bool) -> Vec<(u64, ListenerKey)> {
        let kept = self.kernel.numbers();
        let gone =
            self.numbers.iter().filter(|(key, number)| which(key) && !kept.contains(*number));
        gone.filter_map(|(key, number)| {
            let counted = self.counted[*number].as_ref()?;
            (!counted.open).then_some((counted.last, *key))
        })
        .collect()
    }

    fn bury(&mut self, key: ListenerKey, grave: impl Fn(&Counted, u32) -> ListenerKey) {
        let Some(number) = self.numbers.remove(&key) else { return };
        self.free.push(number);
        let Some(gone) = self.counted[number].take() else { return };
        let (ListenerKey::Socket(netns, _)
        | ListenerKey::Address(netns, _)
        | ListenerKey::Closed(netns, ..)) = key
        else {
            return;
        };
        let grave = grave(&gone, netns);
        let begun = self.numbers.contains_key(&grave);
        let to = self.number(grave, gone.local);
        if let Some(counted) = &mut self.counted[to] {
            counted.sockets = if begun { counted.sockets } else { 0 };
            counted.bury(&gone);
        }
    }
}

/// The listeners that this key is of, as they are.
fn found(inventory: &Inventory, key: ListenerKey, server: SocketAddr) -> Vec<Listener> {
    match key {
        ListenerKey::Socket(netns, ino) => {
            inventory.find_socket(netns, ino).into_iter().cloned().collect()
        }
        ListenerKey::Address(netns, _) => {
            inventory.find(netns, server).into_iter().cloned().collect()
        }
        ListenerKey::Closed(..) | ListenerKey::Elsewhere => Vec::new(),
    }
}
