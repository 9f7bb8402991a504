//! What a live trace reports to its sinks, as messages.

use std::{borrow::Cow, collections::BTreeMap, io, net::SocketAddr};

pub use super::{trace_json::TraceLines, trace_text::TraceText};
use crate::pipeline::Filter;
pub use overflow_core::aggregates::{Full, Waits};
use overflow_core::{
    audit::NamespaceAudit,
    cause::{CauseId, Change, Evidence, Judgement},
    clients::HurtClients,
    decode::Event,
    listeners::{Inventory, Listener, Sysctls},
    loss::Loss,
    owner::Owner,
    verdict::{Connection, Counter, Stage, VerdictId},
    wire::Counts,
};

/// What is known before anything happens.
#[derive(Clone, Debug)]
pub struct Opening {
    /// `uname -r`.
    pub kernel: String,
    /// `PRETTY_NAME` of os-release, or empty.
    pub distro: String,
    /// The rungs in use: (hook point, rung), an empty rung where none works.
    pub rungs: Vec<(String, String)>,
    /// What is traced, in words: `port 80, IPv4`; empty for every listener.
    pub filter: String,
    /// Healthy events too.
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

/// One event that was judged.
#[derive(Clone, Copy, Debug)]
pub struct JudgedEvent<'a> {
    /// When, CLOCK_MONOTONIC nanoseconds.
    pub t_ns: u64,
    /// What was seen.
    pub observed: &'a Event,
    /// What it is.
    pub stage: &'a Stage,
    /// Inode number of its listener's socket, if it is known which one it is.
    pub socket: Option<u32>,
    /// Its listener, the one that is or was this socket; where the socket is not known, all that it can
    /// be; empty if none was known.
    pub listeners: &'a [&'a Listener],
}

/// A connection of which nothing more is expected.
#[derive(Clone, Copy, Debug)]
pub struct Finished<'a> {
    /// What became of it.
    pub connection: &'a Connection,
    /// Inode number of its network namespace.
    pub netns: u32,
    /// As of an event.
    pub socket: Option<u32>,
    /// As of an event.
    pub listeners: &'a [&'a Listener],
    /// It was refused, and it, or the kernel on its behalf, still tries.
    pub tries: bool,
}

/// Whose numbers they are, of those that listen at one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Whose {
    /// Of all of a `SO_REUSEPORT` group together.
    Group,
    /// Of one socket, by its inode number.
    Socket(u32),
    /// It is not known of which socket.
    Unknown,
    /// Of sockets that are gone, together.
    Closed,
    /// Of sockets that are gone at many addresses, together.
    Elsewhere,
}

/// What happened at one listener.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Events by verdict.
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
    /// Clients that were refused for the first time.
    pub hurt: u64,
    /// What became of those that were hurt, as far as that is known: most of it at the end. Those of
    /// intervals have none.
    pub clients: HurtClients,
    /// When the accept queue was full; `None` if its comings and goings are not traced.
    pub full: Option<Full>,
    /// For how long queues were full, by the cause at the beginning, nanoseconds; as far as the holders
    /// were looked at.
    pub full_by_cause: BTreeMap<CauseId, u64>,
    /// How long children waited in the accept queue; `None` if that is not traced.
    pub waits: Option<Waits>,
}

/// A listener with what happened there.
#[derive(Clone, Debug)]
pub struct Listened<'a> {
    /// Inode number of its network namespace.
    pub netns: u32,
    /// Where it listens, or where connections go if that is not known.
    pub local: SocketAddr,
    /// Whose numbers these are.
    pub whose: Whose,
    /// Whether the last look found it.
    pub open: bool,
    /// How many sockets these are.
    pub sockets: u64,
    /// Where it listens, as `ss` writes it.
    pub place: String,
    /// The listener as it was last seen; all of a group; all that it can be where the socket is not
    /// known; empty if none was.
    pub listeners: Vec<&'a Listener>,
    /// Settings of its namespace, if known.
    pub sysctls: Option<Sysctls>,
    /// What happened.
    pub totals: Cow<'a, Totals>,
    /// Of a group, what happened at each of it; empty otherwise.
    pub members: Vec<Listened<'a>>,
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
    /// Which of them are asked for.
    pub filter: &'a Filter,
    /// Whether accept() is traced.
    pub accepts: bool,
    /// Events that were judged but not shown, by a limit on events.
    pub suppressed: u64,
    /// What was lost, by cause, zeros left out.
    pub losses: Vec<(Loss, u64)>,
    /// What came of the audit at its last look; `None` where counters were never compared.
    pub audit: Option<&'a [NamespaceAudit]>,
}

