//! Scenarios drawn at random, and the smallest one that shows a disagreement.

use std::time::Duration;

use crate::{
    CellConfig, HostModel,
    report::{CellReport, Report},
    run::Finished,
};

/// Cells that run side by side.
const BATCH: usize = 8;
/// Cuts tried before the smallest scenario so far is good enough.
const CUTS: usize = 12;

/// Most clients of one scenario.
const MAX_CLIENTS: u32 = 50;
/// Largest backlog.
const MAX_BACKLOG: u32 = 16;
/// Longest delay, milliseconds.
const MAX_DELAY_MS: u64 = 300;
/// Largest payload: one segment.
const MAX_PAYLOAD: usize = 1400;
/// Long enough for the first retransmissions of SYN and SYN-ACK.
const HOLD: Duration = Duration::from_millis(2500);

/// What a random run has found.
pub enum Found<'a> {
    /// Witnesses, or the model with them, disagree in this scenario.
    Disagreement {
        /// Which one, counted from 1.
        number: usize,
        /// The scenario.
        config: &'a CellConfig,
        /// What disagrees, a sentence each.
        faults: &'a [String],
    },
    /// The smallest scenario found that shows it still.
    Smallest {
        /// The scenario.
        config: &'a CellConfig,
        /// What disagrees, a sentence each.
        faults: &'a [String],
    },
}

/// How a random run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Scenarios that ran.
    pub scenarios: usize,
    /// Their connections.
    pub connections: usize,
    /// Scenarios with a disagreement.
    pub wrong: usize,
    /// Whether it was interrupted.
    pub interrupted: bool,
}

