//! The columns of the table: heading, width, order, text.

use std::cmp::Ordering;

use super::row::{FullShare, Row};
use crate::sink::trace_text::elide;
use overflow_core::{
    owner::Owner,
    verdict::{Class, VerdictId},
};

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// Where it listens.
    Listener,
    /// Who holds it.
    Owner,
    /// Accept queue, and its limit.
    RecvQ,
    /// Longest accept queue.
    Longest,
    /// Overflows since tracing began.
    Overflows,
    /// Overflows in the last second.
    Rate,
    /// Third ACKs answered by RST.
    Resets,
    /// Third ACKs dropped in the cookie path.
    Cookies,
    /// SYNs dropped.
    Syns,
    /// Share of the time in which the accept queue was full.
    Full,
    /// The accept queue, second by second.
    Queue,
}

impl Column {
    /// From left to right.
    pub const ALL: &[Self] = &[
        Self::Listener,
        Self::Owner,
        Self::RecvQ,
        Self::Longest,
        Self::Overflows,
        Self::Rate,
        Self::Resets,
        Self::Cookies,
        Self::Syns,
        Self::Full,
        Self::Queue,
    ];

    /// Given up on a narrow screen, the first of these first.
    pub const EXPENDABLE: &[Self] = &[
        Self::Longest,
        Self::Full,
        Self::Syns,
        Self::Cookies,
        Self::Resets,
        Self::Owner,
        Self::Queue,
        Self::Rate,
        Self::Overflows,
    ];

    /// Its heading.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Listener => "LISTENER",
            Self::Owner => "OWNER",
            Self::RecvQ => "Recv-Q",
            Self::Longest => "MAX",
            Self::Rate => "/s",
            Self::Overflows => "OVF",
            Self::Resets => "RST",
            Self::Cookies => "COOK",
            Self::Syns => "SYN",
            Self::Full => "FULL",
            Self::Queue => "QUEUE",
        }
    }

    /// Least width, characters.
    pub const fn width(self) -> usize {
        match self {
            Self::Listener => 12,
            Self::Owner => 10,
            Self::RecvQ => 9,
            Self::Queue => 7,
            _ => 4,
        }
    }

    /// Whether its text stands at the left.
    pub const fn left(self) -> bool {
        matches!(self, Self::Listener | Self::Owner | Self::Queue)
    }

    /// Whether lines can be ordered by it.
    pub const fn sorts(self) -> bool {
        !matches!(self, Self::Queue)
    }

    /// Whether the least comes first by nature: names; of numbers the greatest does.
    const fn ascends(self) -> bool {
        matches!(self, Self::Listener | Self::Owner)
    }

    /// The order of two lines by this column, the interesting one first.
    pub fn order(self, a: &Row, b: &Row, traced_ns: u64) -> Ordering {
        let number = |row: &Row| match self {
            Self::RecvQ => u64::from(row.recv_q.map_or(0, |(len, _)| len)),
            Self::Longest => row.longest.into(),
            Self::Rate => row.overflow_rate().into(),
            Self::Overflows => row.totals.overflows(),
            Self::Resets => row.count(|id| id.class() == Class::AckReset),
            Self::Cookies => row.count(|id| id == VerdictId::AckDropOverflowCookie),
            Self::Syns => row.count(VerdictId::is_dropped_syn),
            Self::Full => row.full_share(traced_ns).map_or(0, |share| match share {
                FullShare::Traced(share) | FullShare::Sampled(share) => share.into(),
            }),
            Self::Listener | Self::Owner | Self::Queue => 0,
        };
        match self {
            Self::Owner => name(a).cmp(&name(b)),
            _ if self.ascends() => Ordering::Equal,
            _ => number(b).cmp(&number(a)),
        }
        .then_with(|| (a.key.1.port(), a.key).cmp(&(b.key.1.port(), b.key)))
    }

    /// Its text for a line, in at most `width` characters; empty for [`Column::Queue`], which is
    /// drawn.
    pub fn text(self, row: &Row, width: usize, traced_ns: u64) -> String {
        match self {
            Self::Listener => elide(&row.place, width),
            Self::Owner => owner(row).map_or_else(|| "?".to_owned(), |o| o.short(width)),
            Self::RecvQ => match row.recv_q {
                Some((len, limit)) => queue(len, limit, width),
                None if row.gone() => "closed".to_owned(),
                None => "?".to_owned(),
            },
            Self::Longest => short(row.longest.into()),
            Self::Rate => short(row.overflow_rate().into()),
            Self::Overflows => short(row.totals.overflows()),
            Self::Resets => short(row.count(|id| id.class() == Class::AckReset)),
            Self::Cookies => short(row.count(|id| id == VerdictId::AckDropOverflowCookie)),
            Self::Syns => short(row.count(VerdictId::is_dropped_syn)),
            Self::Full => match row.full_share(traced_ns) {
                Some(FullShare::Traced(share)) => format!("{share}%"),
                Some(FullShare::Sampled(0)) => "0%".to_owned(),
                // 100 would need a fifth column, and samples prove no more.
                Some(FullShare::Sampled(share)) => format!("~{}%", share.min(99)),
                None => "?".to_owned(),
            },
            Self::Queue => String::new(),
        }
    }
}

/// The owner of a line's first listener.
pub fn owner(row: &Row) -> Option<&Owner> {
    row.listeners.first()?.owner.as_ref()
}

fn name(row: &Row) -> Option<(&str, u32)> {
    owner(row).and_then(Owner::main).map(|p| (p.comm.as_str(), p.pid))
}

/// `129/128`, shortened where it does not fit.
pub fn queue(len: u32, limit: u32, width: usize) -> String {
    let text = format!("{len}/{limit}");
    if text.len() <= width {
        text
    } else {
        format!("{}/{}", short(len.into()), short(limit.into()))
    }
}

/// A count in four characters: `9999`, `12k`, `1.2M`, `123M`.
pub fn short(count: u64) -> String {
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
        let needed: usize = Column::ALL.iter().map(|c| c.width() + 1).sum();
        // What is left is for names.
        assert_eq!(needed, 77);
        assert!(Column::ALL.iter().all(|c| c.title().len() <= c.width()));
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
