//! A tracer with its reader: from attached hooks to a table of histories and what was lost.

use std::path::Path;

use anyhow::{Context, Result};
use overflow_common::RawEvent;
use tokio::{sync::oneshot, task::JoinHandle};

use super::trace;
use overflow::probe::{RecordReader, TraceConfig, Tracer};
use overflow_core::{decode::Decoder, histories::Table, hook_point, loss::Loss, recording::Header};
use overflow_host::kernel::Kernel;
use overflow_lab::{report::HookInUse, tracing::Traced, witness::Coverage};

/// More than any cell can have: its clients are bounded by its source ports.
const MAX_CONNECTIONS: usize = 1 << 17;
/// Events of one connection within one hold.
const MAX_EVENTS: usize = 256;
/// Records of the last segments may still be on their way when a cell ends.
const SETTLE: std::time::Duration = std::time::Duration::from_millis(100);

/// A tracer with its reader.
pub(super) struct Tracing {
    tracer: Tracer,
    reader: JoinHandle<Read>,
    header: Header,
    stop: oneshot::Sender<()>,
}

/// What the reader collected.
struct Read {
    table: Table,
    records: Vec<RawEvent>,
    undecoded: u64,
}

/// What was traced.
pub(super) struct Finished {
    /// The histories, and what could be seen.
    pub(super) traced: Traced,
    /// The records as they came, if they were to be kept, and what decoding them needs.
    pub(super) records: Vec<RawEvent>,
    pub(super) header: Header,
}

impl Tracing {
    /// Attaches, from inside a runtime; `btf` stands in for the kernel's own; `keep` the records.
    pub(super) fn start(btf: Option<&Path>, config: &TraceConfig, keep: bool) -> Result<Self> {
        let kernel = Kernel::inspect(btf)?;
        let mut tracer = Tracer::attach(&kernel, config)?;
        if config.debug {
            tracer.forward_logs()?;
        }
        let ring = tracer.records()?;
        tracer.arm()?;
        let decoder = Decoder::new(&kernel.facts, kernel.symbols().clone());
        let header = trace::header(&kernel, &tracer);
        let (stop, stopped) = oneshot::channel();
        let reader = tokio::spawn(read(ring, decoder, keep, stopped));
        Ok(Self { tracer, reader, header, stop })
    }

    /// Traces another network namespace, by inode number.
    pub(super) fn add_netns(&mut self, inum: u32) -> Result<()> {
        Ok(self.tracer.add_netns(inum)?)
    }

    /// The hooks that attached.
    pub(super) fn hooks(&self) -> Vec<HookInUse> {
        hooks(&self.tracer)
    }

    /// Detaches; everything that was traced.
    pub(super) async fn finish(mut self) -> Result<Finished> {
        tokio::time::sleep(SETTLE).await;
        self.tracer.disarm()?;
        let _ = self.stop.send(());
        let read = self.reader.await.context("the ring's reader failed")?;
        let mut losses = self.tracer.losses().by_cause;
        losses.push((Loss::Undecoded, read.undecoded));
        losses.push((Loss::NoRoomInTable, read.table.evicted()));
        let attached = |hook_point| {
            self.tracer.hook_points().iter().any(|s| s.hook_point == hook_point && s.rung.is_some())
        };
        let coverage = Coverage {
            lost: losses.iter().map(|(_, count)| count).sum(),
            blind_to: hook_point::blind_to(attached),
        };
        let hooks = hooks(&self.tracer);
        let traced = Traced { table: read.table, coverage, hooks, losses };
        Ok(Finished { traced, records: read.records, header: self.header })
    }
}

async fn read(
    mut ring: RecordReader,
    mut decoder: Decoder,
    keep: bool,
    mut stopped: oneshot::Receiver<()>,
) -> Read {
    let mut table = Table::new(MAX_CONNECTIONS, MAX_EVENTS);
    let mut records = Vec::new();
    let mut take = |event| {
        if keep {
            records.push(event);
        }
        if let Some(event) = decoder.decode(&event) {
            table.push(event);
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
    Read { table, records, undecoded }
}

fn hooks(tracer: &Tracer) -> Vec<HookInUse> {
    let mut hooks = Vec::new();
    for status in tracer.hook_points() {
        let Some(rung) = status.rung else { continue };
        let attached = status.hooks.iter().filter(|h| h.refused.is_none());
        let hook_point = status.hook_point;
        hooks.extend(attached.map(|h| HookInUse { hook_point, rung, hook: h.name.clone() }));
    }
    hooks
}
