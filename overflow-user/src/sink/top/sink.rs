//! The live trace's way into the view.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::Top;
use crate::sink::trace::{Closing, Interval, Moment, Opening, Snapshot, TraceSink, TraceText};
use overflow_core::{text::style::Options, verdict::Connection};

/// A view that one thread feeds and another one draws.
#[derive(Clone, Debug)]
pub struct Shared(Arc<Mutex<Top>>);

impl Shared {
    /// Shares it.
    pub fn new(top: Top) -> Self {
        Self(Arc::new(Mutex::new(top)))
    }

    /// The view, for a short time.
    pub fn lock(&self) -> MutexGuard<'_, Top> {
        // A view whose drawing panicked is still good enough for the summary.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Feeds a view, and prints the summary when the view has left the screen.
pub struct TopSink {
    top: Shared,
    /// Returns when the screen is free.
    leave: Box<dyn FnMut()>,
    text: TraceText,
}

impl TopSink {
    /// Feeds `top`; `leave` is called before the summary and returns when the screen is free.
    pub fn new(top: Shared, options: Options, leave: impl FnMut() + 'static) -> Self {
        Self { top, leave: Box::new(leave), text: TraceText::new(options) }
    }
}

impl TraceSink for TopSink {
    fn open(&mut self, _: &mut dyn Write, opening: &Opening) -> io::Result<()> {
        // Its header is not printed; its clock is set.
        self.text.open(&mut io::sink(), opening)?;
        self.top.lock().changed().opening = Some(opening.clone());
        Ok(())
    }

    fn moment(&mut self, _: &mut dyn Write, moment: &Moment<'_>) -> io::Result<()> {
        self.top.lock().changed().moment(moment);
        Ok(())
    }

    fn wants_connections(&self) -> bool {
        false
    }

    /// Nothing: each of its events was shown.
    fn connection(&mut self, _: &mut dyn Write, _: &Connection) -> io::Result<()> {
        Ok(())
    }

    /// Nothing: events are not limited here.
    fn suppressed(&mut self, _: &mut dyn Write, _: u64) -> io::Result<()> {
        Ok(())
    }

    /// Nothing: the view has its own seconds.
    fn interval(&mut self, _: &mut dyn Write, _: &Interval<'_>) -> io::Result<()> {
        Ok(())
    }

    fn second(&mut self, _: &mut dyn Write, snapshot: &Snapshot<'_>) -> io::Result<()> {
        self.top.lock().changed().second(snapshot);
        Ok(())
    }

    fn close(&mut self, out: &mut dyn Write, closing: &Closing<'_>) -> io::Result<()> {
        (self.leave)();
        self.text.close(out, closing)
    }
}
