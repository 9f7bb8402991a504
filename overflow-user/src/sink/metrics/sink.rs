//! The live trace's way onto the page.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use super::{catalog::Reading, families::Families, rows::RowLimit};
use crate::sink::trace::{Message, Opening, Sink, Snapshot};

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
    pub(crate) fn open(&mut self, opening: &Opening) {
        self.opening = Some(opening.clone());
    }

    /// The families now.
    pub fn families(&mut self, snapshot: &Snapshot<'_>) -> Families {
        let (rows, folded) = self.limit.rows(snapshot);
        Families::new(&Reading { opening: self.opening.as_ref(), snapshot, folded }, &rows)
    }
}

/// Hands the numbers of a trace over, to be read as metrics.
#[derive(Debug)]
pub struct Measured {
    shared: Shared,
    collector: Collector,
}

impl Measured {
    /// Hands the numbers to `shared` every second, and once more when nothing more comes.
    pub fn new(shared: Shared) -> Self {
        Self { shared, collector: Collector::default() }
    }
}

impl Sink for Measured {
    fn handle(&mut self, message: Message<'_>) -> io::Result<()> {
        match message {
            Message::Open(opening) => self.collector.open(opening),
            Message::Second(snapshot) | Message::Ending(snapshot) => {
                self.shared.set(self.collector.families(snapshot));
            }
            // All of it is in the numbers.
            Message::Event(_)
            | Message::Audit(_)
            | Message::Cause(_)
            | Message::Connection(_)
            | Message::Suppressed(_)
            | Message::Interval(_)
            | Message::Close(_)
            | Message::Flush => {}
        }
        Ok(())
    }

    fn wants_connections(&self) -> bool {
        false
    }
}
