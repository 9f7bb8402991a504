//! The run itself: cells prepared, tracer attached, cells run side by side, everything judged.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use overflow_common::Kind;
use tokio::{sync::oneshot, task::JoinHandle, task::JoinSet};

use super::{LabArgs, progress::Line};
use crate::{
    correlate::Table,
    decode::{Decoder, Observed},
    kernel::{self, Kernel},
    lab::{Cell, CellConfig, Observation, Timeline},
    probe::{Moment, RingReader, TraceConfig, Tracer},
    sink::{CellReport, HookInUse, Host, Loss, Report},
    verdict,
    witness::Sight,
};

/// A burst that was not concurrent shows something else than was asked; so often it is tried.
const ATTEMPTS: u32 = 3;
/// More than any cell can have: its clients are bounded by its source ports.
const MAX_CONNECTIONS: usize = 1 << 17;
/// Moments of one connection within one hold.
const MAX_MOMENTS: usize = 256;
/// Records of the last segments may still be on their way when a cell ends.
const SETTLE: Duration = Duration::from_millis(100);

/// How the run ended.
pub enum Finished {
    /// All cells ran.
    Report(Report),
    /// SIGINT or SIGTERM.
    Interrupted,
}

/// Runs these cells side by side; `args` say how to trace them.
pub async fn run(args: &LabArgs, configs: Vec<CellConfig>) -> Result<Finished> {
    tokio::select! {
        report = all(args, configs) => report.map(Finished::Report),
        _ = interrupted() => Ok(Finished::Interrupted),
    }
}

async fn interrupted() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result,
        _ = terminated.recv() => Ok(()),
    }
}

async fn all(args: &LabArgs, configs: Vec<CellConfig>) -> Result<Report> {
    let prepared = prepare(&configs)?;
    let mut tracing = match Tracing::start(args, &prepared) {
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
    let ran = ran?;
    let traced = match tracing {
        Some(tracing) => Some(tracing.finish().await?),
        None => None,
    };
    let host = Host {
        kernel: kernel::release(),
        distro: Some(kernel::distro()).filter(|d| !d.is_empty()),
    };
    let cells = configs
        .into_iter()
        .zip(ran)
        .map(|(config, ran)| report(config, ran, traced.as_ref()))
        .collect();
    Ok(Report { host, cells })
}

fn prepare(configs: &[CellConfig]) -> Result<Vec<Cell>> {
    let cell = |(i, config): (usize, &CellConfig)| {
        Ok(Cell::prepare(config.clone(), u8::try_from(i).unwrap_or(u8::MAX))?)
    };
    configs.iter().enumerate().map(cell).collect()
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
) -> Result<Vec<Ran>> {
    let mut done: Vec<Option<Ran>> = configs.iter().map(|_| None).collect();
    let mut next: Vec<(usize, Cell)> = prepared.into_iter().enumerate().collect();
    for attempt in 1..=attempts {
        let mut running = JoinSet::new();
        for (i, cell) in next.drain(..) {
            let (netns, line) = (cell.server_netns_inum(), Arc::clone(line));
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
            let cell = Cell::prepare(configs[i].clone(), u8::try_from(i).unwrap_or(u8::MAX))?;
            if let Some(tracing) = tracing.as_deref_mut() {
                tracing.tracer.add_netns(cell.server_netns_inum())?;
            }
            next.push((i, cell));
        }
        if next.is_empty() {
            break;
        }
    }
    Ok(done.into_iter().flatten().collect())
}

/// The tracer with its reader.
struct Tracing {
    tracer: Tracer,
    reader: JoinHandle<Read>,
    stop: oneshot::Sender<()>,
}

/// What the reader collected.
struct Read {
    table: Table,
    undecoded: u64,
}

struct Traced {
    table: Table,
    sight: Sight,
    hooks: Vec<HookInUse>,
    losses: Vec<Loss>,
}

impl Tracing {
    fn start(args: &LabArgs, cells: &[Cell]) -> Result<Self> {
        let kernel = Kernel::inspect(args.btf.as_deref())?;
        let config = TraceConfig {
            port: args.port(),
            netns: cells.iter().map(Cell::server_netns_inum).collect(),
            all: true,
            rung: args.rung(),
            debug: args.debug,
            ..TraceConfig::default()
        };
        let mut tracer = Tracer::attach(&kernel, &config)?;
        if args.debug {
            tracer.forward_logs()?;
        }
        let ring = tracer.ring()?;
        let decoder = Decoder::new(&kernel.facts, kernel.symbols);
        let (stop, stopped) = oneshot::channel();
        let reader = tokio::spawn(read(ring, decoder, stopped));
        Ok(Self { tracer, reader, stop })
    }

    async fn finish(self) -> Result<Traced> {
        tokio::time::sleep(SETTLE).await;
        let _ = self.stop.send(());
        let read = self.reader.await.context("the ring's reader failed")?;
        let kernel_losses = self.tracer.losses();
        let loss = |what: &str, count| Loss { what: what.to_owned(), count };
        let mut losses: Vec<_> = kernel_losses
            .by_cause
            .iter()
            .map(|(what, n)| loss(&format!("ebpf {what}"), *n))
            .collect();
        losses.push(loss("records that could not be decoded", read.undecoded));
        losses.push(loss("moments that found no room", read.table.evicted()));
        let sight =
            Sight { lost: losses.iter().map(|l| l.count).sum(), blind_to: blind_to(&self.tracer) };
        Ok(Traced { table: read.table, sight, hooks: hooks(&self.tracer), losses })
    }
}

async fn read(
    mut ring: RingReader,
    mut decoder: Decoder,
    mut stopped: oneshot::Receiver<()>,
) -> Read {
    let mut table = Table::new(MAX_CONNECTIONS, MAX_MOMENTS);
    let mut take = |event| {
        if let Some(moment) = decoder.decode(&event) {
            table.push(moment);
        }
    };
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            waited = ring.wait(&mut take) => {
                if waited.is_err() {
                    break;
                }
            }
        }
    }
    ring.drain(&mut take);
    let undecoded = decoder.unknown() + ring.malformed();
    Read { table, undecoded }
}

