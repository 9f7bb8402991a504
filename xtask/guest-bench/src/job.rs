//! One row of the benchmark: what is attached, how much load is driven, what came out.

use serde::{Deserialize, Serialize};

use crate::stat::Stat;

/// One row: the load without anything, then with it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// What is measured.
    pub what: What,
    /// The load; with no handshakes at all nothing is driven, and nothing of the machine changed.
    pub load: Amount,
    /// A tool counts as attached when it has made no program and no link for so long,
    /// milliseconds.
    pub settle_ms: u64,
    /// Measure empty programs on the same hooks too, when the tool has gone.
    pub floor: bool,
    /// The word by which the tool's lines are to name each kind of drop: of a SYN, of a third ACK,
    /// one that is reset, one with a cookie. Empty if it names none.
    pub verdicts: Vec<String>,
}

/// What is attached.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum What {
    /// Nothing.
    Nothing,
    /// Programs that do nothing.
    Empty(Vec<Hook>),
    /// A program: path and arguments.
    Tool(Vec<String>),
    /// A program that ends by itself and attaches nothing: what it took.
    Once(Vec<String>),
}

/// How much load is driven in each round.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Amount {
    /// Rounds.
    pub rounds: usize,
    /// Healthy handshakes in each.
    pub healthy: usize,
    /// Segments dropped in each, of each kind.
    pub drops: usize,
}

/// Where and how a program is attached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Hook {
    /// How.
    pub kind: HookKind,
    /// Kernel function or tracepoint.
    pub target: String,
}

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookKind {
    /// BPF trampoline at a function's entry.
    Fentry,
    /// BPF trampoline at a function's exit.
    Fexit,
    /// As [`Self::Fexit`], and the program reads both accept queue fields of the listener.
    FexitReads,
    /// kprobe.
    Kprobe,
    /// kretprobe.
    Kretprobe,
    /// BTF-typed raw tracepoint.
    TpBtf,
    /// Something else, for which there is no empty program here.
    Other,
}

impl HookKind {
    /// As in `fexit:tcp_check_req`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::Fexit => "fexit",
            Self::FexitReads => "fexit+reads",
            Self::Kprobe => "kprobe",
            Self::Kretprobe => "kretprobe",
            Self::TpBtf => "tp_btf",
            Self::Other => "other",
        }
    }
}

/// What one job measured. Times are nanoseconds, which are instructions where the machine's clock
/// counts them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// The load with nothing attached, before.
    pub before: Load,
    /// The load with what was to be measured.
    pub with: Load,
    /// The load with empty programs on the tool's hooks.
    pub floor: Option<Load>,
    /// Where the programs are attached.
    pub hooks: Vec<HookRuns>,
    /// What the tool took besides.
    pub tool: Option<Tool>,
}

/// How long each kind of segment took.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Load {
    /// SYN and third ACK of one healthy handshake, while nothing was dropped yet.
    pub handshake: Stat,
    /// The same, after every kind of drop: clients that were refused may try again at any time.
    pub handshake_after_drops: Stat,
    /// The `accept()` of each.
    pub accept: Stat,
    /// The SYN alone.
    pub syn: Stat,
    /// The third ACK alone.
    pub ack: Stat,
    /// A SYN to a full accept queue.
    pub syn_dropped: Stat,
    /// A third ACK to a full accept queue.
    pub ack_dropped: Stat,
    /// The same, answered by an RST because of `tcp_abort_on_overflow`.
    pub ack_reset: Stat,
    /// A third ACK with a SYN cookie to a full accept queue.
    pub cookie_dropped: Stat,
    /// What the tool itself used and printed meanwhile.
    pub consumed: Option<Consumed>,
}

/// What a tool used and printed for one segment or handshake, on average.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Consumed {
    /// CPU for a healthy handshake, without what it uses idle.
    pub cpu_per_handshake: f64,
    /// CPU for a dropped segment.
    pub cpu_per_drop: f64,
    /// Lines for a healthy handshake.
    pub lines_per_handshake: f64,
    /// Lines for a dropped SYN.
    pub lines_per_syn_dropped: f64,
    /// Lines for a dropped third ACK.
    pub lines_per_ack_dropped: f64,
    /// Lines for one answered by an RST.
    pub lines_per_ack_reset: f64,
    /// Lines for one with a cookie.
    pub lines_per_cookie_dropped: f64,
    /// Lines with the right verdict for one segment of each kind, as in [`Job::verdicts`].
    pub exact: [f64; 4],
}

/// A hook and how often its program ran.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HookRuns {
    /// The hook.
    pub hook: Hook,
    /// Runs for one healthy handshake.
    pub per_handshake: f64,
}

/// What a tool took.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Tool {
    /// From exec to the last program or link made.
    pub attached_ns: u64,
    /// CPU it had used by then.
    pub cpu_ns: u64,
    /// Resident when attached, KiB.
    pub rss_kib: u64,
    /// Of these, pages of files: the program itself, mapped.
    pub rss_file_kib: u64,
    /// The most that was ever resident, KiB.
    pub rss_most_kib: u64,
    /// Share of a CPU while nothing happens.
    pub idle: f64,
    /// For a program that ended by itself: how long it ran.
    pub wall_ns: u64,
    /// The last line of its standard error.
    pub stderr: String,
}
