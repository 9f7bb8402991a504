//! What live tracing prints, as data, and the sinks that print it.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

pub use super::{trace_json::JsonLines, trace_text::TraceText};
pub use overflow_core::aggregates::{Full, Waits};
use overflow_core::{
    decode::Observed,
    listeners::{Inventory, Listener, Sysctls},
    verdict::{Connection, Counter, Stage, VerdictId},
};

/// Said at once, before anything happens.
#[derive(Clone, Debug)]
pub struct Opening {
    /// `uname -r`.
    pub kernel: String,
    /// `PRETTY_NAME` of os-release, or empty.
    pub distro: String,
    /// The rungs in use: (kernel moment, rung), an empty rung where none works.
    pub rungs: Vec<(String, String)>,
    /// What is traced, in words: `port 80, IPv4`; empty for every listener.
    pub filter: String,
    /// Healthy moments too.
    pub all: bool,
    /// Seconds between aggregates, if only they are shown.
    pub summary: Option<u64>,
    /// What a reader must know, as sentences.
    pub notes: Vec<String>,
    /// CLOCK_REALTIME minus CLOCK_MONOTONIC, nanoseconds.
    pub wall_offset_ns: i64,
    /// Local time minus UTC, seconds.
    pub utc_offset_s: i32,
}

/// One moment that was judged.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// When, CLOCK_MONOTONIC nanoseconds.
    pub t_ns: u64,
    /// What was seen.
    pub observed: &'a Observed,
    /// What it is.
    pub stage: &'a Stage,
    /// Whose it is: one listener, or all that share the address; empty if none was known.
    pub listeners: &'a [&'a Listener],
}

/// What happened at one listener.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Moments by verdict.
    pub verdicts: BTreeMap<VerdictId, u64>,
    /// Longest accept queue seen, connections.
    pub recv_q_max: Option<u32>,
    /// Accept queue when it was last seen: (length, limit), connections.
    pub recv_q: Option<(u32, u32)>,
    /// Longest SYN queue seen, requests.
    pub syn_queue_max: Option<u32>,
    /// SYN-ACKs sent again.
    pub synack_retransmits: u64,
    /// Connections that the client believed established while the server had none, since their
    /// third ACK found the accept queue full. Those that got in later are among them.
    pub phantoms: u64,
    /// When the accept queue was full; `None` if its comings and goings are not traced.
    pub full: Option<Full>,
    /// How long children waited in the accept queue; `None` if that is not traced.
    pub waits: Option<Waits>,
}

/// A listener with what happened there.
#[derive(Clone, Debug)]
pub struct Listened<'a> {
    /// Inode number of its network namespace.
    pub netns: u32,
    /// Where it listens.
    pub place: String,
    /// The listener, or all that share the address; empty if none was known.
    pub listeners: Vec<&'a Listener>,
    /// Settings of its namespace, if known.
    pub sysctls: Option<Sysctls>,
    /// What happened.
    pub totals: &'a Totals,
}

/// Aggregates of an interval.
#[derive(Debug)]
pub struct Interval<'a> {
    /// Its end, CLOCK_MONOTONIC nanoseconds.
    pub t_ns: u64,
    /// Its length, seconds.
    pub seconds: f64,
    /// Listeners where anything happened.
    pub listeners: Vec<Listened<'a>>,
    /// Whether accept() is traced.
    pub accepts: bool,
}

/// Everything that is known, once a second.
#[derive(Debug)]
pub struct Snapshot<'a> {
    /// CLOCK_MONOTONIC nanoseconds.
    pub t_ns: u64,
    /// Listeners where anything happened, with their totals since the beginning.
    pub listeners: Vec<Listened<'a>>,
    /// Every listener, eventful or not, as it was last looked at.
    pub inventory: &'a Inventory,
    /// Whether accept() is traced.
    pub accepts: bool,
    /// Moments that were judged but not shown, by a limit on events.
    pub suppressed: u64,
    /// What was lost, by cause, zeros left out.
    pub losses: Vec<(String, u64)>,
}

/// The end.
#[derive(Debug)]
pub struct Closing<'a> {
    /// Traced time, seconds.
    pub seconds: f64,
    /// Listeners where anything happened.
    pub listeners: Vec<Listened<'a>>,
    /// Whether accept() is traced.
    pub accepts: bool,
    /// Connections with a moment that was shown.
    pub connections: u64,
    /// Moments that were judged but not shown, by a limit on events.
    pub suppressed: u64,
    /// What was lost, by cause, zeros left out.
    pub losses: Vec<(String, u64)>,
}

/// Prints a live trace.
pub trait TraceSink {
    /// The header.
    fn open(&mut self, out: &mut dyn Write, opening: &Opening) -> io::Result<()>;
    /// A moment.
    fn moment(&mut self, out: &mut dyn Write, moment: &Moment<'_>) -> io::Result<()>;
    /// Whether anything is done with connections: judging a million of them takes its time.
    fn wants_connections(&self) -> bool {
        true
    }
    /// A connection of which no more will be heard.
    fn connection(&mut self, out: &mut dyn Write, connection: &Connection) -> io::Result<()>;
    /// So many moments were left out in the second that went by.
    fn suppressed(&mut self, out: &mut dyn Write, count: u64) -> io::Result<()>;
    /// Aggregates.
    fn interval(&mut self, out: &mut dyn Write, interval: &Interval<'_>) -> io::Result<()>;
    /// A second went by.
    fn second(&mut self, _out: &mut dyn Write, _snapshot: &Snapshot<'_>) -> io::Result<()> {
        Ok(())
    }
    /// Everything was handed over; only the summary follows.
    fn ending(&mut self, _out: &mut dyn Write, _snapshot: &Snapshot<'_>) -> io::Result<()> {
        Ok(())
    }
    /// The summary.
    fn close(&mut self, out: &mut dyn Write, closing: &Closing<'_>) -> io::Result<()>;
}

impl Totals {
    /// Everything the kernel counts as `ListenOverflows`.
    pub fn overflows(&self) -> u64 {
        let overflow = |id: &VerdictId| id.counts(Counter::ListenOverflows);
        let counts = self.verdicts.iter().filter(|(id, _)| overflow(id));
        counts.fold(0, |sum, (_, n)| sum.saturating_add(*n))
    }

    /// Children taken by the application.
    pub fn accepts(&self) -> u64 {
        self.verdicts.get(&VerdictId::LaterAcceptedByApp).copied().unwrap_or(0)
    }

    /// Phantoms that got in later: a slot became free before the client or the kernel gave up.
    pub fn recovered(&self) -> u64 {
        self.verdicts.get(&VerdictId::LaterRecovered).copied().unwrap_or(0)
    }

    /// Verdicts as JSON has them.
    pub(super) fn by_name(&self) -> BTreeMap<&'static str, u64> {
        self.verdicts.iter().map(|(id, n)| (id.as_str(), *n)).collect()
    }
}
