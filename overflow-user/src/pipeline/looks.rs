//! When the kernel's counters are read, and how that becomes a frame.

use std::time::{Duration, Instant};

use overflow_core::audit::{Cut, Look, Read, Readings, Watched};
use overflow_host::clock::monotonic_ns;

/// While anything happens, how often counters are read.
const EVERY: Duration = Duration::from_secs(5);
/// And while nothing seems to: a trace that sees nothing at all must notice too.
const QUIET_EVERY: Duration = Duration::from_secs(30);

/// The counters as they were read before and after the hooks began to judge.
#[derive(Clone, Debug, Default)]
pub struct Beginning(Vec<Look>);

impl Beginning {
    /// Counters that were read at this cut. What could not be read is not audited.
    pub fn add(&mut self, cut: Cut, seen: std::io::Result<Readings>) {
        match seen {
            Ok(seen) => self.0.push(look(cut, seen, Watched::default(), KernelSide::default())),
            Err(error) => log::warn!("cannot read the kernel's counters: {error}"),
        }
    }

    /// The looks of a trace that watches this.
    pub(super) fn looks(self, watched: Watched) -> Vec<Look> {
        self.0.into_iter().map(|look| Look { watched, ..look }).collect()
    }
}

/// When to look next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    last: Instant,
    eventful: bool,
}

impl Due {
    pub(super) fn new() -> Self {
        Self { last: Instant::now(), eventful: false }
    }

    /// Something happened.
    pub(super) fn event(&mut self) {
        self.eventful = true;
    }

    /// Whether to look now; `often`: whether anything happens or not.
    pub(super) fn is_now(&self, often: bool) -> bool {
        let every = if self.eventful || often { EVERY } else { QUIET_EVERY };
        self.last.elapsed() >= every
    }

    /// Counters were read. A look after the last event settles what was on its way then.
    pub(super) fn looked(&mut self, settled: bool) {
        self.last = Instant::now();
        self.eventful &= !settled;
    }
}

/// What the kernel side knows of the counters.
#[derive(Debug, Default)]
pub(super) struct KernelSide {
    /// As in [`Look`].
    pub(super) left_out: Vec<(u32, u32, u64)>,
    pub(super) read: Vec<Read>,
    pub(super) pending: Option<Vec<Read>>,
}

/// Readings as a frame has them.
pub(super) fn look(cut: Cut, seen: Readings, watched: Watched, side: KernelSide) -> Look {
    let KernelSide { left_out, read, pending } = side;
    Look { t_ns: monotonic_ns(), cut, watched, seen, left_out, read, pending }
}
