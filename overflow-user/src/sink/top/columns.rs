//! The columns of the table: a row each, with heading, width, text, order, tone and help.

use std::cmp::{Ordering, Reverse};

use super::row::{FullShare, Row};
use crate::sink::{
    trace::{Whose, certain_owner},
    trace_text::elide,
};
use overflow_core::{
    owner::Owner,
    text::{Untrusted, style::Tone},
    verdict::{Class, VerdictId},
};

/// A column.
#[derive(Debug)]
pub(crate) struct Column {
    /// Its heading; no two have the same.
    pub title: &'static str,
    /// Least width, characters.
    pub width: usize,
    /// Whether its text stands at the left.
    pub left: bool,
    /// How much wider it gets where there is room.
    pub grows: Grows,
    /// 0 always stays; of the others the highest goes first on a narrow screen.
    pub rank: u8,
    /// What stands in it.
    pub cell: Cell,
    /// How it orders lines; `None` if it does not.
    pub order: Option<Order>,
    /// How its text is coloured, unless it is zero or the listener is gone.
    pub tone: fn(&Row) -> Tone,
    /// Its line in the help: what it explains, and the explanation.
    pub help: Option<(&'static str, &'static str)>,
}

/// How much wider a column gets where there is room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grows {
    /// Not at all.
    No,
    /// As its text needs, up to so many characters.
    To(usize),
    /// By all that the others leave, if it is the last one.
    Rest,
}

/// What stands in a column.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cell {
    /// Text in at most so many characters; the last number is the traced time, nanoseconds.
    Text(fn(&Row, usize, u64) -> String),
    /// The accept queue, second by second, as bars.
    Bars,
}

/// How a column orders lines, the interesting one first. Lines that are alike are in the order of
/// their ports.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    /// By port alone.
    Port,
    /// By the name of the process that holds the listener.
    Process,
    /// By a number, the greatest first.
    Number(fn(&Row, u64) -> u64),
}

/// What the lines are ordered by at first.
const INITIAL: &str = "OVF";

/// From left to right.
pub(crate) static COLUMNS: [Column; 11] = [
    Column {
        title: "LISTENER",
        width: 12,
        left: true,
        grows: Grows::To(46),
        rank: 0,
        cell: Cell::Text(place),
        order: Some(Order::Port),
        tone: |_| Tone::Plain,
        help: Some(("- inode", "a socket of the SO_REUSEPORT group above it, and whose it is")),
    },
    Column {
        title: "OWNER",
        width: 10,
        left: true,
        grows: Grows::To(24),
        rank: 4,
        cell: Cell::Text(owner_text),
        order: Some(Order::Process),
        tone: |_| Tone::Plain,
        help: None,
    },
    Column {
        title: "Recv-Q",
        width: 9,
        left: false,
        grows: Grows::No,
        rank: 0,
        cell: Cell::Text(|row, width, _| match row.recv_q {
            Some((len, limit)) => queue(len, limit, width),
            None if row.gone() => "closed".to_owned(),
            None => "?".to_owned(),
        }),
        order: Some(Order::Number(|row, _| row.recv_q.map_or(0, |(len, _)| len).into())),
        tone: |row| if row.full() { Tone::Bad } else { Tone::Plain },
        help: Some(("Recv-Q", "accept queue length/limit now; full is above the limit")),
    },
    Column {
        title: "MAX",
        width: 4,
        left: false,
        grows: Grows::No,
        rank: 9,
        cell: Cell::Text(|row, _, _| short(row.longest.into())),
        order: Some(Order::Number(|row, _| row.longest.into())),
        tone: |_| Tone::Plain,
        help: Some(("MAX", "longest accept queue that was seen")),
    },
    Column {
        title: "OVF",
        width: 4,
        left: false,
        grows: Grows::No,
        rank: 1,
        cell: Cell::Text(|row, _, _| short(row.totals.overflows())),
        order: Some(Order::Number(|row, _| row.totals.overflows())),
        tone: |_| Tone::Bad,
        help: Some((
            "OVF /s",
            "overflows (as ListenOverflows counts) in all, and in the last second",
        )),
    },
    Column {
        title: "/s",
        width: 4,
        left: false,
        grows: Grows::No,
        rank: 2,
        cell: Cell::Text(|row, _, _| short(row.overflow_rate().into())),
        order: Some(Order::Number(|row, _| row.overflow_rate().into())),
        tone: |_| Tone::Bad,
        // Explained with the one before.
        help: None,
    },
    Column {
        title: "RST",
        width: 4,
        left: false,
        grows: Grows::No,
        rank: 5,
        cell: Cell::Text(|row, _, _| short(row.count(|id| id.class() == Class::AckReset))),
        order: Some(Order::Number(|row, _| row.count(|id| id.class() == Class::AckReset))),
        tone: |_| Tone::Warn,
        help: Some(("RST", "third ACKs answered by RST (tcp_abort_on_overflow=1)")),
    },
    Column {
        title: "COOK",
        width: 4,
        left: false,
        grows: Grows::No,
        rank: 6,
        cell: Cell::Text(|row, _, _| short(row.count(|id| id == VerdictId::AckDropOverflowCookie))),
        order: Some(Order::Number(|row, _| row.count(|id| id == VerdictId::AckDropOverflowCookie))),
        tone: |_| Tone::Bad,
        help: Some(("COOK", "third ACKs dropped silently in the SYN-cookie path")),
    },
    Column {
        title: "SYN",
        width: 4,
        left: false,
        grows: Grows::No,
        rank: 7,
        cell: Cell::Text(|row, _, _| short(row.count(VerdictId::is_dropped_syn))),
        order: Some(Order::Number(|row, _| row.count(VerdictId::is_dropped_syn))),
        tone: |_| Tone::Bad,
        help: Some(("SYN", "SYNs dropped")),
    },
    Column {
        title: "FULL",
        width: 4,
        left: false,
        grows: Grows::No,
        rank: 8,
        cell: Cell::Text(|row, _, traced_ns| match row.full_share(traced_ns) {
            Some(FullShare::Traced(share)) => format!("{share}%"),
            Some(FullShare::Sampled(0)) => "0%".to_owned(),
            // 100 would need a fifth column, and samples prove no more.
            Some(FullShare::Sampled(share)) => format!("~{}%", share.min(99)),
            None => "?".to_owned(),
        }),
        order: Some(Order::Number(|row, traced_ns| {
            row.full_share(traced_ns).map_or(0, |share| match share {
                FullShare::Traced(share) | FullShare::Sampled(share) => share.into(),
            })
        })),
        tone: |_| Tone::Plain,
        help: Some(("FULL", "share of the time in which the queue was full; ~ by a look a second")),
    },
    Column {
        title: "QUEUE",
        width: 7,
        left: true,
        grows: Grows::Rest,
        rank: 3,
        cell: Cell::Bars,
        order: None,
        tone: |_| Tone::Plain,
        help: Some(("QUEUE", "Recv-Q of the last seconds, a column each; a full block is full")),
    },
];

