//! The live trace's way onto the page.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use super::{book::Book, families::Families};
use crate::{
    sink::live::{Closing, Interval, LiveSink, Moment, Opening, Snapshot},
    verdict::Connection,
};

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

/// A sink of which the numbers are shown as metrics besides.
pub struct Measured {
    shown: Box<dyn LiveSink>,
    shared: Shared,
    opening: Option<Opening>,
    book: Book,
}

impl Measured {
    /// Prints with `shown`, and hands the numbers to `shared` every second.
    pub fn new(shown: Box<dyn LiveSink>, shared: Shared) -> Self {
        Self { shown, shared, opening: None, book: Book::default() }
    }
}

impl LiveSink for Measured {
    fn open(&mut self, out: &mut dyn Write, opening: &Opening) -> io::Result<()> {
        self.opening = Some(opening.clone());
        self.shown.open(out, opening)
    }

    fn moment(&mut self, out: &mut dyn Write, moment: &Moment<'_>) -> io::Result<()> {
        self.shown.moment(out, moment)
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
        let (rows, folded) = self.book.rows(snapshot);
        self.shared.set(Families::new(self.opening.as_ref(), snapshot, &rows, folded));
        self.shown.second(out, snapshot)
    }

    fn close(&mut self, out: &mut dyn Write, closing: &Closing<'_>) -> io::Result<()> {
        self.shown.close(out, closing)
    }
}
