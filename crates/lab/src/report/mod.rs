//! Prints what was found: for people, as JSON lines, as an annotated capture.
//!
//! Every sink is a function of a [`Report`]; none of them judges.

mod annotate;
pub mod lines;
pub mod pcapng;
pub mod text;

use std::collections::BTreeMap;

use crate::{
    CellConfig, Observation,
    witness::{self, Comparison, Coverage, Judgement},
};
use overflow_common::Rung;
use overflow_core::{
    hook_point::{self, HookPoint},
    loss::Loss,
    verdict::{Connection, VerdictId},
};

/// Everything the lab found, ready to be printed.
#[derive(Clone, Debug)]
pub struct Report {
    /// The machine it was found on.
    pub host: Host,
    /// The cells, in the order they ran.
    pub cells: Vec<CellReport>,
}

/// The machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// `uname -r`.
    pub kernel: String,
    /// `PRETTY_NAME` of os-release, where there is one.
    pub distro: Option<String>,
}

/// One cell with all that was seen of it and what the witnesses made of it.
#[derive(Clone, Debug)]
pub struct CellReport {
    /// What was set.
    pub config: CellConfig,
    /// What the lab saw without eBPF.
    pub observation: Observation,
    /// Every connection with what every witness saw of it.
    pub judgement: Judgement,
    /// The hooks that traced it; empty when no tracer ran.
    pub hooks: Vec<HookInUse>,
    /// Sysctls in force in the server's namespace, by their full names.
    pub sysctls: BTreeMap<String, u64>,
    /// What was lost on the way, zeroes included.
    pub losses: Vec<(Loss, u64)>,
}

/// A hook that observes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookInUse {
    /// The hook point it stands for.
    pub hook_point: HookPoint,
    /// How it is attached.
    pub rung: Rung,
    /// The kernel function or tracepoint.
    pub hook: String,
}

impl Report {
    /// Whether all witnesses agree on every connection of every cell.
    pub fn agree(&self) -> bool {
        self.cells.iter().all(|c| c.judgement.agree())
    }

    /// The sum of all losses.
    pub(crate) fn lost(&self) -> u64 {
        self.cells.iter().map(CellReport::lost).sum()
    }
}

impl CellReport {
    /// Confronts the tracer's connections with the observation; see [`witness::compare`].
    ///
    /// `losses` are the tracer's; those of the capture and of the link are added.
    pub fn new(
        config: CellConfig,
        observation: Observation,
        traced: Vec<Connection>,
        coverage: Option<&Coverage>,
        hooks: Vec<HookInUse>,
        mut losses: Vec<(Loss, u64)>,
    ) -> Self {
        let judgement = witness::compare(traced, &observation, &config, coverage);
        let mut sysctls = BTreeMap::from([
            ("net.ipv4.tcp_abort_on_overflow".to_owned(), u64::from(config.abort_on_overflow)),
            ("net.ipv4.tcp_syncookies".to_owned(), u64::from(config.syncookies)),
        ]);
        if let Some(somaxconn) = config.somaxconn {
            sysctls.insert("net.core.somaxconn".to_owned(), u64::from(somaxconn));
        }
        losses.push((Loss::Capture, observation.capture_drops));
        losses.push((Loss::Link, observation.link_drops));
        Self { config, observation, judgement, hooks, sysctls, losses }
    }

    /// The verdicts that none of its hooks shows.
    pub(crate) fn blind_to(&self) -> Vec<VerdictId> {
        hook_point::blind_to(|hook_point| self.hooks.iter().any(|h| h.hook_point == hook_point))
    }

    /// Whether all witnesses agree on this connection. The counters are the cell's: when they
    /// differ, any of its connections may be why.
    pub(crate) fn agrees(&self, comparison: &Comparison) -> bool {
        comparison.agree && self.judgement.counters.is_empty()
    }

    /// The sum of its losses.
    pub(crate) fn lost(&self) -> u64 {
        self.losses.iter().map(|(_, count)| count).sum()
    }
}
