//! How the connections of a burst ended, counted.

use std::fmt;

use super::Lang;
use crate::verdict::{Class, Counter, VerdictId};

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

    /// Counts one connection by the verdict on its handshake.
    pub fn add(&mut self, handshake: Option<VerdictId>) {
        *self.of(handshake) += 1;
    }

    fn of(&mut self, handshake: Option<VerdictId>) -> &mut u32 {
        let Some(id) = handshake else { return &mut self.other };
        match (id.class(), id.counts(Counter::ListenOverflows)) {
            (Class::AckAccepted, _) => &mut self.accepted,
            (Class::AckReset, true) => &mut self.reset,
            (Class::AckDropped, true) if id.leaves_request() => &mut self.dropped,
            (Class::AckDropped, true) => &mut self.cookie_dropped,
            (Class::SynDropped, _) => &mut self.syn_dropped,
            (Class::AckReset | Class::AckDropped, false)
            | (Class::SynAnswered | Class::Later, _) => &mut self.other,
        }
    }

    /// The counts in words of a language.
    pub fn words(&self, lang: Lang) -> String {
        let parts = [
            (self.accepted, "accepted", "接受"),
            (self.reset, "reset", "RST"),
            (self.dropped, "retried", "重试"),
            (self.cookie_dropped, "silent", "静默丢弃"),
            (self.syn_dropped, "no SYN-ACK", "无 SYN-ACK"),
            (self.other, "otherwise", "其他"),
        ];
        let found = parts.iter().filter(|(n, ..)| *n > 0);
        let words: Vec<String> = match lang {
            Lang::En => found.map(|(n, en, _)| format!("{n} {en}")).collect(),
            Lang::Zh => found.map(|(n, _, zh)| format!("{n} {zh}")).collect(),
        };
        words.join(lang.pick(", ", "、"))
    }

    /// The counts but for the one difference tcp_abort_on_overflow is there to make.
    #[must_use]
    pub fn without_abort(self) -> Self {
        Self { reset: self.reset + self.dropped, dropped: 0, ..self }
    }

    /// Which ways to be lost occur at all.
    pub fn kinds(self) -> [bool; 4] {
        [self.reset, self.dropped, self.cookie_dropped, self.syn_dropped].map(|n| n > 0)
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words(Lang::En))
    }
}
