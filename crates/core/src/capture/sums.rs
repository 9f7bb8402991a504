//! What a capture shows of each listener and of each client, in sum.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use super::{
    finding::{Doubt, Finding},
    point::Point,
};

/// How many listeners, and how many clients, are counted apart.
const APART: usize = 10_000;

/// Sums over the connections of one listener or client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// Connections.
    pub connections: u64,
    /// By the verdict, or the family of verdicts, on their handshakes.
    pub families: BTreeMap<&'static str, u64>,
    /// Those whose third ACK got in only after an earlier one had not.
    pub recovered: u64,
    /// Those that their client believed in while the server had no socket, the recovered included.
    pub phantoms: u64,
    /// SYNs that were sent again.
    pub syn_retransmits: u64,
    /// SYN-ACKs that were sent again.
    pub synack_retransmits: u64,
    /// RSTs of the client.
    pub client_resets: u64,
    /// RSTs of the server.
    pub server_resets: u64,
}

/// Sums of everything that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Of everything.
    pub all: Sum,
    /// By listener, as far as they are counted apart.
    pub listeners: BTreeMap<SocketAddr, Sum>,
    /// By client's address, as far as they are counted apart.
    pub clients: BTreeMap<IpAddr, Sum>,
    /// How many connections were captured where.
    pub places: BTreeMap<Point, u64>,
    /// How many connections leave each question open.
    pub doubts: BTreeMap<Doubt, u64>,
    /// Connections that count for no listener or no client, because there were too many.
    pub not_apart: u64,
}

impl Sums {
    /// Adds a connection.
    pub fn add(&mut self, finding: &Finding) {
        self.all.add(finding);
        let listener = room(&mut self.listeners, finding.server);
        let client = room(&mut self.clients, finding.client.ip());
        if listener.is_none() || client.is_none() {
            self.not_apart += 1;
        }
        for sum in [listener, client].into_iter().flatten() {
            sum.add(finding);
        }
        *self.places.entry(finding.point).or_default() += 1;
        for doubt in &finding.doubts {
            *self.doubts.entry(*doubt).or_default() += 1;
        }
    }
}

impl Sum {
    fn add(&mut self, finding: &Finding) {
        let flow = &finding.evidence.flow;
        self.connections += 1;
        *self.families.entry(finding.family()).or_default() += 1;
        self.recovered += u64::from(finding.recovered);
        self.phantoms += u64::from(finding.phantom == Some(true));
        self.syn_retransmits += flow.syns.len().saturating_sub(1) as u64;
        self.synack_retransmits += finding.evidence.resent_synacks().len() as u64;
        let servers = finding.resets.iter().filter(|reset| reset.kind.is_servers()).count();
        self.server_resets += servers as u64;
        self.client_resets += (finding.resets.len() - servers) as u64;
    }
}

/// The sum of a key; `None` where there is no room for another.
fn room<K: Ord>(sums: &mut BTreeMap<K, Sum>, key: K) -> Option<&mut Sum> {
    if sums.len() >= APART && !sums.contains_key(&key) {
        return None;
    }
    Some(sums.entry(key).or_default())
}
