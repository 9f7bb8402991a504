//! A case: what is done, and what must be said of it.

use overflow_core::verdict::Counter;

/// One case. What is right is what the kernel did, known from its source, its counters and the wire;
/// each case says in a comment which function decides.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Its name.
    pub name: &'static str,
    /// What it shows, one line.
    pub shows: &'static str,
    /// What is done, as [`guest_cases::script`] reads it.
    pub script: &'static str,
    /// Every verdict that must be told, besides those of [`TOLERATED`]; nothing else may be.
    pub told: &'static [Told],
    /// The same by tracepoints, where less can be seen; as by the other rungs if `None`.
    pub by_tracepoints: Option<&'static [Told]>,
    /// What must be told as well where every handshake is traced (`--all`, `--summary`).
    pub all: &'static [Told],
    /// The same by tracepoints; as by the other rungs if `None`.
    pub all_by_tracepoints: Option<&'static [Told]>,
    /// Further ids that may be told.
    pub tolerated: &'static [&'static str],
    /// How far counters of an actor's namespace must rise: actor, counter, by how much. A counter
    /// that no case names here is not looked at.
    pub counters: &'static [(&'static str, &'static str, u64)],
    /// What counters of an actor rose by that no verdict is about: what no hook sees.
    pub unseen: &'static [(&'static str, Counter, u64)],
    /// Ways to trace.
    pub modes: &'static [Mode],
    /// Whether it needs four processors.
    pub smp: bool,
    /// Whether the tool is started for it alone; otherwise it traces several cases, one after the
    /// other, each in namespaces of its own.
    pub alone: bool,
    /// Further arguments of the tool; `{pid:ACTOR}` stands for the actor's process.
    pub args: &'static [&'static str],
    /// Whether these arguments keep some listeners out, whose counters rise all the same.
    pub filtered: bool,
    /// Listeners whose queue must not be said to be full when the trace ends.
    pub not_full: &'static [&'static str],
    /// Clients that must be said to be hurt: listener, class, how many. If any is named, nobody else may
    /// be.
    pub hurt: &'static [(&'static str, &'static str, u64)],
    /// What it needs that not every kernel has.
    pub needs: &'static [Need],
    /// What the tool may say that it lost.
    pub losses: Losses,
    /// Whether namespaces are made in the script, whose counters alone say what must be told.
    pub storm: bool,
    /// Whether it runs on this machine's own kernel.
    pub native: bool,
}

/// What every case has that does not say otherwise.
pub const CASE: Case = Case {
    name: "",
    shows: "",
    script: "",
    told: &[],
    by_tracepoints: None,
    all: &[],
    all_by_tracepoints: None,
    tolerated: &[],
    counters: &[],
    unseen: &[],
    modes: &[Mode::Default],
    smp: false,
    alone: false,
    args: &[],
    filtered: false,
    not_full: &[],
    hurt: &[],
    needs: &[],
    losses: Losses::Nothing,
    storm: false,
    native: true,
};

/// A verdict that must be told.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// Its id.
    pub id: &'static str,
    /// How often.
    pub count: Count,
    /// The listener that it is charged to, by its name in the script; any of those whose names begin
    /// so if it ends with `*`.
    pub of: &'static str,
    /// The clients' ports, first and last; any if `None`.
    pub clients: Option<(u16, u16)>,
}

/// What may be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Losses {
    /// Nothing.
    Nothing,
    /// Whatever is not told, as many as are said to be.
    Complete,
}

/// How often something must be told.
#[derive(Clone, Copy, Debug)]
pub enum Count {
    /// So often.
    Exactly(u64),
    /// At most so often: a drop that a hook may or may not see. Nobody else is charged with it.
    UpTo(u64),
    /// As often as this counter of the actor's namespace rose, which it must.
    AsRose(&'static str, &'static str),
    /// The same, and it may not rise: some kernels do it and others do not.
    IfRose(&'static str, &'static str),
}

/// `count` times this verdict, of this listener.
pub const fn told(id: &'static str, count: u64, of: &'static str) -> Told {
    Told { id, count: Count::Exactly(count), of, clients: None }
}

/// At most `count` times this verdict, of this listener.
pub const fn up_to(id: &'static str, count: u64, of: &'static str) -> Told {
    Told { id, count: Count::UpTo(count), of, clients: None }
}

/// This verdict as often as the actor's counter rose.
pub const fn as_rose(
    id: &'static str,
    (actor, counter): (&'static str, &'static str),
    of: &'static str,
) -> Told {
    Told { id, count: Count::AsRose(actor, counter), of, clients: None }
}

/// The same, where not every kernel does it.
pub const fn if_rose(
    id: &'static str,
    (actor, counter): (&'static str, &'static str),
    of: &'static str,
) -> Told {
    Told { id, count: Count::IfRose(actor, counter), of, clients: None }
}

impl Told {
    /// Of clients with these ports.
    pub const fn clients(self, first: u16, last: u16) -> Self {
        Self { clients: Some((first, last)), ..self }
    }
}

/// A way to trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Mode {
    /// Overflows alone.
    Default,
    /// `--all`
    All,
    /// `--summary 1`
    Summary,
}

/// Each way to trace.
pub const MODES: &[Mode] = &[Mode::Default, Mode::All, Mode::Summary];

impl Mode {
    /// Its arguments.
    pub fn args(self) -> &'static [&'static str] {
        match self {
            Self::Default => &[],
            Self::All => &["--all"],
            Self::Summary => &["--summary", "1"],
        }
    }

    /// Its name in a table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::All => "--all",
            Self::Summary => "--summary",
        }
    }
}

/// Something that a kernel may lack: the name by which the script's player reports it.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    /// A sysctl, a module, a protocol.
    pub what: &'static str,
    /// Kernels from this version on have it, so that its lack there is a failure; none must have it
    /// if `None`.
    pub since: Option<(u32, u32)>,
}

/// Verdicts that say nothing of an overflow, and that a trace may tell of any case: those that are not
/// abnormal only by `--all`, and in totals.
pub const TOLERATED: &[&str] = &[
    "syn.queued",
    "syn.fastopen",
    "ack.accepted",
    "ack.accepted.cookie",
    "later.accepted_by_app",
    "later.listener_closed",
    "later.pending",
    "later.request_expired",
    "later.reset_by_client",
    "later.reset_in_queue",
];
