//! Cells prepared, a tracer attached, cells run side by side, everything compared.

use std::{
    future::Future,
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use overflow_core::verdict;
use overflow_host::kernel;
use tokio::{task::JoinSet, time::interval};

use crate::{
    Cell, CellConfig, LabError, Observation, Progress,
    cell::global::{Keeper, Settings},
    report::{CellReport, Host, Report},
    tracing::{Traced, Tracing, TracingError, begins_here, until_close},
};

/// A burst that was not concurrent shows something else than was asked; so often it is tried.
pub const ATTEMPTS: u32 = 3;
/// How often a [`Watcher`] learns that time has passed.
const TICK: Duration = Duration::from_millis(250);

/// How a run ended.
pub enum Finished<T = Report> {
    /// All of it ran.
    Done(T),
    /// It was interrupted.
    Interrupted,
}

/// Somebody who watches how far the cells have come.
pub trait Watcher: Send + Sync + 'static {
    /// A cell, by its place in the list, has come so far.
    fn progress(&self, cell: usize, progress: Progress);

    /// Some time has passed.
    fn tick(&self);

    /// No cell runs any more.
    fn end(&self);
}

/// Runs these cells side by side, each up to `attempts` times until its burst was concurrent.
///
/// `begin` is called once the cells' namespaces, of which it gets the inode numbers, are there and
/// before anything runs in them.
pub async fn run<T: Tracing, W: Watcher>(
    configs: Vec<CellConfig>,
    attempts: u32,
    begin: impl FnOnce(&[u32]) -> Result<(Option<T>, W), TracingError>,
) -> Result<Report, LabError> {
    let prepared: Vec<Cell> = configs.iter().map(prepare).collect::<Result<_, _>>()?;
    let namespaces: Vec<u32> = prepared.iter().map(Cell::server_netns_inum).collect();
    let (mut tracing, watcher) = begin(&namespaces).map_err(LabError::Tracing)?;
    let watcher = Arc::new(watcher);
    let ran = side_by_side(&configs, prepared, attempts, tracing.as_mut(), &watcher).await;
    watcher.end();
    // Held while histories are distinguished by the number of their namespace: a number that is free
    // is soon given to the next cell.
    let (ran, _held) = ran?;
    let traced = match tracing {
        Some(tracing) => Some(tracing.finish().await.map_err(LabError::Tracing)?),
        None => None,
    };
    let host = Host {
        kernel: kernel::release(),
        distro: Some(kernel::distro()).filter(|d| !d.is_empty()),
    };
    let reports = configs.into_iter().zip(ran);
    let cells = reports.map(|(config, ran)| report(config, ran, traced.as_ref())).collect();
    Ok(Report { host, cells })
}

/// About how long these cells take, side by side.
pub fn duration(configs: &[CellConfig]) -> Duration {
    let one = |config: &CellConfig| {
        config.delay * (config.prefill + 2) + config.hold + Duration::from_millis(600)
    };
    configs.iter().map(one).max().unwrap_or_default()
}

fn prepare(config: &CellConfig) -> Result<Cell, LabError> {
    Cell::prepare(config.clone(), subnet())
}

/// Another subnet for each cell of this process: what an earlier one leaves behind in the kernel for
/// some seconds (requests and their timers) must not bear a later one's addresses.
fn subnet() -> u8 {
    static NEXT: AtomicU8 = AtomicU8::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

struct Ran {
    netns: u32,
    observation: Observation,
}

/// One result per cell, and descriptors of every namespace that was used.
async fn side_by_side<T: Tracing>(
    configs: &[CellConfig],
    prepared: Vec<Cell>,
    attempts: u32,
    mut tracing: Option<&mut T>,
    watcher: &Arc<impl Watcher>,
) -> Result<(Vec<Ran>, Vec<OwnedFd>), LabError> {
    let mut done: Vec<Option<Ran>> = configs.iter().map(|_| None).collect();
    let mut next: Vec<(usize, Cell)> = prepared.into_iter().enumerate().collect();
    let mut held = Vec::new();
    // What it set is put back when it is dropped.
    let mut keeper = None;
    for attempt in 1..=attempts {
        let mut again = Vec::new();
        for (settings, cells) in alike(next.drain(..)) {
            if !settings.is_empty() {
                set(&mut keeper, &settings)?;
            }
            let mut running = JoinSet::new();
            for (i, cell) in cells {
                held.push(cell.hold_netns()?);
                running.spawn(one(i, cell, Arc::clone(watcher)));
            }
            let mut tick = interval(TICK);
            loop {
                let joined = tokio::select! {
                    joined = running.join_next() => joined,
                    _ = tick.tick() => {
                        watcher.tick();
                        continue;
                    }
                };
                let Some(joined) = joined else { break };
                let (i, ran) = joined.map_err(|_| LabError::ThreadEnded("cell"))?;
                let mut ran = ran?;
                ran.observation.attempts = attempt;
                if !ran.observation.concurrent && attempt < attempts {
                    again.push(i);
                }
                done[i] = Some(ran);
            }
        }
        for i in again {
            let cell = prepare(&configs[i])?;
            if let Some(tracing) = tracing.as_deref_mut() {
                tracing.add_netns(cell.server_netns_inum()).map_err(LabError::Tracing)?;
            }
            next.push((i, cell));
        }
        if next.is_empty() {
            break;
        }
    }
    Ok((done.into_iter().flatten().collect(), held))
}

/// Cells by what must be set for the whole host, in the order of the first: only those that want the same
/// can run side by side.
fn alike(cells: impl Iterator<Item = (usize, Cell)>) -> Vec<(Settings, Vec<(usize, Cell)>)> {
    let mut groups: Vec<(Settings, Vec<(usize, Cell)>)> = Vec::new();
    for (i, cell) in cells {
        match groups.iter_mut().find(|(settings, _)| settings == cell.global()) {
            Some((_, group)) => group.push((i, cell)),
            None => groups.push((cell.global().clone(), vec![(i, cell)])),
        }
    }
    groups
}

/// Sets sysctls of the whole host, by a process that is started when it is first needed.
fn set(keeper: &mut Option<Keeper>, settings: &Settings) -> Result<(), LabError> {
    match keeper {
        Some(keeper) => keeper.set(settings),
        none => none.insert(Keeper::start()?).set(settings),
    }
}

fn one(
    i: usize,
    cell: Cell,
    watcher: Arc<impl Watcher>,
) -> impl Future<Output = (usize, Result<Ran, LabError>)> + Send {
    let netns = cell.server_netns_inum();
    async move {
        let observation = cell.run(move |progress| watcher.progress(i, progress)).await;
        (i, observation.map(|observation| Ran { netns, observation }))
    }
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
            .filter(|(_, history)| begins_here(history))
            .map(|(key, history)| verdict::judge(key, &until_close(history, end), limit))
            .collect()
    });
    let (coverage, hooks, losses) = match traced {
        Some(t) => (Some(&t.coverage), t.hooks.clone(), t.losses.clone()),
        None => (None, Vec::new(), Vec::new()),
    };
    CellReport::new(config, ran.observation, connections, coverage, hooks, losses)
}
