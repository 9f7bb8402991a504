//! Runs scenarios, some at a time, and reports whether each ended as expected.

use overflow_common::Rung;
use overflow_core::{hook_point::HookPoint, syn_limit, verdict::Connection};

use super::{Evidence, Scenario};
use crate::{
    Cell, CellConfig, Family, LabError,
    report::{CellReport, Report},
    run::{ATTEMPTS, Finished},
};

/// Cells that run side by side: more would disturb each other's timing on a small machine.
const BATCH: usize = 6;

/// A scenario to be run, and how it ended.
pub struct ScenarioRun {
    /// Which.
    pub scenario: &'static Scenario,
    /// Its cell.
    pub config: CellConfig,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a scenario ended.
pub enum Outcome {
    /// It ran.
    Ran {
        /// The place of its cell in the report.
        cell: usize,
        /// What differs from what is expected, one sentence each.
        differences: Vec<String>,
    },
    /// This kernel cannot run it, or no hook can show it; why.
    Unavailable(String),
}

/// The scenarios of these names, each once, with those marked that this kernel cannot run.
pub fn prepare(names: &[String], family: Family, port: u16) -> Result<Vec<ScenarioRun>, LabError> {
    let all = names.iter().any(|name| name == "all");
    let wanted = |s: &&Scenario| all || names.iter().any(|name| name == s.name);
    let mut runs = Vec::new();
    for scenario in Scenario::all().filter(wanted) {
        let mut config = scenario.cell();
        config.family = family;
        config.port = port;
        let outcome = match Cell::prepare(config.clone(), 0) {
            Ok(_) => Outcome::Ran { cell: 0, differences: Vec::new() },
            Err(error @ (LabError::SysctlNotPerNamespace { .. } | LabError::NoDestroy)) => {
                Outcome::Unavailable(error.to_string())
            }
            Err(error) => return Err(error),
        };
        runs.push(ScenarioRun { scenario, config, outcome });
    }
    Ok(runs)
}

/// Runs those that this kernel can run; `lab` runs some cells. Without any there is no report.
pub fn run<E: From<LabError>>(
    runs: &mut [ScenarioRun],
    lab: impl Fn(Vec<CellConfig>) -> Result<Finished, E>,
) -> Result<Finished<Option<Report>>, E> {
    let mut report: Option<Report> = None;
    let runnable: Vec<usize> =
        (0..runs.len()).filter(|i| matches!(runs[*i].outcome, Outcome::Ran { .. })).collect();
    for batch in runnable.chunks(BATCH) {
        let configs = batch.iter().map(|i| runs[*i].config.clone()).collect();
        let Finished::Done(ran) = lab(configs)? else { return Ok(Finished::Interrupted) };
        let cells = report.as_ref().map_or(0, |r| r.cells.len());
        for ((&i, cell), number) in batch.iter().zip(&ran.cells).zip(cells..) {
            runs[i].outcome = if cell.hooks.is_empty() && !cell.config.script.is_plain() {
                Outcome::Unavailable(
                    "nothing traces the kernel, and it is about paths that packets, counters and \
                     sockets do not tell apart; see `overflow doctor`"
                        .to_owned(),
                )
            } else if let Some(id) = runs[i].scenario.unseen(&cell.blind_to()) {
                Outcome::Unavailable(format!(
                    "no hook in use shows {id}, and without it the witnesses' accounts do not add \
                     up; use fentry or kprobe (see `overflow doctor`)"
                ))
            } else {
                let differences = differences(runs[i].scenario, cell);
                Outcome::Ran { cell: number, differences }
            };
        }
        match &mut report {
            Some(report) => report.cells.extend(ran.cells),
            None => report = Some(ran),
        }
    }
    if let Some(report) = &mut report
        && !again(runs, report, &lab)?
    {
        return Ok(Finished::Interrupted);
    }
    Ok(Finished::Done(report))
}

/// Runs those again that did not end as expected while records were lost: what was not seen is
/// no proof of anything. False if it was interrupted.
fn again<E: From<LabError>>(
    runs: &mut [ScenarioRun],
    report: &mut Report,
    lab: impl Fn(Vec<CellConfig>) -> Result<Finished, E>,
) -> Result<bool, E> {
    for _ in 1..ATTEMPTS {
        let unseen: Vec<usize> =
            (0..runs.len()).filter(|i| runs[*i].lacks_records(&report.cells)).collect();
        for batch in unseen.chunks(BATCH) {
            let configs = batch.iter().map(|i| runs[*i].config.clone()).collect();
            let Finished::Done(ran) = lab(configs)? else { return Ok(false) };
            for (&i, mut cell) in batch.iter().zip(ran.cells) {
                let Outcome::Ran { cell: number, .. } = runs[i].outcome else { continue };
                let before = &report.cells[number];
                let note = format!("run again: {} records were lost before", before.lost());
                cell.observation.notes.push(note);
                cell.observation.attempts += before.observation.attempts;
                let differences = differences(runs[i].scenario, &cell);
                runs[i].outcome = Outcome::Ran { cell: number, differences };
                report.cells[number] = cell;
            }
        }
    }
    Ok(true)
}

fn differences(scenario: &Scenario, cell: &CellReport) -> Vec<String> {
    let third_ack = cell.hooks.iter().filter(|h| h.hook_point == HookPoint::ThirdAck);
    let stages = cell.judgement.connections.iter().flat_map(|c| &c.connection.stages);
    let evidence = Evidence {
        limit: syn_limit::of_stages(stages),
        blind_to: &cell.blind_to(),
        traced: !cell.hooks.is_empty(),
        coarse: third_ack.map(|h| h.rung).all(|rung| rung == Rung::Tracepoint),
        counters: &cell.observation.counters,
    };
    let connections: Vec<&Connection> =
        cell.judgement.connections.iter().map(|j| &j.connection).collect();
    let mut differences = scenario.differences(&connections, &evidence);
    // A late step that changed nothing need not be mentioned.
    if !cell.observation.concurrent && !differences.is_empty() {
        differences.push(format!(
            "it was another experiment than the one described, {} times over: this machine was too \
             busy to follow the script in time; run it again when less is going on",
            cell.observation.attempts
        ));
    }
    differences
}

impl ScenarioRun {
    /// Whether it ended as expected, with all witnesses agreeing; `None` if it could not run.
    pub fn holds(&self, cells: &[CellReport]) -> Option<bool> {
        match &self.outcome {
            Outcome::Ran { cell, differences } => {
                let agree = cells.get(*cell).is_some_and(|c| c.judgement.agree());
                Some(differences.is_empty() && agree)
            }
            Outcome::Unavailable(_) => None,
        }
    }

