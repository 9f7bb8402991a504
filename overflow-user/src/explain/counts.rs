//! How the connections of a burst ended, counted.

use std::fmt;

use super::Facts;
use crate::verdict::VerdictId;

/// How the connections of a burst ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// In the accept queue.
    pub accepted: u32,
    /// Third ACK answered by RST.
    pub reset: u32,
    /// Third ACK dropped, request kept.
    pub dropped: u32,
    /// Third ACK dropped in the cookie path.
    pub cookie_dropped: u32,
    /// No SYN answered.
    pub syn_dropped: u32,
    /// Anything else.
    pub other: u32,
}

impl Counts {
    /// The words of the text form that do not explain themselves.
    pub const WORDS: &[(&str, &str)] = &[
        ("retried", "third ACK dropped, request kept, SYN-ACK sent again"),
        ("silent", "third ACK dropped, nothing kept, nothing sent"),
    ];

    /// The counts of what was found in a cell.
    pub fn of(cell: &Facts<'_>) -> Self {
        let mut counts = Self::default();
        for connection in &cell.connections {
            *match connection.handshake().map(|s| s.id) {
                Some(id) if id.is_under("ack.accepted") => &mut counts.accepted,
                Some(VerdictId::AckResetOverflow) => &mut counts.reset,
                Some(VerdictId::AckDropOverflow) => &mut counts.dropped,
                Some(VerdictId::AckDropOverflowCookie) => &mut counts.cookie_dropped,
                Some(id) if id.is_under("syn.drop") => &mut counts.syn_dropped,
                _ => &mut counts.other,
            } += 1;
        }
        counts
    }

    /// The counts but for the one difference tcp_abort_on_overflow is there to make.
    pub(super) fn without_abort(self) -> Self {
        Self { reset: self.reset + self.dropped, dropped: 0, ..self }
    }

    /// Which ways to be lost occur at all.
    pub(super) fn kinds(self) -> [bool; 4] {
        [self.reset, self.dropped, self.cookie_dropped, self.syn_dropped].map(|n| n > 0)
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (self.accepted, "accepted"),
            (self.reset, "reset"),
            (self.dropped, "retried"),
            (self.cookie_dropped, "silent"),
            (self.syn_dropped, "no SYN-ACK"),
            (self.other, "otherwise"),
        ];
        let parts: Vec<String> =
            parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        f.write_str(&parts.join(", "))
    }
}
