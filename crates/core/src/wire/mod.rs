//! Every JSON line that the program prints, kind by kind: what writes them, what reads them and
//! what checks them uses these types. `docs/events.md` documents them, `docs/events.schema.json` is
//! their schema.
//!
//! Fields are only ever added; a change of meaning takes a new `v`. A line that is written borrows
//! what it can; one that was read owns everything.

mod address;
mod audit;
mod capture;
mod cause;
mod client;
mod clients;
mod closing;
mod connection;
mod doctor;
mod event;
mod listener;
mod owner;
pub mod perfetto;
pub mod prediction;
mod run;
mod scenario;
mod topic;
mod whatif;
#[cfg(test)]
mod tests;

use std::{
    borrow::Cow,
    collections::BTreeMap,
    io::{self, Write},
};

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Serializer;

use crate::text::untrusted::EscapedJson;

pub use audit::{Audit, AuditedCounter};
pub use capture::{Capture, Endpoint, Handshake, Open, Place, Reset};
pub use cause::{Cause, Found};
pub use client::Client;
pub use clients::{Clients, Harm};
pub use closing::{Loss, Summary};
pub use connection::{Connection, Segments, Stage, Witnesses};
pub use doctor::{Doctor, HookPoint};
pub use event::{Event, Functions, Known};
pub use listener::{Full, Listener, Member, QueueWait, Socket, Traced};
pub use owner::{Candidate, Owner};
pub use run::{Cell, CellListener, Hook, LinkKind, Run, Trace};
pub use scenario::{Ended, Scenario};
pub use topic::{Paragraph, Topic};
pub use whatif::{Advised, Asked, Clients as WhatifClients, Whatif};

/// The version of the format, `v` in every line.
pub const VERSION: u32 = 1;

/// Name and version of the program, as every `run` line has it.
pub const TOOL: &str = concat!("overflow ", env!("CARGO_PKG_VERSION"));

/// Numbers by name.
pub type Counts<'a> = BTreeMap<Cow<'a, str>, u64>;

/// One line; `type` says which.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Line<'a> {
    /// What ran where, before its results.
    Run(Run<'a>),
    /// One kernel event.
    Event(Event<'a>),
    /// One connection with its verdict.
    Connection(Connection<'a>),
    /// One listener in sum.
    Listener(Listener<'a>),
    /// Something was lost.
    Loss(Loss<'a>),
    /// The kernel's counters beside what was told.
    Audit(Audit<'a>),
    /// Why a listener's queue is full.
    Cause(Cause<'a>),
    /// A scenario of the lab.
    Scenario(Scenario<'a>),
    /// What one client believes.
    Client(Client<'a>),
    /// One connection of a capture.
    Handshake(Handshake<'a>),
    /// One listener or client of a capture.
    Endpoint(Endpoint<'a>),
    /// A capture.
    Capture(Capture<'a>),
    /// The end.
    Summary(Summary<'a>),
    /// What attaches here.
    Doctor(Doctor<'a>),
    /// A page of the knowledge base.
    Topic(Topic<'a>),
    /// What a setting would have meant.
    Whatif(Whatif<'a>),
}

impl Line<'_> {
    /// Every kind, as `type` has it, in the order of the documentation.
    pub const KINDS: [&'static str; 16] = [
        "run",
        "event",
        "connection",
        "listener",
        "loss",
        "audit",
        "cause",
        "scenario",
        "client",
        "doctor",
        "topic",
        "whatif",
        "handshake",
        "endpoint",
        "capture",
        "summary",
    ];
}

/// Takes lines, one after the other: to write them, or to make a page of them.
pub trait Lines {
    /// Takes one; fails where what it writes to does.
    fn line(&mut self, line: &Line<'_>) -> io::Result<()>;
    /// Whoever reads what it writes sees all so far.
    fn flush(&mut self) -> io::Result<()>;
}

/// Writes lines as JSON, each whole.
#[derive(Debug)]
pub struct Json<W> {
    out: W,
    /// Where a line is made.
    buffer: Vec<u8>,
}

impl<W: Write> Json<W> {
    /// To `out`.
    pub fn new(out: W) -> Self {
        Self { out, buffer: Vec::new() }
    }
}

impl<W: Write> Lines for Json<W> {
    fn line(&mut self, line: &Line<'_>) -> io::Result<()> {
        line_in(&mut self.out, &mut self.buffer, line)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Writes one line; fails where `out` does.
pub fn line(out: &mut (impl Write + ?Sized), line: &Line<'_>) -> io::Result<()> {
    put(out, &mut Vec::new(), line)
}

/// Writes one line that is made in `buffer`, whatever that holds: it is asked for memory only while
/// lines grow.
pub fn line_in(
    out: &mut (impl Write + ?Sized),
    buffer: &mut Vec<u8>,
    line: &Line<'_>,
) -> io::Result<()> {
    put(out, buffer, line)
}

fn put(
    out: &mut (impl Write + ?Sized),
    buffer: &mut Vec<u8>,
    line: &impl Serialize,
) -> io::Result<()> {
    // Whole: the writer is asked once for each line, not for each of its words.
    buffer.clear();
    line.serialize(&mut Serializer::with_formatter(&mut *buffer, EscapedJson))?;
    buffer.push(b'\n');
    out.write_all(buffer)
}

/// A field that may be absent, and may be `null`, which is something else.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    field: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(field).map(Some)
}
