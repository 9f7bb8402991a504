//! `--scenario` and `--list-scenarios`: runs scenarios, says whether each came out as expected.

use std::{
    fs::File,
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use anyhow::{Result, bail};
use serde::Serialize;

use super::{
    LabArgs,
    run::{ATTEMPTS, Finished},
};
use crate::cli::OutputFormat;
use overflow_core::{hook_point::HookPoint, syn_limit, verdict::Connection, wire};
use overflow_lab::{
    Cell, CellConfig, LabError,
    report::{CellReport, Report, json as report_json},
    scenarios::{Evidence, Scenario, text},
};

/// Cells that run side by side: more would disturb each other's timing on a small machine.
const BATCH: usize = 6;

/// How a scenario ended.
struct Ended {
    scenario: &'static Scenario,
    config: CellConfig,
    outcome: Outcome,
}

enum Outcome {
    /// It ran; what differs from what must come out, one sentence each.
    Ran { cell: usize, differences: Vec<String> },
    /// This kernel cannot run it, or no hook can show it; why.
    Unavailable(String),
}

/// A `scenario` line of the JSON output, as the list has it.
#[derive(Serialize)]
struct Listed {
    r#type: &'static str,
    v: u32,
    scenario: &'static str,
    shows: &'static str,
}

/// A `scenario` line of a run.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    listed: Listed,
    /// The run's name, as in its other lines.
    run: String,
    /// Whether all came out as expected and no witness disagrees; `null` if it could not run.
    holds: Option<bool>,
    /// Each connection's stages, in order.
    stories: Vec<String>,
    /// What differs from what was expected, one sentence each.
    differences: &'a [String],
    /// Why it could not run.
    unavailable: Option<&'a str>,
}

/// Prints every scenario with what it shows.
pub(super) fn list(output: OutputFormat) -> Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    for scenario in Scenario::all() {
        match output {
            OutputFormat::Text => {
                writeln!(out, "{}", scenario.name)?;
                writeln!(out, "    {}", scenario.shows)?;
            }
            OutputFormat::Json => line(&mut out, &listed(scenario))?,
        }
    }
    out.flush()?;
    Ok(())
}

/// Runs the scenarios asked for, some at a time. Exit code 1 if one did not come out as expected
/// or witnesses disagree.
pub(super) fn run(
    args: &LabArgs,
    capture: Option<File>,
    lab: impl Fn(Vec<CellConfig>) -> Result<Finished>,
) -> Result<ExitCode> {
    let mut ended = chosen(args)?;
    let mut report: Option<Report> = None;
    let runnable: Vec<usize> =
        (0..ended.len()).filter(|i| matches!(ended[*i].outcome, Outcome::Ran { .. })).collect();
    for batch in runnable.chunks(BATCH) {
        let configs = batch.iter().map(|i| ended[*i].config.clone()).collect();
        let Finished::Report(ran) = lab(configs)? else { return Ok(super::interrupted()) };
        let cells = report.as_ref().map_or(0, |r| r.cells.len());
        for ((&i, cell), number) in batch.iter().zip(&ran.cells).zip(cells..) {
            ended[i].outcome = if let Some(id) = ended[i].scenario.unseen(&cell.blind_to()) {
                Outcome::Unavailable(format!(
                    "no hook in use shows {id}, and without it what the other witnesses see does not \
                     add up; use fentry or kprobe (see `overflow doctor`)"
                ))
            } else {
                let differences = differences(ended[i].scenario, cell)?;
                Outcome::Ran { cell: number, differences }
            };
        }
        match &mut report {
            Some(report) => report.cells.extend(ran.cells),
            None => report = Some(ran),
        }
    }
    if let Some(report) = &mut report
        && !again(&mut ended, report, &lab)?
    {
        return Ok(super::interrupted());
    }
    if let Some(report) = &report {
        super::save(capture, report, args)?;
    }
    let cells = report.as_ref().map_or(&[][..], |r| &r.cells);
    match args.output {
        OutputFormat::Json => json(&ended, report.as_ref())?,
        OutputFormat::Text => {
            if let (Some(report), [Ended { outcome: Outcome::Ran { .. }, .. }]) =
                (&report, &ended[..])
            {
                super::print(report, args)?;
                println!();
            }
            summary(&ended, cells)?;
        }
    }
    let good = ended.iter().all(|e| e.holds(cells) != Some(false));
    Ok(ExitCode::from(u8::from(!good)))
}

