//! Everything the view shows, fed by the pipeline.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::SocketAddr,
};

use super::row::{Key, Row};
use crate::{
    pipeline::Filter,
    sink::trace::{JudgedEvent, Listened, Opening, Snapshot, Whose},
};
use overflow_core::{
    audit::unaccounted,
    hook_point::HookPoint,
    listeners::{Inventory, Listener},
    loss::Loss,
    model::kernels::Kernel,
    verdict::{Known, VerdictId},
};

/// Handshakes that are kept: more than the highest screen has lines.
const KEPT: usize = 300;

/// Listeners by key, each with the key of its group; a group with all of it.
type Looked<'a> = HashMap<Key, (Option<Key>, Vec<&'a Listener>)>;

/// An abnormal event of a handshake.
#[derive(Clone, Debug)]
pub struct Handshake {
    /// When, CLOCK_MONOTONIC nanoseconds.
    pub t_ns: u64,
    /// At which listener.
    pub key: Key,
    /// The group that it is a member of.
    pub group: Option<Key>,
    /// Who connects.
    pub client: SocketAddr,
    /// The listener's side.
    pub server: SocketAddr,
    /// What the kernel did.
    pub id: VerdictId,
    /// Whether the kernel's branch itself was observed.
    pub traced: bool,
    /// Accept queue then: (length, limit), connections.
    pub recv_q: Option<(u32, u32)>,
}

/// Everything that is known.
#[derive(Clone, Debug)]
pub struct State {
    /// What is known of the trace at its beginning; `None` before it.
    pub opening: Option<Opening>,
    /// What this kernel does on overflow.
    pub kernel: Option<Kernel>,
    /// The listeners, those of the filter.
    pub rows: BTreeMap<Key, Row>,
    /// The last abnormal handshakes, oldest first.
    pub handshakes: VecDeque<Handshake>,
    /// As it was last looked at.
    pub inventory: Inventory,
    /// What was lost, by cause.
    pub losses: Vec<(Loss, u64)>,
    /// How much of what the kernel counted is unaccounted; `None` where it was never compared.
    pub unaccounted: Option<u64>,
    /// When the first second ended, CLOCK_MONOTONIC nanoseconds.
    pub begun_ns: Option<u64>,
    /// When the last second ended.
    pub now_ns: u64,
    filter: Filter,
    /// Longest accept queue of the events of this second.
    peaks: HashMap<Key, u32>,
}

impl State {
    /// Nothing yet; shows the listeners of `filter`.
    pub fn new(filter: Filter, kernel: Option<Kernel>) -> Self {
        Self {
            opening: None,
            kernel,
            rows: BTreeMap::new(),
            handshakes: VecDeque::new(),
            inventory: Inventory::default(),
            losses: Vec::new(),
            unaccounted: None,
            begun_ns: None,
            now_ns: 0,
            filter,
            peaks: HashMap::new(),
        }
    }

    /// Takes a first look at the listeners, before anything is traced.
    pub(crate) fn look(&mut self, inventory: &Inventory) {
        for (key, (group, looked)) in self.looked(inventory) {
            let row = self.rows.entry(key).or_insert_with(|| Row::new(key));
            row.group = group;
            row.look(&looked);
        }
        self.inventory = inventory.clone();
    }

    /// Takes an abnormal event.
    pub(crate) fn event(&mut self, judged: &JudgedEvent<'_>) {
        let conn = judged.observed.conn;
        let values = &judged.stage.values;
        let recv_q = values.sk_ack_backlog.zip(values.sk_max_ack_backlog);
        let first = judged.listeners.first();
        let local = first.map_or(conn.server, |l| l.local);
        let whose = judged.socket.map_or(Whose::Unknown, Whose::Socket);
        let key = (conn.netns, local, whose);
        let group = first.filter(|l| l.group > 1).map(|l| (l.netns, l.local, Whose::Group));
        if let Some((len, _)) = recv_q {
            for key in [Some(key), group].into_iter().flatten() {
                let peak = self.peaks.entry(key).or_default();
                *peak = len.max(*peak);
            }
        }
        if self.handshakes.len() >= KEPT {
            self.handshakes.pop_front();
        }
        self.handshakes.push_back(Handshake {
            t_ns: judged.t_ns,
            key,
            group,
            client: conn.client,
            server: conn.server,
            id: judged.stage.id,
            traced: judged.stage.known == Known::Traced,
            recv_q,
        });
    }

    /// Takes everything that is known after a second.
    pub(crate) fn second(&mut self, snapshot: &Snapshot<'_>) {
        self.begun_ns.get_or_insert(snapshot.t_ns);
        self.now_ns = snapshot.t_ns;
        self.losses.clone_from(&snapshot.losses);
        self.unaccounted = snapshot.audit.map(unaccounted);
        let looked = self.looked(snapshot.inventory);
        let mut happened: HashMap<Key, (Option<Key>, &Listened<'_>)> = HashMap::new();
        for listened in &snapshot.listeners {
            let group = key(listened);
            happened.insert(group, (None, listened));
            happened.extend(listened.members.iter().map(|m| (key(m), (Some(group), m))));
        }
        let groups = looked.iter().map(|(key, (group, _))| (*key, *group));
        for (key, group) in groups.chain(happened.iter().map(|(key, (group, _))| (*key, *group))) {
            self.rows.entry(key).or_insert_with(|| Row::new(key)).group = group;
        }
        let timed = self.opening.as_ref().is_some_and(accepts);
        let peaks = std::mem::take(&mut self.peaks);
        for (key, row) in &mut self.rows {
            let looked = looked.get(key).map_or(&[][..], |(_, looked)| looked.as_slice());
            let peak = peaks.get(key).copied().unwrap_or(0);
            row.second(looked, happened.get(key).map(|(_, listened)| *listened), peak, timed);
        }
        // A listener that is gone and at which nothing happened is of no interest.
        self.rows.retain(|key, row| row.open || happened.contains_key(key));
        self.inventory = snapshot.inventory.clone();
    }

    /// How long was traced, nanoseconds.
    pub(crate) fn traced_ns(&self) -> u64 {
        self.now_ns.saturating_sub(self.begun_ns.unwrap_or(self.now_ns))
    }

    /// The listeners that are there, each with its group, and the groups.
    fn looked<'a>(&self, inventory: &'a Inventory) -> Looked<'a> {
        let mut looked = Looked::new();
        for listener in inventory.listeners.iter().filter(|l| self.filter.listener(l)) {
            let ino = u32::try_from(listener.inode).unwrap_or(0);
            let place = |whose| (listener.netns, listener.local, whose);
            let group = (listener.group > 1).then(|| place(Whose::Group));
            looked.insert(place(Whose::Socket(ino)), (group, vec![listener]));
            if let Some(key) = group {
                looked.entry(key).or_default().1.push(listener);
            }
        }
        looked
    }
}

/// Whether accept() is traced.
fn accepts(opening: &Opening) -> bool {
    opening.rungs.iter().any(|(m, rung)| m == HookPoint::Accept.as_str() && !rung.is_empty())
}

fn key(listened: &Listened<'_>) -> Key {
    (listened.netns, listened.local, listened.whose)
}
