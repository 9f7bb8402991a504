//! Connections: traced, witnessed in the lab, or captured.

use overflow_core::{
    explain::Lang,
    verdict::{Connection, Known, Stage, Values},
    wire,
};

use super::{Collector, Kind, Place};
use crate::{
    fate::Fate,
    step,
    story::{Example, Told},
};

impl Collector {
    pub(super) fn event(&mut self, event: &wire::Event<'_>) {
        let (Some(id), None) = (event.id, &event.run) else { return };
        let address = || event.server.map_or_else(String::new, |server| server.to_string());
        let listener = event.listener.as_ref().map_or_else(address, ToString::to_string);
        let place = Place::listener(event.netns, &listener, event.inode, event.reuseport_group);
        let title = || place_title(&listener, event.inode, event.reuseport_group);
        let Some(scene) = self.scene(place, title) else { return };
        scene.decided(event.t_ns, id, &event.values);
    }

    pub(super) fn connection(&mut self, line: &wire::Connection<'_>) {
        let lab = line.run.is_some();
        let known = verdicts(line);
        // What comes after the end, no stage tells.
        let fate = if line.still_trying { Fate::Waiting } else { Fate::of(&known, lab) };
        let told = Told {
            fate,
            chain: line.stages.iter().map(|s| s.id.label(Lang::En).to_owned()).collect(),
            outcome: line.outcome,
            example: Example {
                client: line.client.to_string(),
                server: line.server.to_string(),
                steps: step::of_connection(line),
                more_steps: 0,
                ends: ends(line),
            },
            disagreement: line.disagreement.as_ref().map(ToString::to_string),
        };
        let (place, title) = if let Some(run) = &line.run {
            (Place::Run(run.to_string()), run.to_string())
        } else {
            let server = || line.server.to_string();
            let listener = line.listener.as_ref().map_or_else(server, ToString::to_string);
            let group = line.reuseport_group;
            let title = place_title(&listener, line.inode, group);
            (Place::listener(line.netns, &listener, line.inode, group), title)
        };
        let Some(scene) = self.scene(place, || title) else {
            self.elsewhere.add(fate);
            return;
        };
        if lab {
            // A trace has an event for each of these.
            for (stage, known) in line.stages.iter().zip(&known.stages) {
                scene.decided(known.t_ns, stage.id, &stage.values);
                for t_ns in &known.repeats_ns {
                    scene.decided(*t_ns, stage.id, &Values::default());
                }
            }
        }
        if scene.owner.is_none() {
            scene.owner = line.owner.as_ref().map(owner);
        }
        scene.tell(told);
    }

    pub(super) fn handshake(&mut self, seen: &wire::Handshake<'_>) {
        self.about.kind = Kind::Capture;
        let server = seen.server.to_string();
        let place = Place::Listener(None, server.clone(), None);
        let fate = fate_of_handshake(seen);
        let words = match seen.verdicts[..] {
            [only] => only.label(Lang::En).to_owned(),
            _ => seen.seen.to_string(),
        };
        let told = Told {
            fate,
            chain: vec![words],
            outcome: None,
            example: Example {
                client: seen.client.to_string(),
                server: server.clone(),
                steps: step::of_handshake(seen),
                more_steps: 0,
                ends: Vec::new(),
            },
            disagreement: None,
        };
        match self.scene(place, || server) {
            Some(scene) => scene.tell(told),
            None => self.elsewhere.add(fate),
        }
    }
}

impl Place {
    /// Sockets of a `SO_REUSEPORT` group have queues of their own, so each is a place.
    pub(super) fn listener(
        netns: Option<u32>,
        listener: &str,
        inode: Option<u64>,
        group: Option<usize>,
    ) -> Self {
        Self::Listener(netns, listener.to_owned(), inode.filter(|_| group.is_some()))
    }
}

fn place_title(listener: &str, inode: Option<u64>, group: Option<usize>) -> String {
    match (group, inode) {
        (Some(_), Some(inode)) => format!("{listener}, socket {inode}"),
        (Some(_), None) => format!("{listener}, one of its group"),
        (None, _) => listener.to_owned(),
    }
}

/// Who holds a listener, in words.
pub(super) fn owner(owner: &wire::Owner<'_>) -> String {
    let mut words = vec![format!("{} (pid {})", owner.comm, owner.pid)];
    if owner.pids.len() > 1 {
        words.push(format!("and {} more", owner.pids.len() - 1));
    }
    let kept_by = [("unit", &owner.unit), ("container", &owner.container), ("pod", &owner.pod)];
    let kept_by = kept_by.into_iter().find_map(|(what, name)| Some((what, name.as_ref()?)));
    words.extend(kept_by.map(|(what, name)| format!("in {what} {name}")));
    if owner.called_listen {
        words.push("who called listen()".to_owned());
    }
    words.join(", ")
}

/// What both ends have of it, and what the witnesses of the lab say.
fn ends(line: &wire::Connection<'_>) -> Vec<(&'static str, String)> {
    let mut ends = Vec::new();
    if let Some(client) = &line.client_view {
        let error = line.client_error.as_ref().map(|e| format!(", {e}")).unwrap_or_default();
        ends.push(("client has", format!("{client}{error}")));
    }
    if let Some(server) = &line.server_view {
        ends.push(("server has", server.as_ref().map_or("nothing".into(), ToString::to_string)));
    }
    if let Some(witnesses) = &line.witnesses {
        let packets = witnesses.packets.as_deref().unwrap_or("unknown, packets were lost");
        ends.push(("packets show", packets.to_owned()));
        ends.push(("counters are", witnesses.counters.to_string()));
    }
    ends
}

/// The verdicts of a line, with absolute times.
fn verdicts(line: &wire::Connection<'_>) -> Connection {
    let t0_ns = line.t0_ns.unwrap_or_default();
    let stage = |stage: &wire::Stage<'_>| Stage {
        id: stage.id,
        t_ns: t0_ns + stage.t_ns,
        known: Known::Traced,
        path: &[],
        values: Values::default(),
        repeats_ns: stage.repeats_ns.iter().map(|t| t0_ns + t).collect(),
    };
    Connection {
        client: line.client,
        server: line.server,
        stages: line.stages.iter().map(stage).collect(),
        outcome: line.outcome,
        gave_up: line.gave_up,
        ..Connection::default()
    }
}

/// Packets tell less than the kernel.
fn fate_of_handshake(seen: &wire::Handshake<'_>) -> Fate {
    match (&*seen.family, seen.phantom) {
        (_, Some(true)) if seen.recovered => Fate::Delayed,
        ("ack.reset", _) => Fate::Reset,
        (_, Some(true)) => Fate::Phantom,
        ("syn.drop", _) => Fate::NeverServed,
        ("ack.accepted" | "syn.fastopen", _) if seen.wire.syn > 1 => Fate::Delayed,
        ("ack.accepted" | "syn.fastopen", _) => Fate::Connected,
        ("syn.refused" | "syn", _) => Fate::Other,
        _ => Fate::Unknown,
    }
}
