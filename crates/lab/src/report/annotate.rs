//! Finds the packet that each stage of a connection was decided on.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
};

use super::CellReport;
use overflow_core::{
    capture::flow::canonical,
    packet::{Packet, flags},
    text::values,
    verdict::{Class, Connection, Ends, Family, Known, Stage, VerdictId},
    wire::LinkKind,
};

/// How far a packet's capture and the kernel's decision on it may lie apart.
const REACH_NS: u64 = 50_000_000;

/// The comments on a cell's packets, by their index.
pub(super) fn comments(cell: &CellReport) -> BTreeMap<usize, String> {
    let lag = match cell.observation.link {
        LinkKind::Netem => u64::try_from(cell.config.delay.as_nanos()).unwrap_or(u64::MAX),
        LinkKind::Userspace => 0,
    };
    let server = canonical(cell.observation.server);
    let mut packets_of: HashMap<SocketAddr, Vec<usize>> = HashMap::new();
    for (at, packet) in cell.observation.packets.iter().enumerate() {
        let (src, dst) = (canonical(packet.src), canonical(packet.dst));
        packets_of.entry(if src == server { dst } else { src }).or_default().push(at);
    }
    let mut marks = Marks { cell, server, lag, comments: BTreeMap::new() };
    for comparison in &cell.judgement.connections {
        let client = canonical(comparison.connection.client);
        if let Some(packets) = packets_of.get(&client) {
            marks.connection(&comparison.connection, packets);
        }
    }
    marks.comments
}

/// The kinds of packets a stage can be decided on, or answered by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Syn,
    Ack,
    SynAck,
    Rst,
}

impl Kind {
    /// The packet that a verdict was decided on, or else that shows it, if one does.
    fn of(id: VerdictId) -> Option<Self> {
        match id.family() {
            Family::Syn => Some(Self::Syn),
            Family::Ack => Some(Self::Ack),
            Family::Later => (id.ends() == Ends::ByServerReset).then_some(Self::Rst),
        }
    }
}

struct Marks<'a> {
    cell: &'a CellReport,
    server: SocketAddr,
    lag: u64,
    comments: BTreeMap<usize, String>,
}

impl Marks<'_> {
    fn connection(&mut self, connection: &Connection, packets: &[usize]) {
        for stage in &connection.stages {
            let Some(kind) = Kind::of(stage.id) else { continue };
            self.mark(packets, kind, stage.t_ns, &text(stage));
            for t_ns in &stage.repeats_ns {
                self.mark(packets, kind, *t_ns, &format!("{} again", stage.id));
            }
            if stage.id.class() == Class::AckReset {
                self.mark(packets, Kind::Rst, stage.t_ns, &format!("RST of {}", stage.id));
            }
        }
        for t_ns in &connection.synack_retransmits_ns {
            self.mark(packets, Kind::SynAck, *t_ns, "SYN-ACK retransmitted by the kernel's timer");
        }
    }

    /// Comments the nearest packet of this kind that has no comment yet; none may be near, when
    /// the kernel suppressed an answer.
    fn mark(&mut self, packets: &[usize], kind: Kind, t_ns: u64, text: &str) {
        let departs = matches!(kind, Kind::SynAck | Kind::Rst);
        let expected = if departs { t_ns.saturating_add(self.lag) } else { t_ns };
        let all = &self.cell.observation.packets;
        let free = packets.iter().filter(|at| !self.comments.contains_key(at));
        let nearest = free
            .filter(|at| self.kind(&all[**at]) == Some(kind))
            .map(|at| (all[*at].t_ns.abs_diff(expected), *at))
            .min();
        if let Some((distance, at)) = nearest
            && distance <= REACH_NS
        {
            self.comments.insert(at, text.to_owned());
        }
    }

    fn kind(&self, packet: &Packet) -> Option<Kind> {
        let from_server = canonical(packet.src) == self.server;
        match from_server {
            false if packet.has(flags::SYN, flags::ACK | flags::RST) => Some(Kind::Syn),
            false if packet.has(flags::ACK, flags::SYN | flags::RST) => Some(Kind::Ack),
            true if packet.has(flags::RST, 0) => Some(Kind::Rst),
            true if packet.has(flags::SYN | flags::ACK, 0) => Some(Kind::SynAck),
            _ => None,
        }
    }
}

fn text(stage: &Stage) -> String {
    let mut text = stage.id.to_string();
    match &stage.known {
        Known::Traced => text.push_str(" (traced)"),
        Known::Inferred(why) => {
            text.push_str(" (inferred: ");
            text.push_str(why);
            text.push(')');
        }
    }
    let values = values::values(stage);
    if !values.is_empty() {
        text.push_str(": ");
        text.push_str(&values);
    }
    if !stage.path.is_empty() {
        text.push_str("; ");
        text.push_str(&stage.path.join(" → "));
    }
    text
}
