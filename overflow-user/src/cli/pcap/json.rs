//! What a capture shows, as JSON lines.

use std::io::{self, Write};

use super::{Sink, Whole};
use overflow_core::{
    capture::finding::Finding,
    wire::{self, Capture, Endpoint, Handshake, Line, Loss, Open, Summary, TOOL, VERSION},
};

/// Prints them.
pub(super) struct Lines<W: Write> {
    out: W,
    buffer: Vec<u8>,
}

impl<W: Write> Lines<W> {
    /// To `out`.
    pub(super) fn new(out: W) -> Self {
        Self { out, buffer: Vec::new() }
    }

    fn line(&mut self, line: &Line<'_>) -> io::Result<()> {
        wire::line_in(&mut self.out, &mut self.buffer, line)
    }
}

impl<W: Write> Sink for Lines<W> {
    fn finding(&mut self, finding: &Finding, interface: Option<&str>) -> io::Result<()> {
        self.line(&Line::Handshake(Handshake::of(finding, interface)))
    }

    fn end(&mut self, whole: &Whole) -> io::Result<()> {
        let sums = &whole.sums;
        for (address, sum) in &sums.listeners {
            self.line(&Line::Endpoint(Endpoint::of("listener", address.to_string(), sum)))?;
        }
        for (address, sum) in &sums.clients {
            self.line(&Line::Endpoint(Endpoint::of("client", address.to_string(), sum)))?;
        }
        self.line(&Line::Capture(Capture {
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
            self.line(&Line::Loss(Loss::of(loss, *count)))?;
        }
        self.line(&Line::Summary(Summary {
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
        self.out.flush()
    }
}
