//! Predictions as JSON lines.

use std::io::{self, Write};

use serde::Serialize;

use overflow_core::{
    model::{
        compare::Divergence, condition::Decision, counters::Counters, kernels::Kernel, path::Path,
        scenario::Phase, simulate::Outcome, time::Nanos,
    },
    verdict::VerdictId,
};

/// Version of the lines below.
const V: u32 = 1;

#[derive(Serialize)]
struct Prediction<'a> {
    r#type: &'static str,
    v: u32,
    kernel: &'a str,
    run: &'a str,
    phase: Phase,
    /// From 1 within the phase, in order of `connect()`.
    number: usize,
    class: &'static str,
    stages: Vec<Stage>,
    outcome: Option<VerdictId>,
    client_view: &'static str,
    server_view: Option<&'static str>,
    synack_retransmits_ns: &'a [Nanos],
}

/// Times are nanoseconds since the burst began, negative before it.
#[derive(Serialize)]
struct Stage {
    id: VerdictId,
    t_ns: Nanos,
    function: &'static str,
    expression: &'static str,
    condition: String,
    repeats_ns: Vec<Nanos>,
}

#[derive(Serialize)]
struct Summary<'a> {
    r#type: &'static str,
    v: u32,
    kernel: &'a str,
    run: &'a str,
    regime: &'static str,
    doubt: Option<&'a str>,
    syn_queue_holds: u32,
    accept_queue_holds: u64,
    counters: Counters,
    undetermined: bool,
}

#[derive(Serialize)]
struct Parting<'a> {
    r#type: &'static str,
    v: u32,
    run: &'a str,
    kernels: [&'a str; 2],
    diverge: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    phase: Option<Phase>,
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stages: Option<[Option<Stage>; 2]>,
}

/// One `prediction` line per connection, then one `prediction_summary` line.
pub(super) fn cell(
    out: &mut dyn Write,
    kernel: &Kernel,
    run: &str,
    outcome: &Outcome<'_>,
    undetermined: bool,
) -> io::Result<()> {
    for phase in [Phase::Prefill, Phase::Burst] {
        let paths = outcome.paths.iter().filter(|p| p.phase == phase);
        for (i, path) in paths.enumerate() {
            line(out, &prediction(&kernel.name, run, path, i + 1))?;
        }
    }
    let limits = outcome.limits;
    let summary = Summary {
        r#type: "prediction_summary",
        v: V,
        kernel: &kernel.name,
        run,
        regime: kernel.features.regime(),
        doubt: kernel.doubt.as_deref(),
        syn_queue_holds: limits.syn_queue_full_at(kernel.features.syn_queue),
        accept_queue_holds: u64::from(limits.max_ack_backlog) + 1,
        counters: outcome.counters,
        undetermined,
    };
    line(out, &summary)
}

/// One `divergence` line.
pub(super) fn divergence(
    out: &mut dyn Write,
    kernels: [&str; 2],
    run: &str,
    prefill: usize,
    divergence: Option<&Divergence>,
) -> io::Result<()> {
    let place = divergence.map(|d| match d.client.checked_sub(prefill) {
        Some(i) => (Phase::Burst, i + 1),
        None => (Phase::Prefill, d.client + 1),
    });
    let stages = divergence.map(|d| [d.left, d.right].map(|d| d.map(|d| stage(&d, &[]))));
    let parting = Parting {
        r#type: "divergence",
        v: V,
        run,
        kernels,
        diverge: divergence.is_some(),
        phase: place.map(|(phase, _)| phase),
        number: place.map(|(_, number)| number),
        stages,
    };
    line(out, &parting)
}

fn prediction<'a>(kernel: &'a str, run: &'a str, path: &'a Path, number: usize) -> Prediction<'a> {
    let mut stages = Vec::new();
    let mut decisions = path.decisions.as_slice();
    while let Some((first, rest)) = decisions.split_first() {
        let again = rest.iter().take_while(|d| d.id == first.id).count();
        stages.push(stage(first, &rest[..again]));
        decisions = &rest[again..];
    }
    Prediction {
        r#type: "prediction",
        v: V,
        kernel,
        run,
        phase: path.phase,
        number,
        class: path.class().as_str(),
        stages,
        outcome: path.outcome(),
        client_view: path.client.as_str(),
        server_view: path.server.as_str(),
        synack_retransmits_ns: &path.synack_retransmits,
    }
}

fn stage(first: &Decision, again: &[Decision]) -> Stage {
    Stage {
        id: first.id,
        t_ns: first.t_ns,
        function: first.condition.function(),
        expression: first.condition.expression(),
        condition: first.condition.to_string(),
        repeats_ns: again.iter().map(|d| d.t_ns).collect(),
    }
}

fn line(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}
