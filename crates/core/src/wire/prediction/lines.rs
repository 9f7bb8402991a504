//! What the model answered, as lines.

use std::io;

use super::{Divergence as DivergenceLine, Line, Prediction, Stage, Summary, VERSION};
use crate::model::{
    compare::Divergence, condition::Decision, kernels::Kernel, path::Path, scenario::Phase,
    simulate::Outcome,
};

/// Takes each line.
pub type Lines<'a> = &'a mut dyn FnMut(&Line<'_>) -> io::Result<()>;

/// One `prediction` line per connection, then one `prediction_summary` line; fails where `to` does.
pub fn cell(
    to: Lines<'_>,
    kernel: &Kernel,
    run: &str,
    outcome: &Outcome<'_>,
    undetermined: bool,
) -> io::Result<()> {
    for phase in [Phase::Prefill, Phase::Burst] {
        let paths = outcome.paths.iter().filter(|p| p.phase == phase);
        for (i, path) in paths.enumerate() {
            to(&Line::Prediction(prediction(kernel, run, path, i + 1)))?;
        }
    }
    let limits = outcome.limits;
    let summary = Summary {
        v: VERSION,
        kernel: kernel.name.as_str().into(),
        run: run.into(),
        regime: kernel.features.regime().into(),
        doubt: kernel.doubt.as_deref().map(Into::into),
        syn_queue_holds: limits.syn_queue_full_at(kernel.features.syn_queue),
        accept_queue_holds: u64::from(limits.max_ack_backlog) + 1,
        counters: outcome.counters,
        undetermined,
    };
    to(&Line::PredictionSummary(summary))
}

/// One `divergence` line; `prefill` is how many connections were made before the burst. Fails where `to`
/// does.
pub fn divergence(
    to: Lines<'_>,
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
    let divergence = DivergenceLine {
        v: VERSION,
        run: run.into(),
        kernels: kernels.map(Into::into),
        diverge: divergence.is_some(),
        phase: place.map(|(phase, _)| phase),
        number: place.map(|(_, number)| number),
        stages,
    };
    to(&Line::Divergence(divergence))
}

fn prediction<'a>(
    kernel: &'a Kernel,
    run: &'a str,
    path: &'a Path,
    number: usize,
) -> Prediction<'a> {
    let mut stages = Vec::new();
    let mut decisions = path.decisions.as_slice();
    while let Some((first, rest)) = decisions.split_first() {
        let again = rest.iter().take_while(|d| d.id == first.id).count();
        stages.push(stage(first, &rest[..again]));
        decisions = &rest[again..];
    }
    Prediction {
        v: VERSION,
        kernel: kernel.name.as_str().into(),
        regime: Some(kernel.features.regime().into()),
        run: run.into(),
        phase: path.phase,
        number,
        class: path.class().as_str().into(),
        stages,
        outcome: path.outcome(),
        client_view: path.client.as_str().into(),
        server_view: path.server.as_str().map(Into::into),
        synack_retransmits_ns: (&*path.synack_retransmits).into(),
    }
}

fn stage(first: &Decision, again: &[Decision]) -> Stage<'static> {
    Stage {
        id: first.id,
        t_ns: first.t_ns,
        function: first.condition.function().into(),
        expression: first.condition.expression().into(),
        condition: first.condition.to_string(),
        repeats_ns: again.iter().map(|d| d.t_ns).collect(),
    }
}
