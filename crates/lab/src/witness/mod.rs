//! Counters, packets and both ends' sockets against the verdicts: three witnesses of the same
//! connections, none of which knows what another saw.

mod alone;
mod counters;
mod infer;
mod untraced;
mod views;

use std::{collections::HashMap, net::SocketAddr, time::Duration};

pub use counters::Difference;
use counters::Reading;

use crate::{CellConfig, ClientView, Observation, ServerSocket};
use infer::Queues;
pub use infer::Undetermined;
use overflow_core::{
    capture::{
        evidence::{self, WireEvidence},
        flow::canonical,
    },
    model::scenario::Phase,
    text::style::Tone,
    verdict::{Connection, Ends, Known, Stage, VerdictId, WirePattern},
    wire::LinkKind,
};

/// What the tracer could and could not see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Events lost, of any kind: full ring, full table, short record.
    pub lost: u64,
    /// Verdicts that no hook in use shows.
    pub blind_to: Vec<VerdictId>,
}

/// One connection with the evidence of every witness.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// Its stages: as traced, completed by inferred ones where the tracer is blind.
    pub connection: Connection,
    /// What happened to it beside these, of which nobody can tell which verdict it was.
    pub undetermined: Vec<Undetermined>,
    /// Prefill or burst; `None` for a connection that the lab did not make.
    pub phase: Option<Phase>,
    /// The tracer's verdict on the handshake; `None` when it has none.
    pub ebpf: Option<VerdictId>,
    /// What the wire shows; `None` when the capture cannot be relied on.
    pub packets: Option<WireEvidence>,
    /// The client's state in `ss` words, and its error.
    pub client_view: Option<(String, Option<String>)>,
    /// The state of the server's socket by `sock_diag` in `ss` words; `None` when it has none.
    pub server_view: Option<String>,
    /// Whether all witnesses that saw it agree.
    pub agree: bool,
    /// Why not: one sentence.
    pub why: Option<String>,
}

impl Comparison {
    /// A connection that nobody has seen anything else of.
    pub(crate) fn of(connection: Connection) -> Self {
        Self {
            connection,
            undetermined: Vec::new(),
            phase: None,
            ebpf: None,
            packets: None,
            client_view: None,
            server_view: None,
            agree: true,
            why: None,
        }
    }

    /// The verdict on the handshake, or as much of it as the packets give.
    pub(crate) fn verdict(&self) -> &'static str {
        match (self.connection.handshake(), &self.packets) {
            (Some(stage), _) => stage.id.as_str(),
            (None, Some(evidence)) => evidence.pattern.text(),
            (None, None) => "unknown",
        }
    }

    /// How good that is for the connection.
    pub(crate) fn tone(&self) -> Tone {
        match (self.connection.handshake(), &self.packets) {
            (Some(stage), _) => stage.id.tone(),
            (None, Some(evidence)) => evidence.pattern.tone(),
            (None, None) => Tone::Bad,
        }
    }

    /// How the verdict on the handshake is known.
    pub(crate) fn known(&self) -> &'static str {
        match self.connection.handshake().map(|stage| &stage.known) {
            Some(Known::Traced) => "traced",
            Some(Known::Inferred(_)) => "inferred",
            None => "cannot tell",
        }
    }
}

/// The witnesses' evidence for a whole cell.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// Every connection: the lab's in order of `connect()`, then any the tracer saw besides.
    pub connections: Vec<Comparison>,
    /// Counters that differ from what the verdicts make them; empty is consistent.
    pub counters: Vec<Difference>,
}

impl Judgement {
    /// Whether no witness disagrees with another.
    pub(crate) fn agree(&self) -> bool {
        self.counters.is_empty() && self.connections.iter().all(|c| c.agree)
    }

    /// The counters' word on the cell: `consistent`, or what differs.
    pub(crate) fn counters_text(&self) -> String {
        if self.counters.is_empty() {
            return "consistent".to_owned();
        }
        let all: Vec<String> = self.counters.iter().map(Difference::to_string).collect();
        all.join("; ")
    }
}

