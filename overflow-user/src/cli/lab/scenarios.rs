//! `--scenario` and `--list-scenarios`: runs scenarios, prints whether each ended as expected.

use std::{
    fs::File,
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use anyhow::Result;

use super::LabArgs;
use crate::cli::{OutputFormat, report::PageFile};
use overflow_core::{
    text::style::Tone,
    verdict::Connection,
    wire::{self, Line, Lines},
};
use overflow_lab::{
    CellConfig,
    report::{CellReport, Report, lines},
    run::Finished,
    scenarios::{self, Outcome, Scenario, ScenarioRun, text},
};
use overflow_report::Collector;

/// Prints every scenario with what it shows.
pub(super) fn list(output: OutputFormat) -> Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    for scenario in Scenario::all() {
        match output {
            OutputFormat::Text => {
                writeln!(out, "{}", scenario.name)?;
                writeln!(out, "    {}", scenario.shows)?;
            }
            OutputFormat::Json => wire::line(&mut out, &line(scenario, None))?,
        }
    }
    out.flush()?;
    Ok(())
}

/// Runs the scenarios asked for. Exit code 1 if one did not end as expected or witnesses
/// disagree.
pub(super) fn run(
    args: &LabArgs,
    capture: Option<File>,
    page: Option<PageFile>,
    lab: impl Fn(Vec<CellConfig>) -> Result<Finished>,
) -> Result<ExitCode> {
    let mut runs = scenarios::prepare(&args.scenario, args.family(), args.port())?;
    let Finished::Done(report) = scenarios::run(&mut runs, lab)? else {
        return Ok(super::interrupted());
    };
    if let Some(report) = &report {
        super::save(capture, report, args)?;
    }
    let cells = report.as_ref().map_or(&[][..], |r| &r.cells);
    match args.output {
        OutputFormat::Json => {
            let mut out = wire::Json::new(io::BufWriter::new(io::stdout().lock()));
            give(&mut out, &runs, report.as_ref())?;
        }
        OutputFormat::Text => {
            if let (Some(report), [ScenarioRun { outcome: Outcome::Ran { .. }, .. }]) =
                (&report, &runs[..])
            {
                super::print(report, args)?;
                overflow::show!();
            }
            summary(&runs, cells)?;
        }
    }
    if let Some(mut page) = page {
        let mut collector = Collector::default();
        give(&mut collector, &runs, report.as_ref())?;
        page.write_page(&collector)?;
    }
    let good = runs.iter().all(|run| run.holds(cells) != Some(false));
    Ok(ExitCode::from(u8::from(!good)))
}

/// One line per scenario; below those that failed, why.
fn summary(runs: &[ScenarioRun], cells: &[CellReport]) -> Result<()> {
    let colour = super::super::style::options(io::stdout().is_terminal()).color;
    let mut out = io::BufWriter::new(io::stdout().lock());
    for run in runs {
        let (word, tone) = match run.holds(cells) {
            Some(true) => ("as expected", Tone::Good),
            Some(false) => ("DIFFERENT", Tone::Bad),
            None => ("unavailable", Tone::Warn),
        };
        let word = tone.paint(colour, &format!("{word:11}"));
        match &run.outcome {
            Outcome::Unavailable(why) => {
                writeln!(out, "{word}  {}", run.scenario.name)?;
                writeln!(out, "    {why}")?;
            }
            Outcome::Ran { cell, differences } => {
                let connections = cells.get(*cell).map_or(&[][..], |c| &c.judgement.connections);
                writeln!(out, "{word}  {}", run.scenario.name)?;
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
    for hihistory in connections.map(text) {
        match groups.iter_mut().find(|(_, h)| *h == hihistory) {
            Some((n, _)) => *n += 1,
            None => groups.push((1, hihistory)),
        }
    }
    groups
}

/// The lines of every run, and how each scenario ended.
fn give(to: &mut dyn Lines, runs: &[ScenarioRun], report: Option<&Report>) -> Result<()> {
    let cells = report.map_or(&[][..], |r| &r.cells);
    if let Some(report) = report {
        for cell in cells {
            lines::cell(to, &report.host, cell)?;
        }
    }
    for run in runs {
        let (histories, differences, unavailable) = match &run.outcome {
            Outcome::Unavailable(why) => (Vec::new(), &[][..], Some(why.as_str().into())),
            Outcome::Ran { cell, differences } => {
                let connections = cells.get(*cell).map_or(&[][..], |c| &c.judgement.connections);
                let histories = connections.iter().map(|j| text(&j.connection)).collect();
                (histories, &differences[..], None)
            }
        };
        let ended = wire::Ended {
            run: run.config.run_name().into(),
            holds: run.holds(cells),
            stories: histories,
            differences: differences.into(),
            unavailable,
        };
        to.line(&line(run.scenario, Some(ended)))?;
    }
    if let Some(report) = report {
        lines::summary(to, report)?;
    }
    to.flush()?;
    Ok(())
}

fn line<'a>(scenario: &'static Scenario, ended: Option<wire::Ended<'a>>) -> Line<'a> {
    let (v, name, shows) = (wire::VERSION, scenario.name.into(), scenario.shows.into());
    Line::Scenario(wire::Scenario { v, scenario: name, shows, ended })
}