/// What was told beside what the kernel counted, at one look.
#[derive(Clone, Copy, Debug)]
pub struct Audited<'a> {
    /// CLOCK_MONOTONIC nanoseconds.
    pub t_ns: u64,
    /// Whether it is the last one, whose result the summary has too.
    pub last: bool,
    /// Each network namespace.
    pub namespaces: &'a [NamespaceAudit],
}

/// Why a listener is full, by one look.
#[derive(Clone, Copy, Debug)]
pub struct Caused<'a> {
    /// What was seen.
    pub evidence: &'a Evidence,
    /// What it means.
    pub judgement: &'a Judgement,
    /// What it adds to the looks before.
    pub change: &'a Change,
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
    /// Connections with an event that was shown.
    pub connections: u64,
    /// What became of the clients that were hurt, at all listeners.
    pub clients: HurtClients,
    /// Events that were judged but not shown, by a limit on events.
    pub suppressed: u64,
    /// What was lost, by cause, zeros left out.
    pub losses: Vec<(Loss, u64)>,
    /// As in [`Snapshot`].
    pub audit: Option<&'a [NamespaceAudit]>,
    /// Whether only a part of a recording was asked for, which is not audited.
    pub part: bool,
}

/// What a trace reports to its sinks, in this order: once [`Message::Open`], then what happens, then
/// [`Message::Ending`] where something else may still be lost after it, and once
/// [`Message::Close`].
#[derive(Clone, Copy, Debug)]
pub enum Message<'a> {
    /// It begins.
    Open(&'a Opening),
    /// An event. While only aggregates are shown ([`Opening::summary`]), abnormal ones come all the
    /// same if somebody exports them.
    Event(&'a JudgedEvent<'a>),
    /// A connection that is over, or of which nothing more is expected. It comes only if some sink
    /// wants connections.
    Connection(&'a Finished<'a>),
    /// So many events were left out in the second that went by.
    Suppressed(u64),
    /// Aggregates of an interval.
    Interval(&'a Interval<'a>),
    /// The kernel's counters were read and compared with what was told.
    Audit(&'a Audited<'a>),
    /// The holders of a full listener were looked at.
    Cause(&'a Caused<'a>),
    /// A second went by.
    Second(&'a Snapshot<'a>),
    /// Everything was handed over; only the summary follows.
    Ending(&'a Snapshot<'a>),
    /// The summary.
    Close(&'a Closing<'a>),
    /// What was printed is to be seen now: nothing more comes for the time being.
    Flush,
}

/// Where a live trace goes. A sink owns what it writes to.
pub trait Sink {
    /// Takes one message; fails where what it writes to does.
    fn handle(&mut self, message: Message<'_>) -> io::Result<()>;

    /// Whether anything is done with connections: judging a million of them takes its time.
    fn wants_connections(&self) -> bool;
}

/// All of them, one after the other.
impl Sink for Vec<Box<dyn Sink>> {
    fn handle(&mut self, message: Message<'_>) -> io::Result<()> {
        self.iter_mut().try_for_each(|sink| sink.handle(message))
    }

    fn wants_connections(&self) -> bool {
        self.iter().any(|sink| sink.wants_connections())
    }
}

/// Who holds the one of these listeners that it is: known if it is one, or if all have one owner.
pub(crate) fn certain_owner<'a>(
    listeners: impl IntoIterator<Item = &'a Listener>,
) -> Option<&'a Owner> {
    let mut owners = listeners.into_iter().map(|l| l.owner.as_ref());
    let owner = owners.next()??;
    owners.all(|other| other.is_some_and(|o| o.pids == owner.pids)).then_some(owner)
}

