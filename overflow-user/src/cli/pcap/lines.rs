//! What a capture shows, as lines.

use std::io;

use super::{Sink, Whole};
use crate::cli::report::PageFile;
use overflow_core::{
    capture::finding::Finding,
    wire::{Capture, Endpoint, Handshake, Line, Lines, Loss, Open, Summary, TOOL, VERSION},
};
use overflow_report::Collector;

/// Gives them to whatever takes lines.
pub(super) struct AsLines<L>(pub(super) L);

/// A page of them, written at the end.
pub(super) struct Page {
    lines: AsLines<Collector>,
    file: PageFile,
}

impl Page {
    /// In this file.
    pub(super) fn new(file: PageFile) -> Self {
        Self { lines: AsLines(Collector::default()), file }
    }
}

impl Sink for Page {
    fn finding(&mut self, finding: &Finding, interface: Option<&str>) -> io::Result<()> {
        self.lines.finding(finding, interface)
    }

    fn end(&mut self, whole: &Whole) -> io::Result<()> {
        self.lines.end(whole)?;
        self.file.write_page(&self.lines.0)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<L: Lines> Sink for AsLines<L> {
    fn finding(&mut self, finding: &Finding, interface: Option<&str>) -> io::Result<()> {
        self.0.line(&Line::Handshake(Handshake::of(finding, interface)))
    }

    fn end(&mut self, whole: &Whole) -> io::Result<()> {
        let sums = &whole.sums;
        for (address, sum) in &sums.listeners {
            self.0.line(&Line::Endpoint(Endpoint::of("listener", address.to_string(), sum)))?;
        }
        for (address, sum) in &sums.clients {
            self.0.line(&Line::Endpoint(Endpoint::of("client", address.to_string(), sum)))?;
        }
        self.0.line(&Line::Capture(Capture {
            v: VERSION,
            tool: TOOL.into(),
            file: whole.file.as_str().into(),
            packets: whole.packets,
            segments: whole.counts.segments,
            copies: whole.counts.copies,
            others: whole.others,
            without_handshake: whole.counts.without_handshake,
            doubts: sums.doubts.iter().map(|(doubt, n)| Open::of(*doubt, *n)).collect(),
        }))?;
        for (loss, count) in &whole.losses {
            self.0.line(&Line::Loss(Loss::of(loss, *count)))?;
        }
        self.0.line(&Line::Summary(Summary {
            v: VERSION,
            runs: None,
            connections: usize::try_from(sums.all.connections).unwrap_or(usize::MAX),
            disagreements: None,
            verdicts: sums.all.families.iter().map(|(f, n)| ((*f).into(), *n)).collect(),
            lost: whole.losses.iter().map(|(_, n)| n).sum(),
            unaccounted: None,
            clients: None,
            agree: None,
        }))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