fn hooks(tracer: &Tracer) -> Vec<HookInUse> {
    let moments = tracer.moments().iter();
    moments
        .flat_map(|status| {
            let attached = status.hooks.iter().filter(|h| h.refused.is_none());
            attached.map(|hook| HookInUse {
                moment: status.moment.as_str(),
                rung: status.rung.map_or("none", |r| r.as_str()),
                hook: hook.name.clone(),
            })
        })
        .collect()
}

/// Families of verdicts that no attached hook can show.
fn blind_to(tracer: &Tracer) -> Vec<&'static str> {
    let unseen = tracer.moments().iter().filter(|m| m.rung.is_none());
    unseen.flat_map(|m| families(m.moment)).copied().collect()
}

/// Every moment there are hooks for.
pub(super) const MOMENTS: [Moment; 7] = [
    Moment::Syn,
    Moment::ThirdAck,
    Moment::Reset,
    Moment::SynAckRetransmit,
    Moment::RequestRemoved,
    Moment::ListenerClose,
    Moment::Accept,
];

/// Families of verdicts that only the hooks of this moment show.
pub(super) const fn families(moment: Moment) -> &'static [&'static str] {
    match moment {
        Moment::Syn => &["syn"],
        Moment::ThirdAck => &["ack", "later.migrated", "later.reset_by_client"],
        Moment::Reset => &["later.reset_no_socket"],
        Moment::RequestRemoved => &["later.request_expired", "later.request_orphaned"],
        Moment::ListenerClose => &["later.listener_closed"],
        Moment::Accept => &["later.accepted_by_app"],
        Moment::SynAckRetransmit => &[],
    }
}

/// The story up to the listener's close, and what the close itself did. What a client's retries
/// meet afterwards is no listener any more.
///
/// A listener that is closed early is watched on, to the end of the hold: there its end is what the
/// cell is about.
fn until_close(story: &[Observed], timeline: &Timeline) -> Vec<Observed> {
    let end = timeline.close.max(timeline.hold_end);
    let belongs = |m: &&Observed| m.t_ns < end || m.kind == Kind::ActiveReset;
    story.iter().filter(belongs).cloned().collect()
}

fn report(config: CellConfig, ran: Ran, traced: Option<&Traced>) -> CellReport {
    let connections = traced.map_or_else(Vec::new, |traced| {
        let limit = traced.table.syn_queue_limit();
        let timeline = ran.observation.timeline;
        let stories = traced.table.stories(ran.netns).into_iter();
        stories
            .map(|(key, story)| verdict::judge(key, &until_close(story, &timeline), limit))
            .collect()
    });
    let (sight, hooks, losses) = match traced {
        Some(t) => (Some(&t.sight), t.hooks.clone(), t.losses.clone()),
        None => (None, Vec::new(), Vec::new()),
    };
    CellReport::new(config, ran.observation, connections, sight, hooks, losses)
}