impl Listened<'_> {
    /// Inode number of the socket, if these are the numbers of one.
    pub(crate) fn inode(&self) -> Option<u32> {
        match self.whose {
            Whose::Socket(ino) => Some(ino),
            Whose::Group | Whose::Unknown | Whose::Closed | Whose::Elsewhere => None,
        }
    }

    /// How many sockets that are gone these are, if they are counted together.
    pub(crate) fn closed(&self) -> Option<u64> {
        match self.whose {
            Whose::Closed | Whose::Elsewhere => Some(self.sockets),
            Whose::Socket(_) | Whose::Group | Whose::Unknown => None,
        }
    }

    /// The accept queue, (length, limit): as the kernel side counts it, or else as it was last seen.
    pub(crate) fn queue(&self) -> Option<(u32, u32)> {
        let looked = || self.listeners.first().and_then(|l| Some((l.recv_q, l.send_q?)));
        self.totals.recv_q.or_else(looked)
    }
}

impl Totals {
    /// Adds what happened at one more listener. The queue as it was last seen is not summed: it is no
    /// single listener's.
    pub(crate) fn add(&mut self, more: &Self) {
        let Self {
            verdicts,
            recv_q_max,
            recv_q: _,
            syn_queue_max,
            synack_retransmits,
            phantoms,
            hurt,
            clients,
            full,
            full_by_cause,
            waits,
        } = more;
        for (cause, ns) in full_by_cause {
            let sum = self.full_by_cause.entry(*cause).or_default();
            *sum = sum.saturating_add(*ns);
        }
        for (id, count) in verdicts {
            let sum = self.verdicts.entry(*id).or_default();
            *sum = sum.saturating_add(*count);
        }
        self.recv_q_max = self.recv_q_max.max(*recv_q_max);
        self.syn_queue_max = self.syn_queue_max.max(*syn_queue_max);
        self.synack_retransmits += synack_retransmits;
        self.phantoms += phantoms;
        self.hurt += hurt;
        self.clients.add(clients);
        if let Some(more) = full {
            self.full.get_or_insert_default().add(more);
        }
        if let Some(more) = waits {
            self.waits.get_or_insert_default().add(more);
        }
    }

    /// Everything the kernel counts as `ListenOverflows`.
    pub(crate) fn overflows(&self) -> u64 {
        let overflow = |id: &VerdictId| id.counts(Counter::ListenOverflows);
        let counts = self.verdicts.iter().filter(|(id, _)| overflow(id));
        counts.fold(0, |sum, (_, n)| sum.saturating_add(*n))
    }

    /// How much happened: events with a verdict, and SYN-ACKs sent again.
    pub(crate) fn events(&self) -> u64 {
        let verdicts = self.verdicts.values().fold(0_u64, |sum, n| sum.saturating_add(*n));
        verdicts.saturating_add(self.synack_retransmits)
    }

    /// Children taken by the application.
    pub(crate) fn accepts(&self) -> u64 {
        self.verdicts.get(&VerdictId::LaterAcceptedByApp).copied().unwrap_or(0)
    }

    /// Phantoms that got in later: a slot became free before the client or the kernel gave up.
    pub(crate) fn recovered(&self) -> u64 {
        self.verdicts.get(&VerdictId::LaterRecovered).copied().unwrap_or(0)
    }

    /// Phantoms that got in when their client had closed already.
    pub(crate) fn recovered_too_late(&self) -> u64 {
        self.verdicts.get(&VerdictId::LaterRecoveredTooLate).copied().unwrap_or(0)
    }

    /// Verdicts as JSON has them.
    pub(super) fn by_name(&self) -> Counts<'static> {
        self.verdicts.iter().map(|(id, n)| (id.as_str().into(), *n)).collect()
    }
}