impl Column {
    /// The one that lines are ordered by at first.
    pub(crate) fn initial() -> &'static Self {
        COLUMNS.iter().find(|column| column.title == INITIAL).unwrap_or(&COLUMNS[0])
    }

    /// The order of two lines by this column.
    pub(crate) fn compare(&self, a: &Row, b: &Row, traced_ns: u64) -> Ordering {
        match self.order {
            Some(Order::Number(number)) => {
                Reverse(number(a, traced_ns)).cmp(&Reverse(number(b, traced_ns)))
            }
            Some(Order::Process) => process(a).cmp(&process(b)),
            Some(Order::Port) | None => Ordering::Equal,
        }
        .then_with(|| (a.key.1.port(), a.key).cmp(&(b.key.1.port(), b.key)))
    }
}

impl PartialEq for Column {
    fn eq(&self, other: &Self) -> bool {
        self.title == other.title
    }
}

/// Who holds a line's listener: all of a group, if they have one owner.
pub(crate) fn owner(row: &Row) -> Option<&Owner> {
    certain_owner(&row.listeners)
}

fn owner_text(row: &Row, width: usize, _: u64) -> String {
    match (owner(row), row.key.2, row.listeners.len()) {
        (Some(owner), ..) => owner.short(width),
        (None, Whose::Group, n) => format!("{n} owners"),
        (None, Whose::Unknown, n @ 2..) => format!("1 of {n}"),
        (None, Whose::Socket(_) | Whose::Unknown | Whose::Closed | Whose::Elsewhere, _) => {
            "?".to_owned()
        }
    }
}

/// Where it listens; of a group's member its inode, under the group.
fn place(row: &Row, width: usize, _: u64) -> String {
    if row.group.is_none() {
        return elide(&row.place, width);
    }
    match row.key.2 {
        Whose::Socket(ino) => format!("- {ino}"),
        Whose::Unknown | Whose::Group => "- unknown".to_owned(),
        Whose::Closed | Whose::Elsewhere => "- closed".to_owned(),
    }
}

fn process(row: &Row) -> Option<(&Untrusted, u32)> {
    owner(row).and_then(Owner::main).map(|p| (&p.comm, p.pid))
}

/// `129/128`, shortened where it does not fit.
pub(crate) fn queue(len: u32, limit: u32, width: usize) -> String {
    let text = format!("{len}/{limit}");
    if text.len() <= width {
        text
    } else {
        format!("{}/{}", short(len.into()), short(limit.into()))
    }
}

/// A count in four characters: `9999`, `12k`, `1.2M`, `123M`.
pub(crate) fn short(count: u64) -> String {
    const UNITS: &[(u64, char)] =
        &[(1_000, 'k'), (1_000_000, 'M'), (1_000_000_000, 'G'), (1_000_000_000_000, 'T')];
    if count < 10_000 {
        return count.to_string();
    }
    for (unit, letter) in UNITS {
        if count < unit * 10 {
            return format!("{}.{}{letter}", count / unit, count % unit * 10 / unit);
        }
        if count < unit * 1_000 {
            return format!("{}{letter}", count / unit);
        }
    }
    "many".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_fits_80_columns() {
        // A mark stands before each line, a space between columns.
        let needed: usize = COLUMNS.iter().map(|c| c.width + 1).sum();
        // What is left is for names.
        assert_eq!(needed, 77);
        assert!(COLUMNS.iter().all(|c| c.title.len() <= c.width));
    }

    #[test]
    fn headings_and_ranks_are_unique() {
        for (i, column) in COLUMNS.iter().enumerate() {
            assert!(!COLUMNS[..i].contains(column), "{}", column.title);
            let same = COLUMNS[..i].iter().any(|c| c.rank == column.rank && c.rank > 0);
            assert!(!same, "{}", column.title);
        }
        assert_eq!(Column::initial().title, INITIAL);
    }

    #[test]
    fn counts_fit_four_characters() {
        let check = |count, expect| assert_eq!(short(count), expect);
        check(0, "0");
        check(9_999, "9999");
        check(10_000, "10k");
        check(999_999, "999k");
        check(1_000_000, "1.0M");
        check(9_999_999, "9.9M");
        check(10_000_000, "10M");
        check(1_234_567_890, "1.2G");
        check(u64::MAX, "many");
        assert_eq!(queue(129, 128, 9), "129/128");
        assert_eq!(queue(65_535, 65_535, 9), "65k/65k");
    }
}
