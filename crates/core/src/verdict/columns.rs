//! The columns of the verdict catalog: what is known of every verdict.

use super::{Counter, Effect, VerdictId, WirePattern};
use crate::{explain::Lang, hook_point::HookPoint, text::style::Tone};

/// One row of the catalog.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// Its stable text form.
    pub(super) name: &'static str,
    /// Its explanation, a markdown file per language.
    pub(super) topic: Text,
    /// What the kernel did, in a few words.
    pub(super) label: Text,
    /// What was decided, and about which segment.
    pub(super) class: Class,
    /// What shows it.
    pub(super) shown: Shown,
    /// How good it is for the connection.
    pub(super) tone: Tone,
    /// Whether a handshake on which this happened did not go as it should.
    pub(super) abnormal: bool,
    /// Whether a connection that ended like this came through.
    pub(super) came_through: bool,
    /// The queue that decided it.
    pub(super) decided_by: DecidedBy,
    /// Whether it is decided at `tcp_check_req`'s label `listen_overflow`, the only place that
    /// reads `tcp_abort_on_overflow`.
    pub(super) listen_overflow: bool,
    /// What it looks like on the wire; nothing for what came after the handshake.
    pub(super) wire: &'static [WirePattern],
    /// What it adds to the namespace's counters.
    pub(super) counters: &'static [Effect],
    /// What the server has after it.
    pub(super) server: ServerSide,
    /// What the client has after it.
    pub(super) client: ClientSide,
    /// What it ends.
    pub(super) ends: Ends,
    /// For a third ACK, what became of its SYN, where nothing else can have preceded it.
    pub(super) after: Option<VerdictId>,
}

/// A text in each language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text {
    /// English.
    pub en: &'static str,
    /// Chinese.
    pub zh: &'static str,
}

/// The first part of an id: the segment, or the time, that a verdict is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// A SYN.
    Syn,
    /// A third ACK.
    Ack,
    /// The time after the handshake.
    Later,
}

/// What was decided, and about which segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A SYN was answered.
    SynAnswered,
    /// A SYN was dropped.
    SynDropped,
    /// A third ACK put a child into the accept queue.
    AckAccepted,
    /// A third ACK was dropped.
    AckDropped,
    /// A third ACK was answered by RST.
    AckReset,
    /// Something after the handshake.
    Later,
}

/// What shows a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Hooks at this hook point, and no others.
    By(HookPoint),
    /// The order of what was seen.
    History,
    /// That nothing more was seen.
    Silence,
}

/// The queue whose length decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecidedBy {
    /// The SYN queue had room.
    SynQueueRoom,
    /// The SYN queue was full.
    SynQueueFull,
    /// The accept queue, or no queue at all.
    AcceptQueue,
}

/// What a verdict leaves in the server's namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerSide {
    /// A child in the accept queue.
    Child,
    /// A request in the SYN queue, until its retries are used up.
    Request,
    /// A request in the SYN queue, or nothing: the verdict is the same in both paths.
    RequestOrNothing,
    /// Nothing.
    Nothing,
    /// The verdict says nothing on it.
    Unknown,
}

/// What a verdict leaves the client with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientSide {
    /// An established connection.
    Connected,
    /// ECONNRESET.
    Reset,
    /// SYN_SENT or a timeout.
    Connecting,
    /// The verdict says nothing on it: the SYN-ACK or RST may still be under way.
    Unknown,
}

/// What a verdict ends, and what is seen of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// Nothing.
    Nothing,
    /// A request, by its own timer or its listener's end.
    RequestTimer,
    /// A request, by its client's RST.
    RequestByClient,
    /// A request, from outside, without a segment between client and server.
    RequestUnseen,
    /// A child in the accept queue, by its client's RST.
    ChildByClient,
    /// What the client believed in, by the server's RST.
    ByServerReset,
}

impl Text {
    /// The text in this language.
    pub const fn pick(self, lang: Lang) -> &'static str {
        lang.pick(self.en, self.zh)
    }
}

impl Family {
    /// The first part of the ids of this family.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Syn => "syn",
            Self::Ack => "ack",
            Self::Later => "later",
        }
    }
}

impl Class {
    /// What it is about.
    pub const fn family(self) -> Family {
        match self {
            Self::SynAnswered | Self::SynDropped => Family::Syn,
            Self::AckAccepted | Self::AckDropped | Self::AckReset => Family::Ack,
            Self::Later => Family::Later,
        }
    }

    /// Whether a segment was refused, by a drop or by an RST.
    pub(crate) const fn refuses(self) -> bool {
        match self {
            Self::SynDropped | Self::AckDropped | Self::AckReset => true,
            Self::SynAnswered | Self::AckAccepted | Self::Later => false,
        }
    }
}

impl VerdictId {
    /// The stable text form, as in JSON and on the command line.
    pub const fn as_str(self) -> &'static str {
        self.row().name
    }

    /// Its explanation, in markdown.
    pub(crate) const fn topic(self) -> Text {
        self.row().topic
    }

    /// What the kernel did, in a few words.
    pub const fn label(self, lang: Lang) -> &'static str {
        self.row().label.pick(lang)
    }

    /// What was decided, and about which segment.
    pub const fn class(self) -> Class {
        self.row().class
    }

    /// The segment, or the time, that it is about.
    pub const fn family(self) -> Family {
        self.class().family()
    }

    /// What shows it.
    pub const fn shown_by(self) -> Shown {
        self.row().shown
    }

    /// How good it is for the connection.
    pub const fn tone(self) -> Tone {
        self.row().tone
    }

    /// Whether a handshake on which this happened did not go as it should.
    pub const fn is_abnormal(self) -> bool {
        self.row().abnormal
    }

    /// Whether a connection of which this is the outcome came through.
    pub const fn came_through(self) -> bool {
        self.row().came_through
    }

    /// The queue whose length decided.
    pub const fn decided_by(self) -> DecidedBy {
        self.row().decided_by
    }

    /// Whether it is decided at `tcp_check_req`'s label `listen_overflow`, the only place that
    /// reads `tcp_abort_on_overflow`.
    pub(crate) const fn is_listen_overflow(self) -> bool {
        self.row().listen_overflow
    }

    /// What it looks like on the wire; nothing for what came after the handshake.
    pub(crate) const fn wire_patterns(self) -> &'static [WirePattern] {
        self.row().wire
    }

    /// What one occurrence adds to the counters of the listener's namespace.
    ///
    /// As in 4.15 to 7.3. Older kernels also count `ListenDrops` per cookie sent (`drop_and_free`
    /// in 4.4's `tcp_conn_request`), but have no sysctls per namespace to make a lab cell with.
    pub const fn counters(self) -> &'static [Effect] {
        self.row().counters
    }

    /// Whether each occurrence adds to this counter.
    pub fn counts(self, counter: Counter) -> bool {
        self.counters().iter().any(|effect| effect.counter == counter && effect.min > 0)
    }

    /// What it leaves in the server's namespace.
    pub const fn server_side(self) -> ServerSide {
        self.row().server
    }

    /// What it leaves the client with.
    pub const fn client_side(self) -> ClientSide {
        self.row().client
    }

    /// What it ends.
    pub const fn ends(self) -> Ends {
        self.row().ends
    }

    /// For a third ACK, what became of its SYN, where nothing else can have preceded it.
    pub const fn after(self) -> Option<Self> {
        self.row().after
    }
}
