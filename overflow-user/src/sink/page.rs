//! A live trace as one HTML page, written when it ends.

use std::io::{self, Write};

use super::trace::{Message, Sink, TraceLines};
use overflow_report::Collector;

/// Keeps what a page has room for, and writes the page at the end.
///
/// Where it goes is open from the beginning: by the end, a process that is confined opens nothing.
#[derive(Debug)]
pub struct Page<W> {
    lines: TraceLines<Collector>,
    out: W,
}

impl<W: Write> Page<W> {
    /// A page that is written to `out`.
    pub fn new(out: W) -> Self {
        Self { lines: TraceLines::new(Collector::default()), out }
    }
}

impl<W: Write> Sink for Page<W> {
    fn handle(&mut self, message: Message<'_>) -> io::Result<()> {
        self.lines.handle(message)?;
        if matches!(message, Message::Close(_)) {
            let page = self.lines.to().page();
            let written = self.out.write_all(page.as_bytes()).and_then(|()| self.out.flush());
            written.map_err(|e| io::Error::new(e.kind(), format!("cannot write the page: {e}")))?;
        }
        Ok(())
    }

    fn wants_connections(&self) -> bool {
        true
    }
}
