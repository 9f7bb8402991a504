//! The live trace's way into the view.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::Top;
use crate::sink::trace::{Message, Sink, TraceText};
use overflow_core::text::style::Options;

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
pub struct TopSink<W> {
    top: Shared,
    /// Returns when the screen is free.
    leave: Box<dyn FnMut()>,
    text: TraceText<W>,
}

impl<W: Write> TopSink<W> {
    /// Feeds `top`; `leave` is called before the summary, which goes to `out`, and returns when the
    /// screen is free.
    pub fn new(top: Shared, out: W, options: Options, leave: impl FnMut() + 'static) -> Self {
        Self { top, leave: Box::new(leave), text: TraceText::new(out, options) }
    }
}

impl<W: Write> Sink for TopSink<W> {
    fn handle(&mut self, message: Message<'_>) -> io::Result<()> {
        match message {
            Message::Open(opening) => {
                // Its header is not printed; its clock is set.
                self.text.learn(opening);
                self.top.lock().changed().opening = Some(opening.clone());
            }
            Message::Event(judged) => self.top.lock().changed().event(judged),
            Message::Second(snapshot) => self.top.lock().changed().second(snapshot),
            // Each of a connection's events was shown, events are not limited here, and the view
            // has its own seconds.
            Message::Connection(_)
            | Message::Audit(_)
            | Message::Cause(_)
            | Message::Suppressed(_)
            | Message::Interval(_)
            | Message::Ending(_)
            | Message::Flush => {}
            Message::Close(_) => {
                (self.leave)();
                self.text.handle(message)?;
            }
        }
        Ok(())
    }

    fn wants_connections(&self) -> bool {
        false
    }
}
