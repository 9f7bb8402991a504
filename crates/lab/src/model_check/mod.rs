//! The model against a trace: the same cell, the same arrivals, the same stages?
//!
//! The model gets the times at which the clients' SYNs, third ACKs and first data reached the
//! server, so it need not guess which of two came first; everything that the kernel made of them it
//! must find by itself. Which SYNs a client sent again is thereby given too, not checked.

mod host_model;
mod text;

use std::net::SocketAddr;

use thiserror::Error;

pub use host_model::HostModel;

use crate::{CellConfig, Observation, Script};
use overflow_core::{
    capture::flow::{self, Flow},
    model::{
        condition::{Condition, Decision},
        config::{Listener, Sysctls},
        features::{Features, SynQueueTest},
        path::Path,
        scenario::{Arrival, Burst, Link, Phase, Scenario, Sends},
        simulate::Simulator,
        time::{MS, Nanos, US},
    },
    syn_limit,
    verdict::{Connection, Stage, VerdictId},
};

/// What happens this close to the end of the observation may fall on either side of it: the
/// model's timers do not know where in a jiffy, and in a bucket of the timer wheel, the burst began.
const BLUR: Nanos = 150 * MS;
/// More than this does not fit into one segment, and a cookie's second segment is not modelled.
const ONE_SEGMENT: usize = 1400;

/// Follow from the stages around them: reported in another order, or of the client's doing.
const UNTIMELY: [VerdictId; 2] = [VerdictId::LaterRecovered, VerdictId::LaterResetByClient];

/// Why a cell cannot be checked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotChecked {
    /// The arrivals are not known.
    #[error("the capture lost {0} packets, so the model does not know what reached the server")]
    Capture(u64),
    /// The arrivals are not what was sent.
    #[error("the link lost {0} packets, and the model knows no loss")]
    Link(u64),
    /// More happened than a burst.
    #[error("the scenario `{0}` does more than the model knows")]
    Scenario(&'static str),
    /// The payload takes more than one segment.
    #[error("{0} bytes take more than one segment; the model knows one per client")]
    Payload(usize),
}

/// A connection that the kernel treated otherwise than the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The client.
    pub client: SocketAddr,
    /// Prefill or burst.
    pub phase: Phase,
    /// The model's stages up to the end of the hold.
    pub predicted: Vec<VerdictId>,
    /// The trace's.
    pub traced: Vec<VerdictId>,
    /// The model's decision at the first stage that differs; `None` where it has no more.
    pub decision: Option<Decision>,
    /// The trace's stage there.
    pub stage: Option<Box<Stage>>,
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Connections compared.
    pub connections: usize,
    /// Those that differ, in order of `connect()`.
    pub differences: Vec<Difference>,
}

/// Compares the model's stages of every client with the traced ones.
///
/// `traced` are the cell's connections, of any order and with strangers among them. Stages of the
/// verdicts in `blind_to` are left out on both sides.
pub(crate) fn check(
    features: Features,
    config: &CellConfig,
    observation: &Observation,
    traced: &[&Connection],
    blind_to: &[VerdictId],
) -> Result<Checked, NotChecked> {
    if observation.capture_drops > 0 {
        return Err(NotChecked::Capture(observation.capture_drops));
    }
    if observation.link_drops > 0 {
        return Err(NotChecked::Link(observation.link_drops));
    }
    if config.script != Script::default() {
        return Err(NotChecked::Scenario(config.script.name));
    }
    if config.payload > ONE_SEGMENT {
        return Err(NotChecked::Payload(config.payload));
    }
    let scenario = scenario(features, config, observation);
    let mut simulator = Simulator::default();
    let outcome = simulator.run(&scenario);
    let mut checked = Checked::default();
    for (view, path) in observation.clients.iter().zip(outcome.paths) {
        let client = flow::canonical(view.local);
        let Some(connection) = traced.iter().find(|c| flow::canonical(c.client) == client) else {
            continue;
        };
        checked.connections += 1;
        let seen = |id: VerdictId| !UNTIMELY.contains(&id) && !blind_to.contains(&id);
        let predicted = predicted(path, seen);
        let stages: Vec<&Stage> = merged(
            connection
                .stages
                .iter()
                .filter(|s| s.t_ns < observation.timeline.hold_end && seen(s.id)),
            |s| s.id,
        );
        let alike = predicted.iter().zip(&stages).take_while(|(d, s)| d.id == s.id);
        let at = alike.count();
        let (decision, stage) = (predicted.get(at), stages.get(at));
        let late = |t: Nanos| t + BLUR >= scenario.until;
        let blurred = match (decision, stage) {
            (None, None) => true,
            (Some(decision), None) => late(decision.t_ns),
            (None, Some(stage)) => late(since(observation, stage.t_ns)),
            (Some(_), Some(_)) => false,
        };
        if !blurred {
            checked.differences.push(Difference {
                client: view.local,
                phase: view.phase,
                predicted: predicted.iter().map(|d| d.id).collect(),
                traced: stages.iter().map(|s| s.id).collect(),
                decision: decision.copied(),
                stage: stage.map(|s| Box::new((*s).clone())),
            });
        }
    }
    Ok(checked)
}