/// Confronts the tracer's connections with everything else that was seen of the cell.
///
/// `coverage` is `None` when no tracer ran: all verdicts are then inferred. A connection that the
/// tracer has no verdict for appears with what the packets give; that is a disagreement unless
/// the tracer is off, or blind to such verdicts.
///
/// The tracer agrees with the packets when its verdict on the handshake
/// ([`Connection::handshake`]) is one that [`WirePattern::admits`].
pub(crate) fn compare(
    traced: Vec<Connection>,
    observation: &Observation,
    config: &CellConfig,
    coverage: Option<&Coverage>,
) -> Judgement {
    let lag = match observation.link {
        LinkKind::Netem => u64::try_from(config.delay.as_nanos()).unwrap_or(u64::MAX),
        LinkKind::Userspace => 0,
    };
    let whole = observation.capture_drops == 0;
    // A close at 0 means that the listener was not closed.
    let close = Some(observation.timeline.close).filter(|close| *close > 0);
    let evidence = if whole {
        evidence::evidence(&observation.packets, observation.server, close, lag)
    } else {
        Vec::new()
    };
    let alone = if whole { alone::findings(&observation.packets) } else { HashMap::new() };
    let queues = Queues::new(config, observation, &evidence);
    let evidence_of: HashMap<SocketAddr, &WireEvidence> =
        evidence.iter().map(|e| (e.flow.client, e)).collect();
    let socket_of: HashMap<SocketAddr, &ServerSocket> =
        observation.server_sockets.iter().map(|s| (canonical(s.peer), s)).collect();
    let mut traced_of: HashMap<SocketAddr, Connection> = HashMap::new();
    let mut strangers = Vec::new();
    for connection in traced {
        // A second connection of the same client cannot be the lab's either.
        if let Some(earlier) = traced_of.insert(canonical(connection.client), connection) {
            strangers.push(earlier);
        }
    }

    let mut connections = Vec::new();
    for view in &observation.clients {
        let client = canonical(view.local);
        let connection = traced_of.remove(&client);
        let evidence = evidence_of.get(&client).copied();
        let socket = socket_of.get(&client).copied();
        let mut comparison = Comparison {
            ebpf: connection.as_ref().and_then(|c| c.handshake()).map(|s| s.id),
            connection: connection.unwrap_or_else(|| blank(view.local, observation.server)),
            undetermined: Vec::new(),
            phase: Some(view.phase),
            packets: evidence.cloned(),
            client_view: Some((view.state.clone(), error_of(view))),
            server_view: socket.map(|s| s.state.clone()),
            agree: true,
            why: None,
        };
        // Without a tracer, what a script does is not known well enough to infer anything.
        if let Some(evidence) = evidence
            && (coverage.is_some() || config.script.is_plain())
        {
            comparison.undetermined = queues.complete(&mut comparison.connection, evidence);
        }
        let objection = missing(&comparison, coverage)
            .or_else(|| by_packets(&comparison, observation))
            .or_else(|| {
                alone::objection(alone.get(&client)?, comparison.ebpf?, &comparison.connection)
            })
            .or_else(|| untraced::objection(&queues, config, evidence?, &comparison))
            .or_else(|| by_views(&comparison, view, socket, observation, config.delay));
        comparison.agree = objection.is_none();
        comparison.why = objection;
        connections.push(comparison);
    }
    strangers.extend(traced_of.into_values());
    strangers.sort_by_key(|c| c.client);
    connections.extend(strangers.into_iter().map(stranger));

    if coverage.is_none() && !config.script.is_plain() {
        // There are no verdicts that counters could contradict.
        return Judgement { connections, counters: Vec::new() };
    }
    let at_least = coverage.is_some_and(|c| c.lost > 0) || !whole;
    let counters = counters::differences(
        &observation.counters,
        &connections,
        &Reading {
            until: observation.timeline.hold_end,
            at_least,
            strays: strays(&evidence),
            cookies_are_drops: observation.global_sysctls,
        },
    );
    Judgement { connections, counters }
}

fn blank(client: SocketAddr, server: SocketAddr) -> Connection {
    Connection { client, server, ..Connection::default() }
}

fn stranger(connection: Connection) -> Comparison {
    Comparison {
        ebpf: connection.handshake().map(|s| s.id),
        why: Some(format!(
            "the tracer saw a connection from {} that no client of the lab made",
            connection.client
        )),
        agree: false,
        ..Comparison::of(connection)
    }
}

