//! What one connection can look like on the wire, to somebody who sees nothing else.

use super::VerdictId;
use crate::{table_enum::table_enum, text::style::Tone};

struct Row {
    text: &'static str,
    words: &'static str,
    tone: Tone,
}

const fn row(text: &'static str, tone: Tone, words: &'static str) -> Row {
    Row { text, words, tone }
}

table_enum! {
    /// What one connection looks like on the wire.
    pub enum WirePattern: Row {
        /// The server's interface never saw a SYN of this client.
        NoSyn = row("none", Tone::Bad, "no SYN on the wire"),
        /// Nor a SYN, but an ACK that was answered by RST.
        StrayReset = row("ack.reset", Tone::Warn, "an ACK without a SYN, answered by RST"),
        /// SYNs, no answer.
        SynUnanswered = row("syn.drop", Tone::Bad, "no SYN-ACK to any SYN"),
        /// A SYN answered by RST: no listener.
        SynRefused = row("syn.refused", Tone::Bad, "a RST in answer to the SYN"),
        /// A SYN-ACK, but no third ACK.
        SynAckOnly = row("syn", Tone::Bad, "a SYN-ACK and no third ACK"),
        /// The third ACK was answered by RST.
        AckReset = row("ack.reset", Tone::Warn, "a RST in answer to the third ACK"),
        /// The SYN-ACK was sent again after the third ACK had arrived: a request was kept.
        AckResent = row(
            "ack.drop.overflow",
            Tone::Bad,
            "the SYN-ACK sent again after the third ACK",
        ),
        /// Nothing after the third ACK, for longer than a kept request could have stayed silent,
        /// and nothing when the listener closed.
        AckSilent = row(
            "ack.drop.overflow.cookie",
            Tone::Bad,
            "silence after the third ACK, and at the listener's close",
        ),
        /// As [`Self::AckSilent`], but the capture ended before a kept request had to show itself.
        AckSilentShort = row(
            "ack.drop",
            Tone::Bad,
            "silence after the third ACK, watched too short to tell more",
        ),
        /// Nothing after the third ACK, and nothing that a socket would have had to answer: neither
        /// data nor the listener's close.
        AckUnanswered = row(
            "ack",
            Tone::Plain,
            "silence after the third ACK, which nothing would have broken",
        ),
        /// Nothing after the third ACK but the client's own RST, after which silence shows nothing.
        AckThenClientReset = row(
            "ack",
            Tone::Bad,
            "silence after the third ACK, until the client's own RST",
        ),
        /// Nothing after the third ACK, then a RST in answer to data.
        DataReset = row("ack", Tone::Bad, "silence after the third ACK, then a RST in answer to data"),
        /// A socket existed: it acknowledged data, or was reset when the listener closed.
        Accepted = row(
            "ack.accepted",
            Tone::Good,
            "a socket that acknowledged data or was reset at the listener's close",
        ),
    }
}

impl WirePattern {
    /// The most specific id, or family of ids, that this pattern is typical of.
    pub const fn text(self) -> &'static str {
        self.row().text
    }

    /// What was seen, in words.
    pub const fn words(self) -> &'static str {
        self.row().words
    }

    /// What it means for the connection.
    pub const fn tone(self) -> Tone {
        self.row().tone
    }

    /// Whether this verdict on the handshake would look like this on the wire.
    pub fn admits(self, id: VerdictId) -> bool {
        id.wire_patterns().contains(&self)
    }

    /// Every verdict on the handshake that would look like this on the wire.
    pub fn admitted(self) -> impl Iterator<Item = VerdictId> {
        VerdictId::ALL.iter().copied().filter(move |id| self.admits(*id))
    }
}
