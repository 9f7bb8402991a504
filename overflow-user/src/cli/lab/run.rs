//! The run itself: cells prepared, tracer attached, cells run side by side, everything judged.

use std::{
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::task::JoinSet;

use super::{LabArgs, progress::Line, recording::LabRecording};
use crate::cli::{
    connection_text,
    tracing::{self, Traced, Tracing},
};
use overflow::probe::TraceConfig;
use overflow_core::verdict;
use overflow_lab::{
    Cell, CellConfig, Observation,
    report::{CellReport, Host, Report},
};

/// A burst that was not concurrent shows something else than was asked; so often it is tried.
pub(super) const ATTEMPTS: u32 = 3;
/// How the run ended.
pub enum Finished {
    /// All cells ran.
    Report(Report),
    /// SIGINT or SIGTERM.
    Interrupted,
}

/// Runs these cells side by side; `args` say how to trace them.
pub async fn run(
    args: &LabArgs,
    configs: Vec<CellConfig>,
    tape: &LabRecording,
) -> Result<Finished> {
    tokio::select! {
        report = all(args, configs, tape) => report.map(Finished::Report),
        _ = connection_text::interrupted() => Ok(Finished::Interrupted),
    }
}

async fn all(args: &LabArgs, configs: Vec<CellConfig>, tape: &LabRecording) -> Result<Report> {
    let prepared = prepare(&configs)?;
    let config = trace_config(args, &prepared);
    let mut tracing = match Tracing::start(args.btf.as_deref(), &config, tape.wanted()) {
        Ok(tracing) => Some(tracing),
        Err(error) => {
            eprintln!("overflow: {error:#}");
            eprintln!("overflow: verdicts are inferred from packets, counters and sockets alone");
            None
        }
    };
    let expected = configs.iter().map(duration).max().unwrap_or_default();
    let line = Arc::new(Line::start(configs.len(), expected));
    // A scenario drawn by lot is welcome as it comes.
    let attempts = if args.random.is_some() { 1 } else { ATTEMPTS };
    let ran = cells(&configs, prepared, attempts, tracing.as_mut(), &line).await;
    line.clear();
    // Held while histories are distinguished by the number of their namespace: a number that is
    // free is soon given to the next cell.
    let (ran, _held) = ran?;
    let traced = match tracing {
        Some(tracing) => Some(tracing.finish().await?),
        None => None,
    };
    if let Some(traced) = &traced {
        tape.add(&traced.header, &traced.records)?;
    }
    let host = Host {
        kernel: overflow_host::kernel::release(),
        distro: Some(overflow_host::kernel::distro()).filter(|d| !d.is_empty()),
    };
    let cells = configs
        .into_iter()
        .zip(ran)
        .map(|(config, ran)| report(config, ran, traced.as_ref()))
        .collect();
    Ok(Report { host, cells })
}

fn trace_config(args: &LabArgs, cells: &[Cell]) -> TraceConfig {
    TraceConfig {
        ports: vec![args.port()],
        netns: cells.iter().map(Cell::server_netns_inum).collect(),
        all: true,
        rung: args.rung(),
        debug: args.debug,
        ..TraceConfig::default()
    }
}

fn prepare(configs: &[CellConfig]) -> Result<Vec<Cell>> {
    configs.iter().map(|config| Ok(Cell::prepare(config.clone(), subnet())?)).collect()
}

/// Another subnet for each cell of this process: what an earlier one leaves behind in the kernel for
/// some seconds (requests and their timers) must not bear a later one's addresses.
fn subnet() -> u8 {
    static NEXT: AtomicU8 = AtomicU8::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// About how long a cell takes.
fn duration(config: &CellConfig) -> Duration {
    config.delay * (config.prefill + 2) + config.hold + Duration::from_millis(600)
}

struct Ran {
    netns: u32,
    observation: Observation,
}

async fn cells(
    configs: &[CellConfig],
    prepared: Vec<Cell>,
    attempts: u32,
    mut tracing: Option<&mut Tracing>,
    line: &Arc<Line>,
) -> Result<(Vec<Ran>, Vec<OwnedFd>)> {
    let mut done: Vec<Option<Ran>> = configs.iter().map(|_| None).collect();
    let mut next: Vec<(usize, Cell)> = prepared.into_iter().enumerate().collect();
    let mut held = Vec::new();
    for attempt in 1..=attempts {
        let mut running = JoinSet::new();
        for (i, cell) in next.drain(..) {
            let (netns, line) = (cell.server_netns_inum(), Arc::clone(line));
            held.push(cell.hold_netns()?);
            running.spawn(async move {
                let observation = cell.run(move |p| line.set(i, p)).await;
                (i, netns, observation)
            });
        }
        let mut again = Vec::new();
        let mut tick = tokio::time::interval(Duration::from_millis(250));
        loop {
            let joined = tokio::select! {
                joined = running.join_next() => joined,
                _ = tick.tick() => {
                    line.draw();
                    continue;
                }
            };
            let Some(joined) = joined else { break };
            let (i, netns, observation) = joined.context("a cell's task failed")?;
            let mut observation = observation?;
            observation.attempts = attempt;
            if !observation.concurrent && attempt < attempts {
                again.push(i);
            }
            done[i] = Some(Ran { netns, observation });
        }
        for i in again {
            let cell = Cell::prepare(configs[i].clone(), subnet())?;
            if let Some(tracing) = tracing.as_deref_mut() {
                tracing.add_netns(cell.server_netns_inum())?;
            }
            next.push((i, cell));
        }
        if next.is_empty() {
            break;
        }
    }
    Ok((done.into_iter().flatten().collect(), held))
}

fn report(config: CellConfig, ran: Ran, traced: Option<&Traced>) -> CellReport {
    let connections = traced.map_or_else(Vec::new, |traced| {
        let limit = traced.table.syn_queue_limit();
        // A listener that is closed early is watched on, to the end of the hold: there its end is
        // what the cell is about.
        let timeline = ran.observation.timeline;
        let end = timeline.close.max(timeline.hold_end);
        let histories = traced.table.histories(ran.netns).into_iter();
        histories
            .filter(|(_, history)| tracing::begins_here(history))
            .map(|(key, history)| verdict::judge(key, &tracing::until_close(history, end), limit))
            .collect()
    });
    let (coverage, hooks, losses) = match traced {
        Some(t) => (Some(&t.coverage), t.hooks.clone(), t.losses.clone()),
        None => (None, Vec::new(), Vec::new()),
    };
    CellReport::new(config, ran.observation, connections, coverage, hooks, losses)
}