/// Runs those again that did not come out as expected while records were lost: what was not seen is
/// no proof of anything. False if it was interrupted.
fn again(
    ended: &mut [Ended],
    report: &mut Report,
    lab: impl Fn(Vec<CellConfig>) -> Result<Finished>,
) -> Result<bool> {
    for _ in 1..ATTEMPTS {
        let unseen: Vec<usize> =
            (0..ended.len()).filter(|i| ended[*i].lacks_records(&report.cells)).collect();
        for batch in unseen.chunks(BATCH) {
            let configs = batch.iter().map(|i| ended[*i].config.clone()).collect();
            let Finished::Report(ran) = lab(configs)? else { return Ok(false) };
            for (&i, mut cell) in batch.iter().zip(ran.cells) {
                let Outcome::Ran { cell: number, .. } = ended[i].outcome else { continue };
                let before = &report.cells[number];
                let note = format!("run again: {} records were lost before", lost(before));
                cell.observation.notes.push(note);
                cell.observation.attempts += before.observation.attempts;
                let differences = differences(ended[i].scenario, &cell)?;
                ended[i].outcome = Outcome::Ran { cell: number, differences };
                report.cells[number] = cell;
            }
        }
    }
    Ok(true)
}

fn lost(cell: &CellReport) -> u64 {
    cell.losses.iter().map(|loss| loss.count).sum()
}

/// The scenarios asked for, each once, with those this kernel cannot run marked.
fn chosen(args: &LabArgs) -> Result<Vec<Ended>> {
    let all = args.scenario.iter().any(|name| name == "all");
    let wanted = |s: &&Scenario| all || args.scenario.iter().any(|name| name == s.name);
    let mut ended = Vec::new();
    for scenario in Scenario::all().filter(wanted) {
        let mut config = scenario.cell();
        config.family = args.family();
        config.port = args.port();
        let outcome = match Cell::prepare(config.clone(), 0) {
            Ok(_) => Outcome::Ran { cell: 0, differences: Vec::new() },
            Err(error @ (LabError::SysctlNotPerNamespace { .. } | LabError::NoDestroy)) => {
                Outcome::Unavailable(error.to_string())
            }
            Err(error) => return Err(error.into()),
        };
        ended.push(Ended { scenario, config, outcome });
    }
    Ok(ended)
}

fn differences(scenario: &Scenario, cell: &CellReport) -> Result<Vec<String>> {
    if cell.hooks.is_empty() {
        bail!(
            "scenario {} cannot be judged without a tracer: it is about paths that packets and \
             counters do not tell apart; see `overflow doctor`",
            scenario.name
        );
    }
    let blind_to = cell.blind_to();
    let third_ack = cell.hooks.iter().filter(|h| h.moment == HookPoint::ThirdAck.as_str());
    let stages = cell.judgement.connections.iter().flat_map(|c| &c.connection.stages);
    let evidence = Evidence {
        limit: syn_limit::of_stages(stages),
        blind_to: &blind_to,
        coarse: third_ack.map(|h| h.rung).all(|rung| rung == "tracepoint"),
        counters: &cell.observation.counters,
    };
    let connections: Vec<&Connection> =
        cell.judgement.connections.iter().map(|j| &j.connection).collect();
    let mut differences = scenario.differences(&connections, &evidence);
    // A late step that changed nothing is none to be reported.
    if !cell.observation.concurrent && !differences.is_empty() {
        differences.push(format!(
            "it was another experiment than the one described, {} times over: this machine was too \
             busy to follow the script in time; run it again when less is going on",
            cell.observation.attempts
        ));
    }
    Ok(differences)
}

impl Ended {
    /// Whether it came out as expected, with all witnesses agreeing; `None` if it could not run.
    fn holds(&self, cells: &[CellReport]) -> Option<bool> {
        match &self.outcome {
            Outcome::Ran { cell, differences } => {
                let agree = cells.get(*cell).is_some_and(|c| c.judgement.agree());
                Some(differences.is_empty() && agree)
            }
            Outcome::Unavailable(_) => None,
        }
    }

    /// Whether it did not come out as expected, perhaps because something was not seen.
    fn lacks_records(&self, cells: &[CellReport]) -> bool {
        let Outcome::Ran { cell, .. } = &self.outcome else { return false };
        self.holds(cells) == Some(false) && cells.get(*cell).is_some_and(|cell| lost(cell) > 0)
    }
}

