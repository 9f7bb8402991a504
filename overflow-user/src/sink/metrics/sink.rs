//! The live trace's way onto the page.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use super::{catalog::Reading, families::Families, rows::RowLimit};
use crate::sink::trace::{Closing, Interval, Moment, Opening, Snapshot, TraceSink};
use overflow_core::verdict::Connection;

/// The last second's numbers, that the trace writes and scrapers read.
#[derive(Clone, Debug, Default)]
pub struct Shared(Arc<Mutex<Arc<Families>>>);

impl Shared {
    /// The numbers.
    pub fn families(&self) -> Arc<Families> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, families: Families) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(families);
    }
}

/// What one trace says, as families.
#[derive(Debug, Default)]
pub struct Collector {
    opening: Option<Opening>,
    limit: RowLimit,
}

impl Collector {
    /// Takes what is known at the beginning.
    pub fn open(&mut self, opening: &Opening) {
        self.opening = Some(opening.clone());
    }

    /// The families now.
    pub fn families(&mut self, snapshot: &Snapshot<'_>) -> Families {
        let (rows, folded) = self.limit.rows(snapshot);
        Families::new(&Reading { opening: self.opening.as_ref(), snapshot, folded }, &rows)
    }
}

/// A sink whose numbers are served as metrics as well.
pub struct Measured {
    shown: Box<dyn TraceSink>,
    shared: Shared,
    collector: Collector,
}

impl Measured {
    /// Prints with `shown`, and hands the numbers to `shared` every second.
    pub fn new(shown: Box<dyn TraceSink>, shared: Shared) -> Self {
        Self { shown, shared, collector: Collector::default() }
    }
}

impl TraceSink for Measured {
    fn open(&mut self, out: &mut dyn Write, opening: &Opening) -> io::Result<()> {
        self.collector.open(opening);
        self.shown.open(out, opening)
    }

    fn moment(&mut self, out: &mut dyn Write, moment: &Moment<'_>) -> io::Result<()> {
        self.shown.moment(out, moment)
    }

    fn wants_connections(&self) -> bool {
        self.shown.wants_connections()
    }

    fn connection(&mut self, out: &mut dyn Write, connection: &Connection) -> io::Result<()> {
        self.shown.connection(out, connection)
    }

    fn suppressed(&mut self, out: &mut dyn Write, count: u64) -> io::Result<()> {
        self.shown.suppressed(out, count)
    }

    fn interval(&mut self, out: &mut dyn Write, interval: &Interval<'_>) -> io::Result<()> {
        self.shown.interval(out, interval)
    }

    fn second(&mut self, out: &mut dyn Write, snapshot: &Snapshot<'_>) -> io::Result<()> {
        self.shared.set(self.collector.families(snapshot));
        self.shown.second(out, snapshot)
    }

    fn close(&mut self, out: &mut dyn Write, closing: &Closing<'_>) -> io::Result<()> {
        self.shown.close(out, closing)
    }
}
