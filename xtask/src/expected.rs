//! What the lab must show: for each scenario, how many connections go which way.

/// Some connections of a cell's burst that must have gone one way.
pub struct Group {
    /// How many.
    pub count: usize,
    /// The first stage.
    pub first: &'static str,
    /// A verdict id that one of the handshake's stages is, or is under.
    pub handshake: &'static str,
    /// The outcome, where it is part of what is claimed.
    pub outcome: Option<&'static str>,
    /// Whether the path reads `tcp_abort_on_overflow`, where it is part of what is claimed.
    pub abort_read: Option<bool>,
}

/// A cell and the whole of its burst.
pub struct Cell {
    /// How the name of the run begins.
    pub run: &'static str,
    /// Everybody, in groups; a connection belongs to the first group it fits.
    pub burst: &'static [Group],
}

/// One run of the lab.
pub struct Scenario {
    /// What it is called here.
    pub name: &'static str,
    /// Arguments of `overflow lab`.
    pub args: &'static [&'static str],
    /// What it prints.
    pub cells: &'static [Cell],
}

/// A group judged by its first stage and its handshake alone.
pub const fn group(count: usize, first: &'static str, handshake: &'static str) -> Group {
    Group { count, first, handshake, outcome: None, abort_read: None }
}

/// The family of everything that entered the accept queue.
pub const ACCEPTED: &str = "ack.accepted";
/// What the lab exists to show: dropped silently, whatever the sysctl says.
pub const COOKIE_DROPPED: Group = Group {
    count: 3,
    first: "syn.cookie",
    handshake: "ack.drop.overflow.cookie",
    outcome: Some("later.phantom"),
    abort_read: Some(false),
};
const WITH_COOKIES: &[Group] = &[group(2, "syn.queued", ACCEPTED), COOKIE_DROPPED];
const WITHOUT_COOKIES: &[Group] = &[
    group(2, "syn.queued", ACCEPTED),
    group(3, "syn.drop.syn_queue_full", "syn.drop.syn_queue_full"),
];

/// Backlog 1, five clients, 200 ms, on every kernel whose SYN queue is full at `>` of the backlog
/// (6.1.128, 6.12 and later); ground truth by packet capture on the same kernels.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "seed",
        args: &[],
        cells: &[
            Cell { run: "abort=0,syncookies=1", burst: WITH_COOKIES },
            Cell { run: "abort=1,syncookies=1", burst: WITH_COOKIES },
            Cell { run: "abort=0,syncookies=0", burst: WITHOUT_COOKIES },
            Cell { run: "abort=1,syncookies=0", burst: WITHOUT_COOKIES },
        ],
    },
    Scenario {
        name: "prefill-1-abort-1",
        args: &["--prefill", "1", "--syncookies", "1", "--abort-on-overflow", "1"],
        cells: &[Cell {
            run: "abort=1,syncookies=1",
            burst: &[
                group(1, "syn.queued", ACCEPTED),
                group(1, "syn.queued", "ack.reset.overflow"),
                COOKIE_DROPPED,
            ],
        }],
    },
    Scenario {
        name: "prefill-1-abort-0",
        args: &["--prefill", "1", "--syncookies", "1", "--abort-on-overflow", "0"],
        cells: &[Cell {
            run: "abort=0,syncookies=1",
            burst: &[
                group(1, "syn.queued", ACCEPTED),
                COOKIE_DROPPED,
                group(1, "syn.queued", "ack.drop.overflow"),
            ],
        }],
    },
    Scenario {
        name: "prefill-2",
        args: &["--prefill", "2", "--syncookies", "1", "--abort-on-overflow", "1"],
        cells: &[Cell {
            run: "abort=1,syncookies=1",
            burst: &[group(5, "syn.drop.accept_queue_full", "syn.drop.accept_queue_full")],
        }],
    },
];
