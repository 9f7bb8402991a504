//! `--random N`: scenarios drawn by lot, the smallest one that shows a disagreement.

use std::{fmt::Write as _, process::ExitCode, time::Duration};

use anyhow::Result;

use super::{
    LabArgs,
    model_report::{self, Model},
    run::Finished,
};
use overflow_lab::{
    CellConfig, Family,
    report::{CellReport, Report},
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
pub(super) const HOLD: Duration = Duration::from_millis(2500);

/// Runs `n` scenarios drawn by lot, and shows every disagreement, between witnesses or with the
/// model, by the smallest scenario that has it.
pub(super) fn run(
    args: &LabArgs,
    n: u32,
    mut model: Option<Model>,
    lab: impl Fn(Vec<CellConfig>) -> Result<Finished>,
) -> Result<ExitCode> {
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..=u64::from(u32::MAX)));
    println!("overflow lab --random {n} --seed {seed}");
    let template = args.cells().remove(0);
    let mut lot = Lot::new(seed, template);
    let configs: Vec<CellConfig> = (0..n).map(|_| lot.draw()).collect();
    let (mut connections, mut wrong) = (0, 0);
    for (i, batch) in configs.chunks(BATCH).enumerate() {
        let Some(report) = ran(lab(batch.to_vec())?) else {
            eprintln!("overflow: interrupted; seed {seed}, {} scenarios were checked", i * BATCH);
            return Ok(ExitCode::from(1));
        };
        if let Some(model) = &mut model {
            model.learn(&report.cells);
        }
        for (j, cell) in report.cells.iter().enumerate() {
            connections += cell.judgement.connections.len();
            let faults = faults(cell, model.as_ref());
            if faults.is_empty() {
                continue;
            }
            wrong += 1;
            println!("✗ scenario {}: {}", i * BATCH + j + 1, command_line(&cell.config));
            print(&faults);
            if let Some((smallest, faults)) = shrink(&cell.config, model.as_ref(), &lab)? {
                println!("  smallest that shows it: {}", command_line(&smallest));
                print(&faults);
            }
        }
    }
    let what = if model.is_some() { "witnesses and model" } else { "witnesses" };
    if wrong == 0 {
        println!("✓ {what} agree on {connections} connections of {n} scenarios");
    } else {
        println!("✗ {what} disagree in {wrong} of {n} scenarios, {connections} connections");
    }
    Ok(ExitCode::from(u8::from(wrong > 0)))
}

fn print(faults: &[String]) {
    for fault in faults {
        println!("  {fault}");
    }
}

fn ran(finished: Finished) -> Option<Report> {
    match finished {
        Finished::Report(report) => Some(report),
        Finished::Interrupted => None,
    }
}

/// What disagrees in a cell, a sentence each.
fn faults(cell: &CellReport, model: Option<&Model>) -> Vec<String> {
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
        Some(Ok(checked)) => faults.extend(checked.differences.iter().map(model_report::words)),
        None => {}
    }
    faults
}

/// The smallest scenario found that still disagrees, with what disagrees in it; `None` if no
/// smaller one does.
fn shrink(
    config: &CellConfig,
    model: Option<&Model>,
    lab: impl Fn(Vec<CellConfig>) -> Result<Finished>,
) -> Result<Option<(CellConfig, Vec<String>)>> {
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
pub(super) struct Lot {
    rng: fastrand::Rng,
    template: CellConfig,
}

impl Lot {
    /// Scenarios that differ from `template` in what is drawn.
    pub(super) fn new(seed: u64, template: CellConfig) -> Self {
        Self { rng: fastrand::Rng::with_seed(seed), template }
    }

    /// The next scenario, one that every kernel of the model can run.
    pub(super) fn draw(&mut self) -> CellConfig {
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
pub(super) fn smaller(config: &CellConfig) -> Vec<CellConfig> {
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

/// The command that runs this scenario again.
pub(super) fn command_line(config: &CellConfig) -> String {
    let mut words = format!(
        "overflow lab --check-model --backlog {} --clients {} --delay {}ms --abort-on-overflow {} \
         --syncookies {} --hold {}",
        config.backlog,
        config.clients,
        config.delay.as_millis(),
        config.abort_on_overflow,
        config.syncookies,
        config.hold.as_secs_f64(),
    );
    if config.family != Family::default() {
        let _ = write!(words, " --family {}", config.family.as_str());
    }
    if let Some(somaxconn) = config.somaxconn {
        let _ = write!(words, " --somaxconn {somaxconn}");
    }
    if config.prefill > 0 {
        let _ = write!(words, " --prefill {}", config.prefill);
    }
    if config.payload > 0 {
        let _ = write!(words, " --payload {}", config.payload);
    }
    words
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

    #[test]
    fn the_command_line_names_what_was_drawn() {
        let config = CellConfig {
            somaxconn: Some(3),
            prefill: 2,
            payload: 9,
            delay: Duration::from_millis(17),
            ..drawn(1, 1).remove(0)
        };
        let line = command_line(&config);
        for word in ["--somaxconn 3", "--prefill 2", "--payload 9", "--delay 17ms", "--hold 2.5"] {
            assert!(line.contains(word), "{line}");
        }
    }
}
