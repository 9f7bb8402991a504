//! A tracer with its reader: from attached hooks to a table of histories and what was lost.

use std::path::Path;

use anyhow::{Context, Result};
use overflow_common::Event;
use tokio::{sync::oneshot, task::JoinHandle};

use super::trace;
use overflow::probe::{HookPoint, RingReader, TraceConfig, Tracer};
use overflow_core::{decode::Decoder, histories::Table, loss::Loss, recording::Header};
use overflow_host::kernel::Kernel;
use overflow_lab::{report::HookInUse, tracing::Traced, witness::Coverage};

/// More than any cell can have: its clients are bounded by its source ports.
const MAX_CONNECTIONS: usize = 1 << 17;
/// Moments of one connection within one hold.
const MAX_MOMENTS: usize = 256;
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
    records: Vec<Event>,
    undecoded: u64,
}

/// What was traced.
pub(super) struct Finished {
    /// The histories, and what could be seen.
    pub(super) traced: Traced,
    /// The records as they came, if they were to be kept, and what decoding them needs.
    pub(super) records: Vec<Event>,
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
        let ring = tracer.ring()?;
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
    pub(super) async fn finish(self) -> Result<Finished> {
        tokio::time::sleep(SETTLE).await;
        let _ = self.stop.send(());
        let read = self.reader.await.context("the ring's reader failed")?;
        let mut losses = self.tracer.losses().by_cause;
        losses.push((Loss::Undecoded, read.undecoded));
        losses.push((Loss::NoRoomInTable, read.table.evicted()));
        let coverage = Coverage {
            lost: losses.iter().map(|(_, count)| count).sum(),
            blind_to: blind_to(&self.tracer),
        };
        let hooks = hooks(&self.tracer);
        let traced = Traced { table: read.table, coverage, hooks, losses };
        Ok(Finished { traced, records: read.records, header: self.header })
    }
}

async fn read(
    mut ring: RingReader,
    mut decoder: Decoder,
    keep: bool,
    mut stopped: oneshot::Receiver<()>,
) -> Read {
    let mut table = Table::new(MAX_CONNECTIONS, MAX_MOMENTS);
    let mut records = Vec::new();
    let mut take = |event| {
        if keep {
            records.push(event);
        }
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
    Read { table, records, undecoded }
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

/// Families of verdicts that only the hooks of this moment show.
const fn families(moment: HookPoint) -> &'static [&'static str] {
    match moment {
        HookPoint::Syn => &["syn"],
        HookPoint::ThirdAck => &["ack", "later.migrated", "later.reset_by_client"],
        HookPoint::Reset => &["later.reset_no_socket"],
        HookPoint::RequestRemoved => &[
            "later.request_expired",
            "later.request_orphaned",
            "later.request_icmp_error",
            "later.request_destroyed",
        ],
        HookPoint::ListenerClose => &["later.listener_closed", "later.reset_by_server"],
        HookPoint::PeerReset => &["later.reset_in_queue"],
        HookPoint::Accept => &["later.accepted_by_app"],
        HookPoint::SynAckRetransmit => &[],
    }
}