    /// Whether it did not end as expected, perhaps because something was not seen.
    fn lacks_records(&self, cells: &[CellReport]) -> bool {
        let Outcome::Ran { cell, .. } = &self.outcome else { return false };
        self.holds(cells) == Some(false) && cells.get(*cell).is_some_and(|cell| cell.lost() > 0)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::{
        ListenerQueue, Observation, Timeline,
        report::{HookInUse, Host},
        witness::Coverage,
    };
    use overflow_core::{loss::Loss, wire::LinkKind};

    /// A run in which nothing was seen, and so many records were lost.
    fn nothing_seen(configs: Vec<CellConfig>, lost: u64) -> Report {
        let cell = |config| {
            let observation = Observation {
                server: ([10, 7, 0, 1], 12345).into(),
                clients: Vec::new(),
                server_sockets: Vec::new(),
                queue: (ListenerQueue::default(), ListenerQueue::default()),
                counters: std::collections::BTreeMap::new(),
                packets: Vec::new(),
                capture_drops: 0,
                link_drops: 0,
                link: LinkKind::Netem,
                notes: Vec::new(),
                global_sysctls: false,
                concurrent: true,
                attempts: 1,
                timeline: Timeline::default(),
            };
            let hooks = vec![HookInUse {
                hook_point: HookPoint::ThirdAck,
                rung: Rung::Fentry,
                hook: String::new(),
            }];
            let sight = Coverage { lost, blind_to: Vec::new() };
            let losses = vec![(Loss::Kernel(overflow_common::Loss::RingFull), lost)];
            CellReport::new(config, observation, Vec::new(), Some(&sight), hooks, losses)
        };
        let host = Host { kernel: String::new(), distro: None };
        Report { host, cells: configs.into_iter().map(cell).collect() }
    }

    /// The numbers of records lost in each run, the first of them before.
    fn attempts(lost: &[u64]) -> (u32, Vec<String>) {
        let scenario = Scenario::find("centos7").unwrap();
        let config = scenario.cell();
        let mut report = nothing_seen(vec![config.clone()], lost[0]);
        let differences = differences(scenario, &report.cells[0]);
        assert!(!differences.is_empty());
        let outcome = Outcome::Ran { cell: 0, differences };
        let mut runs = [ScenarioRun { scenario, config, outcome }];
        let next = RefCell::new(lost[1..].iter());
        let lab = |configs| -> Result<_, LabError> {
            let lost = next.borrow_mut().next().expect("one run too many");
            Ok(Finished::Done(nothing_seen(configs, *lost)))
        };
        assert!(again(&mut runs, &mut report, lab).unwrap());
        let observation = &report.cells[0].observation;
        (observation.attempts, observation.notes.clone())
    }

    #[test]
    fn only_what_may_not_have_been_seen_is_tried_again() {
        assert_eq!(attempts(&[0]), (1, vec![]));
        let note = |lost| vec![format!("run again: {lost} records were lost before")];
        assert_eq!(attempts(&[7, 0]), (2, note(7)));
        assert_eq!(attempts(&[7, 2, 1]), (3, note(2)));
    }
}
