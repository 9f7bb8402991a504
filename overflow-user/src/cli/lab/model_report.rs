//! `--check-model`: what the model predicts for each cell, beside what was traced.

use std::fmt::Write as _;

use anyhow::{Context, Result};

use super::super::host;
use overflow_core::{
    model::{features::Features, scenario::Phase, time::MS},
    verdict::{Connection, Stage, VerdictId},
};
use overflow_lab::{
    model_check::{self, Checked, Difference, NotChecked},
    report::{CellReport, Report},
};

/// One cell's comparison.
pub(super) type Answer = Result<Checked, NotChecked>;

/// The running kernel as the model knows it; what its name leaves open is taken from the traces.
pub(super) struct Model {
    name: String,
    features: Features,
}

impl Model {
    /// The running kernel by its name.
    pub(super) fn of_this_host() -> Result<Self> {
        let kernel = host::kernel().context("--check-model needs a kernel that the model knows")?;
        Ok(Self { name: kernel.name, features: kernel.features })
    }

    /// Learns from what these cells showed.
    pub(super) fn learn(&mut self, cells: &[CellReport]) {
        let comparisons = cells.iter().flat_map(|c| &c.judgement.connections);
        self.features =
            model_check::as_observed(self.features, comparisons.flat_map(|c| &c.connection.stages));
    }

    /// Compares one cell.
    pub(super) fn check(&self, cell: &CellReport) -> Answer {
        let traced: Vec<&Connection> =
            cell.judgement.connections.iter().map(|c| &c.connection).collect();
        // Without a tracer the stages are drawn from packets and sockets, which show no timer.
        let blind_to = cell.blind_to();
        model_check::check(self.features, &cell.config, &cell.observation, &traced, &blind_to)
    }

    /// The whole report as text, and whether the model was right everywhere.
    pub(super) fn report(&mut self, report: &Report) -> (String, bool) {
        self.learn(&report.cells);
        let (mut connections, mut wrong, mut text) = (0, 0, String::new());
        for cell in &report.cells {
            let name = cell.config.run_name();
            match self.check(cell) {
                Err(why) => {
                    wrong += 1;
                    let _ = writeln!(text, "  {name}: not checked: {why}");
                }
                Ok(checked) => {
                    connections += checked.connections;
                    wrong += checked.differences.len();
                    for difference in &checked.differences {
                        let _ = writeln!(text, "  {name}, {}", words(difference));
                    }
                }
            }
        }
        let head = format!("The model of {} (regime {})", self.name, self.features.regime());
        let head = if wrong == 0 {
            format!("\n✓ {head} predicted what became of {connections} connections.\n")
        } else {
            format!("\n✗ {head} is wrong on {wrong} of {connections} connections:\n")
        };
        (head + &text, wrong == 0)
    }
}

/// A difference in words: both histories, and the first condition on which they part.
pub(super) fn words(difference: &Difference) -> String {
    let phase = match difference.phase {
        Phase::Prefill => "prefill, ",
        Phase::Burst => "",
    };
    let ids = |ids: &[VerdictId]| {
        let ids: Vec<&str> = ids.iter().map(|id| id.as_str()).collect();
        if ids.is_empty() { "nothing".to_owned() } else { ids.join(" → ") }
    };
    let model = difference.decision.map_or_else(
        || "the model has no further stage".to_owned(),
        |d| {
            let function = d.condition.function();
            format!("the model: {} at {} ms, {function}: {}", d.id, d.t_ns / MS, d.condition)
        },
    );
    let kernel = difference.stage.as_deref().map_or_else(
        || "the trace has no further stage".to_owned(),
        |s| format!("the kernel: {}", stage(s)),
    );
    format!(
        "{phase}port {}\n    predicted {}\n    traced    {}\n    {model}\n    {kernel}",
        difference.client.port(),
        ids(&difference.predicted),
        ids(&difference.traced),
    )
}

fn stage(stage: &Stage) -> String {
    let values = &stage.values;
    let read = [
        ("sk_ack_backlog", values.sk_ack_backlog),
        ("sk_max_ack_backlog", values.sk_max_ack_backlog),
        ("reqsk_queue_len", values.syn_queue_len),
        ("young", values.syn_queue_young),
        ("num_timeout", values.num_timeout.map(u32::from)),
    ];
    let read: Vec<String> =
        read.iter().filter_map(|(name, value)| Some(format!("{name} {}", (*value)?))).collect();
    let values = if read.is_empty() { String::new() } else { format!(", {}", read.join(", ")) };
    format!("{}{values}", stage.id)
}
