//! Listeners: in sum, in intervals, and why they are full.

use overflow_core::{
    cause::CauseId,
    explain::Lang,
    text::duration,
    wire::{self, Traced},
};

use super::{Collector, Place, connection::owner};
use crate::{
    scene::{Cause, Found, Scene},
    timeline::Reading,
};

impl Collector {
    pub(super) fn listener(&mut self, line: &wire::Listener<'_>) {
        if let Some(run) = &line.run {
            let Some(scene) = self.scene(Place::Run(run.to_string()), || run.to_string()) else {
                return;
            };
            let before = line.recv_q_before.map_or(String::new(), |n| format!(", {n} before"));
            let queue = format!("{}{before}, limit {}", line.recv_q, line.send_q);
            scene.facts.push(("accept queue at the end".into(), queue));
            scene.counters =
                line.counters.iter().map(|(n, value)| (n.to_string(), *value)).collect();
            return;
        }
        let Some(traced) = &line.traced else { return };
        let place = Place::Listener(line.netns, line.server.to_string(), None);
        let Some(scene) = self.scene(place, || line.server.to_string()) else { return };
        match traced.t_ns {
            Some(t_ns) => scene.timeline.read(
                t_ns,
                Reading {
                    accept: traced.recv_q_max.or(Some(line.recv_q)),
                    limit: Some(line.send_q),
                    syn: traced.syn_queue_max,
                },
            ),
            None => end(scene, line, traced),
        }
    }

    pub(super) fn cause(&mut self, line: &wire::Cause<'_>) {
        let listener = line.listener.to_string();
        let alone = Place::Listener(Some(line.netns), listener.clone(), None);
        let member = Place::Listener(Some(line.netns), listener.clone(), Some(line.inode));
        let place = if self.places.contains_key(&member) { member } else { alone };
        let Some(scene) = self.scene(place, || listener) else { return };
        scene.timeline.read(
            line.t_ns,
            Reading { accept: Some(line.recv_q), limit: line.send_q, syn: Some(line.syn_recv) },
        );
        let limit = line.send_q.map_or(String::new(), |limit| format!(" of {limit}"));
        let full = line
            .full_ns
            .map_or(String::new(), |ns| format!(", full for {} at least", duration::period(ns)));
        let each = |of: &std::collections::BTreeMap<CauseId, std::borrow::Cow<'_, str>>| {
            let each = of.iter();
            each.map(|(id, why)| (id.label(Lang::En).to_owned(), why.to_string())).collect()
        };
        scene.caused(Cause {
            t_ns: line.t_ns,
            queue: format!("Recv-Q {}{limit}{full}", line.recv_q),
            owner: line.owner.as_ref().map(owner),
            found: line.causes.iter().map(found).collect(),
            ruled_out: each(&line.ruled_out),
            unknown: each(&line.unknown),
            unread: line.unread.to_vec(),
        });
    }
}

/// All the time of a trace.
fn end(scene: &mut Scene, line: &wire::Listener<'_>, traced: &Traced<'_>) {
    let mut fact = |name: &str, value: String| scene.facts.push((name.to_owned(), value));
    fact("accept queue at the end", format!("{}, limit {}", line.recv_q, line.send_q));
    if let Some(longest) = traced.recv_q_max {
        fact("longest accept queue", longest.to_string());
    }
    if let Some(longest) = traced.syn_queue_max {
        fact("longest SYN queue", longest.to_string());
    }
    if let Some(full) = traced.full {
        let [total, longest] = [full.total_ns, full.longest_ns].map(duration::period);
        fact("full", format!("{} times, {total} in all, {longest} at most", full.times));
    }
    if let Some(accepts) = traced.accepts {
        fact("accepted", accepts.to_string());
    }
    if let Some(closed) = traced.closed {
        fact("sockets that are gone", closed.to_string());
    }
    if !traced.members.is_empty() {
        fact("SO_REUSEPORT group of", traced.members.len().to_string());
    }
    fact("watched for", duration::period(traced.duration_ms.saturating_mul(1_000_000)));
    if let Some(netns) = line.netns {
        fact("network namespace", netns.to_string());
    }
    if let Some(Some(by)) = &line.owner {
        scene.owner = Some(owner(by));
    }
    let sysctls = line.sysctls.iter().flatten();
    scene.sysctls = sysctls.map(|(name, n)| (name.to_string(), *n)).collect();
}

fn found(found: &wire::Found<'_>) -> Found {
    let values = found.values.iter();
    Found {
        id: found.id.as_str(),
        label: found.id.label(Lang::En),
        evidence: found.evidence.to_vec(),
        values: values.map(|(name, n)| (name.to_string(), n.to_string())).collect(),
        advice: found.advice.to_string(),
    }
}
