//! What the lab needs of a tracer. Whoever attaches to the kernel implements it; the lab runs
//! without one too.

use std::{error::Error, future::Future};

use overflow_common::Kind;
use overflow_core::{decode::Event, histories::Table, loss::Loss};

use crate::{report::HookInUse, witness::Coverage};

/// Why a tracer failed.
pub type TracingError = Box<dyn Error + Send + Sync>;

/// A running tracer.
pub trait Tracing: Sized {
    /// Traces another network namespace, by inode number.
    fn add_netns(&mut self, inum: u32) -> Result<(), TracingError>;

    /// Detaches; everything that was traced.
    fn finish(self) -> impl Future<Output = Result<Traced, TracingError>>;
}

/// What was traced.
pub struct Traced {
    /// The history of each connection.
    pub table: Table,
    /// What could and could not be seen.
    pub coverage: Coverage,
    /// The hooks that attached.
    pub hooks: Vec<HookInUse>,
    /// What was lost, zeroes included.
    pub losses: Vec<(Loss, u64)>,
}

/// A history up to the listener's close at `close_ns`, and what the close itself did. What a
/// client's retries meet afterwards is no listener any more.
pub fn until_close(history: &[Event], close_ns: u64) -> Vec<Event> {
    let belongs = |m: &&Event| m.t_ns < close_ns || m.kind == Kind::ActiveReset;
    history.iter().filter(belongs).cloned().collect()
}

/// Whether a history begins with a segment. One that begins with a timer or a close is the end of a
/// connection from before: of a namespace that is gone but whose number was given to another.
pub(crate) fn begins_here(history: &[Event]) -> bool {
    history.first().is_some_and(|m| matches!(m.kind, Kind::Syn | Kind::Ack | Kind::Reset))
}