/// Runs these scenarios, and hands over every disagreement, between witnesses or with the model,
/// and then the smallest scenario that has it. `lab` runs some cells.
pub fn run<E>(
    configs: &[CellConfig],
    mut model: Option<HostModel>,
    lab: impl Fn(Vec<CellConfig>) -> Result<Finished, E>,
    mut found: impl FnMut(Found<'_>),
) -> Result<Checked, E> {
    let mut checked = Checked { scenarios: 0, connections: 0, wrong: 0, interrupted: false };
    for batch in configs.chunks(BATCH) {
        let Some(report) = ran(lab(batch.to_vec())?) else {
            return Ok(Checked { interrupted: true, ..checked });
        };
        if let Some(model) = &mut model {
            model.learn(&report.cells);
        }
        for (number, cell) in (checked.scenarios + 1..).zip(&report.cells) {
            checked.connections += cell.judgement.connections.len();
            let faults = faults(cell, model.as_ref());
            if faults.is_empty() {
                continue;
            }
            checked.wrong += 1;
            found(Found::Disagreement { number, config: &cell.config, faults: &faults });
            if let Some((config, faults)) = shrink(&cell.config, model.as_ref(), &lab)? {
                found(Found::Smallest { config: &config, faults: &faults });
            }
        }
        checked.scenarios += batch.len();
    }
    Ok(checked)
}

fn ran(finished: Finished) -> Option<Report> {
    match finished {
        Finished::Done(report) => Some(report),
        Finished::Interrupted => None,
    }
}

/// What disagrees in a cell, a sentence each.
fn faults(cell: &CellReport, model: Option<&HostModel>) -> Vec<String> {
    let judged = cell.judgement.connections.iter().filter(|j| !j.agree);
    let mut faults: Vec<String> = judged
        .map(|j| {
            let why = j.why.as_deref().unwrap_or("for no stated reason");
            format!("witnesses, port {}: {why}", j.connection.client.port())
        })
        .collect();
    if !cell.judgement.counters.is_empty() {
        faults.push(format!("counters: {}", cell.judgement.counters_text()));
    }
    match model.map(|m| m.check(cell)) {
        Some(Err(why)) => faults.push(format!("not checked: {why}")),
        Some(Ok(checked)) => faults.extend(checked.differences.iter().map(ToString::to_string)),
        None => {}
    }
    faults
}

/// The smallest scenario found that still disagrees, with what disagrees in it; `None` if no
/// smaller one does.
fn shrink<E>(
    config: &CellConfig,
    model: Option<&HostModel>,
    lab: impl Fn(Vec<CellConfig>) -> Result<Finished, E>,
) -> Result<Option<(CellConfig, Vec<String>)>, E> {
    let mut smallest = None;
    for _ in 0..CUTS {
        let from = smallest.as_ref().map_or(config, |(config, _)| config);
        let Some(report) = ran(lab(smaller(from))?) else { break };
        let still = report.cells.iter().find_map(|cell| {
            let faults = faults(cell, model);
            (!faults.is_empty()).then(|| (cell.config.clone(), faults))
        });
        match still {
            Some(found) => smallest = Some(found),
            None => break,
        }
    }
    Ok(smallest)
}

/// Draws scenarios; the same seed draws the same ones.
pub struct Lot {
    rng: fastrand::Rng,
    template: CellConfig,
}

impl Lot {
    /// Scenarios that differ from `template` in what is drawn.
    pub fn new(seed: u64, template: CellConfig) -> Self {
        Self { rng: fastrand::Rng::with_seed(seed), template }
    }

    /// The next scenario, one that every kernel of the model can run.
    pub fn draw(&mut self) -> CellConfig {
        let rng = &mut self.rng;
        let backlog = rng.u32(0..=MAX_BACKLOG);
        let somaxconn = (rng.u8(0..4) == 0).then(|| rng.u32(1..=MAX_BACKLOG));
        let syncookies = [0, 1, 1, 2][rng.usize(0..4)];
        let limit = somaxconn.map_or(backlog, |max| backlog.min(max));
        let fills = rng.bool();
        let prefill = rng.u32(0..=limit + 1);
        // Before 3479c7549fb1 a backlog of 0 without cookies lets nobody in.
        let nobody = limit == 0 && syncookies == 0;
        let delays = rng.u8(0..5) > 0;
        let delay = rng.u64(1..=MAX_DELAY_MS);
        let pays = rng.bool();
        let payload = rng.usize(1..=MAX_PAYLOAD);
        CellConfig {
            abort_on_overflow: rng.u8(0..=1),
            syncookies,
            backlog,
            somaxconn,
            clients: rng.u32(1..=MAX_CLIENTS),
            delay: Duration::from_millis(if delays { delay } else { 0 }),
            prefill: if fills && !nobody { prefill } else { 0 },
            payload: if pays { payload } else { 0 },
            hold: HOLD,
            ..self.template.clone()
        }
    }
}

/// Smaller scenarios than this one, the boldest cut first.
fn smaller(config: &CellConfig) -> Vec<CellConfig> {
    let mut found: Vec<CellConfig> = Vec::new();
    let mut cut = |change: &dyn Fn(&mut CellConfig)| {
        let mut one = config.clone();
        change(&mut one);
        if one != *config && !found.contains(&one) {
            found.push(one);
        }
    };
    cut(&|c| c.clients = (c.clients / 2).max(1));
    cut(&|c| c.prefill /= 2);
    cut(&|c| c.payload = 0);
    cut(&|c| c.somaxconn = None);
    cut(&|c| {
        c.backlog /= 2;
        c.prefill = c.prefill.min(c.backlog + 1);
    });
    cut(&|c| c.clients = (c.clients - 1).max(1));
    cut(&|c| c.prefill = c.prefill.saturating_sub(1));
    cut(&|c| c.delay = Duration::from_millis(200));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(seed: u64, n: usize) -> Vec<CellConfig> {
        let mut lot = Lot::new(seed, CellConfig::SEED);
        (0..n).map(|_| lot.draw()).collect()
    }

    #[test]
    fn a_seed_draws_the_same_scenarios_again() {
        assert_eq!(drawn(7, 50), drawn(7, 50));
        assert_ne!(drawn(7, 50), drawn(8, 50));
    }

    #[test]
    fn every_scenario_can_run() {
        for config in drawn(1, 2000) {
            assert!(config.check().is_ok(), "{config:?}");
            let limit = config.backlog.min(config.somaxconn.unwrap_or(4096));
            assert!(config.prefill <= limit + 1, "{config:?}");
        }
    }

    #[test]
    fn cutting_ends_at_one_client() {
        let mut config = drawn(3, 1).remove(0);
        let mut cuts = 0;
        while let Some(next) = smaller(&config).pop() {
            config = next;
            cuts += 1;
            assert!(cuts < 500, "{config:?}");
        }
        while let Some(next) = smaller(&config).into_iter().next() {
            config = next;
        }
        assert_eq!((config.clients, config.prefill, config.payload), (1, 0, 0));
    }
}
