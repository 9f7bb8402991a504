//! What the eBPF side could not report, counted by cause in a per-CPU array.

/// Index into the `LOSSES` map; a loss is shown to the user, never swallowed.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The ring was full: a record was thrown away.
    RingFull = 0,
    /// A segment's IP or TCP header could not be read.
    BadHeader = 1,
    /// The path state belonged to another segment when an exit was reached.
    PathInterrupted = 2,
    /// A kernel structure could not be read.
    BadRead = 3,
    /// A count or a listener found no room in its map.
    Uncounted = 4,
}

impl Loss {
    /// How many causes there are.
    pub const COUNT: u32 = 5;
    /// All causes, in map order.
    pub const ALL: [Self; Self::COUNT as usize] =
        [Self::RingFull, Self::BadHeader, Self::PathInterrupted, Self::BadRead, Self::Uncounted];

    /// The cause's name in output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RingFull => "ring_full",
            Self::BadHeader => "bad_header",
            Self::PathInterrupted => "path_interrupted",
            Self::BadRead => "bad_read",
            Self::Uncounted => "uncounted",
        }
    }
}
