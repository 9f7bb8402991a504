//! The lines of `overflow predict`, a format of their own.

pub mod lines;

use std::{
    borrow::Cow,
    io::{self, Write},
};

use serde::{Deserialize, Serialize};

use crate::{
    model::{counters::Counters, scenario::Phase, time::Nanos},
    verdict::VerdictId,
};

/// Version of the lines below.
pub const VERSION: u32 = 1;

/// One line; `type` says which.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Line<'a> {
    /// What becomes of one connection.
    Prediction(Prediction<'a>),
    /// What becomes of all of them, and why.
    PredictionSummary(Summary<'a>),
    /// Where two kernels part.
    Divergence(Divergence<'a>),
}

impl Line<'_> {
    /// Every kind, as `type` has it, in the order of the documentation.
    pub const KINDS: [&'static str; 3] = ["prediction", "prediction_summary", "divergence"];
}

/// A `prediction` line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prediction<'a> {
    /// Format version.
    pub v: u32,
    /// The kernel's name.
    pub kernel: Cow<'a, str>,
    /// Which rules it has here: a name that does not tell is predicted for each; earlier versions have
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regime: Option<Cow<'a, str>>,
    /// The cell's name.
    pub run: Cow<'a, str>,
    /// Part of the experiment.
    pub phase: Phase,
    /// From 1 within the phase, in order of `connect()`.
    pub number: usize,
    /// What packets and sockets would show.
    pub class: Cow<'a, str>,
    /// What decides it, in order of time.
    pub stages: Vec<Stage<'a>>,
    /// What becomes of it.
    pub outcome: Option<VerdictId>,
    /// The client's TCP state at the end of the hold.
    pub client_view: Cow<'a, str>,
    /// The server's socket state then, `null` for none.
    pub server_view: Option<Cow<'a, str>>,
    /// SYN-ACKs sent again.
    pub synack_retransmits_ns: Cow<'a, [Nanos]>,
}

/// A decision. Times are nanoseconds since the burst began, negative before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage<'a> {
    /// What happens.
    pub id: VerdictId,
    /// When it first happens.
    pub t_ns: Nanos,
    /// The kernel function that decides.
    pub function: Cow<'a, str>,
    /// Its condition, as in the kernel's source.
    pub expression: Cow<'a, str>,
    /// The same with values.
    pub condition: String,
    /// When the same happens again.
    pub repeats_ns: Vec<Nanos>,
}

/// A `prediction_summary` line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary<'a> {
    /// Format version.
    pub v: u32,
    /// The kernel's name.
    pub kernel: Cow<'a, str>,
    /// The cell's name.
    pub run: Cow<'a, str>,
    /// Which rules that kernel has.
    pub regime: Cow<'a, str>,
    /// Why the prediction may be wrong for it.
    pub doubt: Option<Cow<'a, str>>,
    /// Requests that the SYN queue takes.
    pub syn_queue_holds: u32,
    /// Connections that the accept queue takes.
    pub accept_queue_holds: u64,
    /// How much each counter rises.
    pub counters: Counters,
    /// Whether the kernel draws the outcome by lot.
    pub undetermined: bool,
}

/// A `divergence` line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Divergence<'a> {
    /// Format version.
    pub v: u32,
    /// The cell's name.
    pub run: Cow<'a, str>,
    /// The two kernels.
    pub kernels: [Cow<'a, str>; 2],
    /// Whether they decide differently anywhere.
    pub diverge: bool,
    /// Where: the part of the experiment,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// the connection's number in it,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<usize>,
    /// and what each decides there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stages: Option<[Option<Stage<'a>>; 2]>,
}

/// Writes one line; fails where `out` does.
pub fn line(out: &mut (impl Write + ?Sized), line: &Line<'_>) -> io::Result<()> {
    super::put(out, &mut Vec::new(), line)
}