/// The tracer ran and could have seen the handshake, but has no verdict on it.
fn missing(comparison: &Comparison, coverage: Option<&Coverage>) -> Option<String> {
    let coverage = coverage?;
    if comparison.ebpf.is_some() || is_stray(comparison) {
        return None;
    }
    let blind = |id: &VerdictId| coverage.blind_to.contains(id);
    let unseen = match (comparison.connection.handshake(), &comparison.packets) {
        (Some(stage), _) => blind(&stage.id),
        (None, Some(evidence)) => evidence.pattern.admitted().any(|id| blind(&id)),
        (None, None) => false,
    };
    if unseen {
        return None;
    }
    Some(if coverage.lost > 0 {
        format!("the tracer has no verdict on it and lost {} events", coverage.lost)
    } else {
        "the tracer has no verdict on it, though its hooks cover what the packets show".to_owned()
    })
}

/// Whether the wire shows no handshake, but a segment of none that was answered by RST: there is
/// nothing for the tracer to say.
fn is_stray(comparison: &Comparison) -> bool {
    comparison.packets.as_ref().is_some_and(|e| e.pattern == WirePattern::StrayReset)
}

/// How many segments of no handshake were answered by RST.
fn strays(evidence: &[WireEvidence]) -> u64 {
    let strays = evidence.iter().filter(|e| e.pattern == WirePattern::StrayReset);
    strays.map(|e| e.flow.resets.len() as u64).sum()
}

fn by_packets(comparison: &Comparison, observation: &Observation) -> Option<String> {
    let (capture, link) = (observation.capture_drops, observation.link_drops);
    if capture > 0 {
        return Some(format!("the capture lost {capture} packets, so it proves nothing"));
    }
    if link > 0 {
        return Some(format!("the link itself lost {link} packets, so silence proves nothing"));
    }
    let Some(evidence) = &comparison.packets else {
        return Some("no packet of it was captured".to_owned());
    };
    let pattern = evidence.pattern;
    let stages = &comparison.connection.stages;
    let Some(verdict) = comparison.ebpf else {
        let unexplained = comparison.connection.handshake().is_none()
            && pattern.admitted().next().is_none()
            && !is_stray(comparison);
        return unexplained.then(|| format!("the packets show {}", pattern.words()));
    };
    // The request was gone before its ACK came, which then was refused: both are on the wire.
    let refused_late = matches!(pattern, WirePattern::AckReset | WirePattern::DataReset)
        && stages.iter().any(|s| s.id == VerdictId::LaterResetNoSocket);
    // The request was ended silently, before its next SYN-ACK was due: that it is gone, sock_diag
    // says as well.
    let ended_unheard = pattern == WirePattern::AckSilent
        && WirePattern::AckResent.admits(verdict)
        && stages.iter().any(|s| s.id.ends() == Ends::RequestUnseen);
    (!pattern.admits(verdict) && !refused_late && !ended_unheard)
        .then(|| format!("the tracer says {verdict}, the packets show {}", pattern.words()))
}

fn by_views(
    comparison: &Comparison,
    view: &ClientView,
    server: Option<&ServerSocket>,
    observation: &Observation,
    delay: Duration,
) -> Option<String> {
    let until = observation.timeline.hold_end;
    let before = |t: &u64| *t < until;
    let stages = comparison.connection.stages.iter();
    let near = |s: &&Stage| {
        (!s.id.is_later() || s.id.ends() != Ends::Nothing)
            && s.t_ns < until.saturating_add(counters::READING_NS)
    };
    let stage = stages.rev().find(near)?;
    if stage.t_ns.saturating_add(counters::READING_NS) > until {
        // It happened just as the views were read: they may show the state before or after it.
        return None;
    }
    let under_way = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
    // Nobody believes anything of a connection that was made by hand.
    let settled = !view.is_crafted()
        && stage.t_ns.saturating_add(under_way).saturating_add(counters::READING_NS) < until;
    let resent = comparison.connection.synack_retransmits_ns.iter().any(before);
    // A request outlives its listener until its next timeout.
    let may_be_gone = resent || observation.timeline.close < until;
    views::check(stage.id, view, server, may_be_gone, settled).err()
}

fn error_of(view: &ClientView) -> Option<String> {
    let failed = view.connect.as_ref().err().filter(|e| *e != "pending");
    view.error.as_ref().or(failed).cloned()
}

#[cfg(test)]
mod tests;