/// One line per scenario; below those that failed, why.
fn summary(ended: &[Ended], cells: &[CellReport]) -> Result<()> {
    let colour = super::super::style::options(io::stdout().is_terminal()).color;
    let mut out = io::BufWriter::new(io::stdout().lock());
    for e in ended {
        let (word, tone) = match e.holds(cells) {
            Some(true) => ("as expected", "32"),
            Some(false) => ("DIFFERENT", "31"),
            None => ("unavailable", "33"),
        };
        let word =
            if colour { format!("\x1b[{tone}m{word:11}\x1b[0m") } else { format!("{word:11}") };
        match &e.outcome {
            Outcome::Unavailable(why) => {
                writeln!(out, "{word}  {}", e.scenario.name)?;
                writeln!(out, "    {why}")?;
            }
            Outcome::Ran { cell, differences } => {
                let connections = cells.get(*cell).map_or(&[][..], |c| &c.judgement.connections);
                writeln!(out, "{word}  {}", e.scenario.name)?;
                for (n, history) in grouped(connections.iter().map(|j| &j.connection)) {
                    writeln!(out, "    {n} × {history}")?;
                }
                for difference in differences {
                    writeln!(out, "    difference: {difference}")?;
                }
                let objections = connections.iter().filter_map(|j| {
                    j.why.as_ref().map(|why| format!("{}: {why}", j.connection.client))
                });
                for objection in objections {
                    writeln!(out, "    disagreement: {objection}")?;
                }
                for counter in cells.get(*cell).map_or(&[][..], |c| &c.judgement.counters) {
                    writeln!(out, "    disagreement: {counter}")?;
                }
            }
        }
    }
    out.flush()?;
    Ok(())
}

/// Equal histories together, in order of their first.
fn grouped<'a>(connections: impl Iterator<Item = &'a Connection>) -> Vec<(usize, String)> {
    let mut groups: Vec<(usize, String)> = Vec::new();
    for history in connections.map(text) {
        match groups.iter_mut().find(|(_, h)| *h == history) {
            Some((n, _)) => *n += 1,
            None => groups.push((1, history)),
        }
    }
    groups
}

fn json(ended: &[Ended], report: Option<&Report>) -> Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let cells = report.map_or(&[][..], |r| &r.cells);
    if let Some(report) = report {
        for cell in cells {
            report_json::cell(&mut out, &report.host, cell)?;
        }
    }
    for e in ended {
        let mut l = Line {
            listed: listed(e.scenario),
            run: e.config.run_name(),
            holds: e.holds(cells),
            stories: Vec::new(),
            differences: &[],
            unavailable: None,
        };
        match &e.outcome {
            Outcome::Unavailable(why) => l.unavailable = Some(why),
            Outcome::Ran { cell, differences } => {
                let connections = cells.get(*cell).map_or(&[][..], |c| &c.judgement.connections);
                l.stories = connections.iter().map(|j| text(&j.connection)).collect();
                l.differences = differences;
            }
        }
        line(&mut out, &l)?;
    }
    if let Some(report) = report {
        report_json::summary(&mut out, report)?;
    }
    out.flush()?;
    Ok(())
}

fn listed(scenario: &'static Scenario) -> Listed {
    Listed { r#type: "scenario", v: wire::VERSION, scenario: scenario.name, shows: scenario.shows }
}

fn line(out: &mut impl Write, line: &impl Serialize) -> Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use overflow_core::wire::{HookInUse, LinkKind};
    use overflow_lab::{
        ListenerQueue, Observation, Timeline,
        report::{Host, Loss},
    };

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
                concurrent: true,
                attempts: 1,
                timeline: Timeline::default(),
            };
            let hook = HookPoint::ThirdAck.as_str();
            let hooks = vec![HookInUse { moment: hook, rung: "fentry", hook: String::new() }];
            let losses = vec![Loss { what: "ebpf ring_full".to_owned(), count: lost }];
            CellReport::new(config, observation, Vec::new(), None, hooks, losses)
        };
        let host = Host { kernel: String::new(), distro: None };
        Report { host, cells: configs.into_iter().map(cell).collect() }
    }

    /// The numbers of records lost in each run, the first of them before.
    fn attempts(lost: &[u64]) -> (u32, Vec<String>) {
        let scenario = Scenario::find("centos7").unwrap();
        let config = scenario.cell();
        let mut report = nothing_seen(vec![config.clone()], lost[0]);
        let differences = differences(scenario, &report.cells[0]).unwrap();
        assert!(!differences.is_empty());
        let mut ended =
            [Ended { scenario, config, outcome: Outcome::Ran { cell: 0, differences } }];
        let next = RefCell::new(lost[1..].iter());
        let lab = |configs| {
            let lost = next.borrow_mut().next().expect("one run too many");
            Ok(Finished::Report(nothing_seen(configs, *lost)))
        };
        assert!(again(&mut ended, &mut report, lab).unwrap());
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