/// These features with the SYN queue test that the stages show. The test is a stable backport, so
/// a kernel's name may leave it open; a SYN that met exactly as many requests as the backlog does
/// not.
#[must_use]
pub(crate) fn as_observed<'a>(
    features: Features,
    stages: impl IntoIterator<Item = &'a Stage>,
) -> Features {
    if features.syn_queue == SynQueueTest::MaxQlenLog {
        return features;
    }
    let syn_queue = syn_limit::of_stages(stages).map_or(features.syn_queue, SynQueueTest::from);
    Features { syn_queue, ..features }
}

/// The decisions that a trace shows as stages, in order, repetitions left out.
fn predicted(path: &Path, seen: impl Fn(VerdictId) -> bool) -> Vec<Decision> {
    let shown = path.decisions.iter().filter(|d| {
        // A SYN that meets its request, and what the end of the observation means, are no events
        // of a trace.
        !matches!(
            d.condition,
            Condition::RetransmittedSyn | Condition::StillQueued { .. } | Condition::NothingKept
        ) && seen(d.id)
    });
    merged(shown.copied(), |d| d.id)
}

fn merged<T>(all: impl Iterator<Item = T>, id: impl Fn(&T) -> VerdictId) -> Vec<T> {
    let mut merged: Vec<T> = Vec::new();
    for one in all {
        if merged.last().map(&id) != Some(id(&one)) {
            merged.push(one);
        }
    }
    merged
}

/// The cell as the model's question, with the arrivals that were captured.
fn scenario(features: Features, config: &CellConfig, seen: &Observation) -> Scenario {
    let listener = Listener { backlog: config.backlog, ..Listener::default() };
    let sysctls = Sysctls {
        syncookies: config.syncookies,
        abort_on_overflow: config.abort_on_overflow,
        somaxconn: config.somaxconn,
        ..Sysctls::default()
    };
    let burst = Burst { prefill: config.prefill, clients: config.clients, delay: 0, payload: 0 };
    let until = since(seen, seen.timeline.hold_end);
    let mut scenario = Scenario::burst(features, listener, sysctls, burst, until);
    let flows = flow::flows(&seen.packets, seen.server, 0);
    scenario.link = link(&flows);
    let mut repeated = Vec::new();
    for (i, (view, client)) in seen.clients.iter().zip(&mut scenario.clients).enumerate() {
        client.phase = view.phase;
        client.payload = 0;
        client.gives_up = None;
        let address = flow::canonical(view.local);
        let flow = flows.iter().find(|f| f.client == address);
        let Some((flow, first)) = flow.and_then(|f| Some((f, f.syns.first()?))) else {
            // Its SYN never came.
            client.connect = until + MS;
            continue;
        };
        let mut arrives = |t_ns: u64, sends| {
            let t = since(seen, t_ns);
            scenario.arrivals.push(Arrival { t, client: i, sends });
            t
        };
        client.connect = arrives(*first, Sends::Syn) - scenario.link.to_server;
        repeated.extend(flow.syns[1..].iter().map(|t| (since(seen, *t), i)));
        if let Some(ack) = flow.acks.first() {
            arrives(ack.t_ns, Sends::ThirdAck);
        }
        if let Some(data) = flow.acks.iter().find(|a| a.payload_len > 0) {
            arrives(data.t_ns, Sends::Data);
            client.payload = data.payload_len;
        }
    }
    scenario.repeated_syns = Some(repeated);
    scenario
}

/// The link by its shortest round trip: from a SYN's arrival to that of its third ACK.
fn link(flows: &[Flow]) -> Link {
    let trips = flows.iter().filter_map(|f| {
        let ack = f.acks.first()?.t_ns;
        let syn = f.syns.iter().rev().find(|t| **t <= ack)?;
        Nanos::try_from(ack - syn).ok()
    });
    let rtt = trips.min().unwrap_or(20 * US);
    let to_server = (rtt / 2).min(10 * US);
    Link { to_server, to_client: rtt - to_server }
}

/// Nanoseconds since the burst began.
fn since(seen: &Observation, t_ns: u64) -> Nanos {
    t_ns.cast_signed().wrapping_sub(seen.timeline.burst.cast_signed())
}

#[cfg(test)]
mod tests;
