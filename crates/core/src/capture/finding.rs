//! What one connection of a capture proves: the verdicts that would look the same there, and what
//! nobody can tell from packets.

use std::net::SocketAddr;

use super::{
    evidence::{LAG_JITTER_NS, Watch, WireEvidence},
    flow::Flow,
    live::Live,
    point::Point,
};
use crate::{
    table_enum::table_enum,
    verdict::{VerdictId, WirePattern},
};

/// One connection, with what its packets prove.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Who opened it.
    pub client: SocketAddr,
    /// Whom it was opened to.
    pub server: SocketAddr,
    /// The interface of the capture that saw it first.
    pub interface: u32,
    /// The number of its first packet in the capture.
    pub number: u64,
    /// When that was captured, nanoseconds since 1970.
    pub t0_ns: u64,
    /// Its segments and what they amount to; departures have their times at the server.
    pub evidence: WireEvidence,
    /// Where it was captured.
    pub point: Point,
    /// The verdicts on the handshake that would look the same here, the most likely first. Empty if
    /// the packets do not tell.
    pub verdicts: Vec<VerdictId>,
    /// What they do not tell.
    pub doubts: Vec<Doubt>,
    /// Whether the client believed it was connected while the server had no socket, if only for a
    /// while; `None` where that does not show.
    pub phantom: Option<bool>,
    /// Whether a third ACK got in after an earlier one had not.
    pub recovered: bool,
    /// Every RST, in order of time.
    pub resets: Vec<Rst>,
    /// What to write beside which packet.
    pub marks: Vec<Mark>,
}

/// A RST, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rst {
    /// When, nanoseconds since 1970; the server's at the server.
    pub t_ns: u64,
    /// Who sent it, and on what.
    pub kind: RstKind,
}

/// A packet worth a comment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Its number in the capture.
    pub number: u64,
    /// What it is.
    pub kind: MarkKind,
}

/// What a packet is to its handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkKind {
    /// The first SYN.
    Syn,
    /// A SYN sent again.
    SynAgain,
    /// The first SYN-ACK.
    SynAck,
    /// A SYN-ACK sent again.
    SynAckAgain,
    /// The third ACK.
    Ack,
    /// A RST of the client.
    ClientRst,
    /// A RST of the server.
    ServerRst,
}

struct ResetRow {
    name: &'static str,
    words: &'static str,
}

table_enum! {
    /// Whose RST it is, and what it answers.
    pub enum RstKind: ResetRow {
        /// The client's.
        Client = ResetRow { name: "client", words: "the client's own" },
        /// The server's, to a SYN.
        RefusesSyn = ResetRow { name: "server_refuses_syn", words: "the server's, refusing the SYN" },
        /// The server's, to the third ACK.
        RefusesAck = ResetRow {
            name: "server_refuses_ack",
            words: "the server's, refusing the third ACK",
        },
        /// The server's, to data.
        RefusesData = ResetRow {
            name: "server_refuses_data",
            words: "the server's, refusing data: it has no socket",
        },
        /// The server's, of a socket that it closed.
        Closes = ResetRow {
            name: "server_closes",
            words: "the server's, of a socket that existed",
        },
    }
}

struct DoubtRow {
    name: &'static str,
    what: &'static str,
    ask: &'static str,
}

table_enum! {
    /// What a capture cannot tell, and what can.
    pub enum Doubt: DoubtRow {
        /// Packets are missing from it.
        Missing = DoubtRow {
            name: "missing",
            what: "what happened where packets are missing from the capture",
            ask: "capture again with a larger buffer and only headers: \
                tcpdump -B 65536 -s 128 'tcp port PORT'",
        },
        /// It is not in the order of time.
        Disorder = DoubtRow {
            name: "disorder",
            what: "what answered what: its packets are not in the order of their times",
            ask: "put them in order first: reordercap IN OUT comes with Wireshark",
        },
        /// It shows only one direction, or begins too late.
        OneSided = DoubtRow {
            name: "one_sided",
            what: "what the other end answered: this capture has not both directions of it",
            ask: "capture on the server's own host, where both directions pass",
        },
        /// It ended before it could show itself.
        TooShort = DoubtRow {
            name: "too_short",
            what: "what came after the capture ended",
            ask: "capture for longer: a SYN or SYN-ACK is sent again after 1, 3, 7, 15, 31 s",
        },
        /// A silent segment may not have arrived.
        Lost = DoubtRow {
            name: "lost",
            what: "whether the server dropped a segment or never got it",
            ask: "capture on the server's host; if this capture is from there, say --at server",
        },
        /// Or it was stopped before TCP.
        Firewall = DoubtRow {
            name: "firewall",
            what: "whether a firewall on the server's host took a segment after it was captured",
            ask: "overflow trace -P PORT on the server shows what reached TCP",
        },
        /// Which queue.
        WhichQueue = DoubtRow {
            name: "which_queue",
            what: "which queue was full, or which other test dropped the SYN",
            ask: "overflow trace -P PORT on the server names it; overflow listeners shows the limits",
        },
        /// Which test.
        WhichTest = DoubtRow {
            name: "which_test",
            what: "which test refused the third ACK",
            ask: "overflow trace -P PORT on the server names the test and the queue's length",
        },
        /// A phantom, or one that has nothing to say.
        Idle = DoubtRow {
            name: "idle",
            what: "whether a silent connection exists at the server",
            ask: "ss -tan on the server lists those that exist; \
                overflow trace --all -P PORT shows each third ACK",
        },
        /// Nobody knows of the client.
        NoAck = DoubtRow {
            name: "no_ack",
            what: "whether the client never answered the SYN-ACK, or the answer was lost",
            ask: "capture on the client's host as well",
        },
        /// Another sender.
        Sender = DoubtRow {
            name: "sender",
            what: "who sent a RST whose TTL is not that of the server's other segments",
            ask: "capture on the server's host: what it did not send came from in between",
        },
        /// Request or cookie.
        RequestOrCookie = DoubtRow {
            name: "request_or_cookie",
            what: "whether the SYN was queued or answered by a SYN cookie",
            ask: "overflow trace --all -P PORT on the server; nstat TcpExtSyncookiesSent counts cookies",
        },
    }
}

/// What the judging of a connection needs besides its segments.
#[derive(Clone, Copy, Debug)]
pub(super) struct Circumstances {
    /// Where it was captured.
    pub(super) point: Point,
    /// How long a segment takes from there to the server and back, nanoseconds.
    pub(super) lag_ns: u64,
    /// Until when it was watched, nanoseconds.
    pub(super) until: u64,
    /// Whether packets are known to be missing.
    pub(super) lossy: bool,
}

impl RstKind {
    /// The word of the lines.
    pub const fn as_str(self) -> &'static str {
        self.row().name
    }

    /// Whether the server sent it.
    pub const fn is_servers(self) -> bool {
        match self {
            Self::Client => false,
            Self::RefusesSyn | Self::RefusesAck | Self::RefusesData | Self::Closes => true,
        }
    }

    /// In words, behind "RST:".
    pub const fn words(self) -> &'static str {
        self.row().words
    }
}

impl Doubt {
    /// The word of the lines.
    pub const fn as_str(self) -> &'static str {
        self.row().name
    }

    /// What is not known.
    pub const fn what(self) -> &'static str {
        self.row().what
    }

    /// What would tell; `PORT` stands for the server's port.
    pub const fn ask(self) -> &'static str {
        self.row().ask
    }
}

impl Finding {
    /// Whether this handshake did not go as it should, as far as the packets tell.
    pub fn is_abnormal(&self) -> bool {
        self.recovered || !self.stands_alone() || !self.evidence.dropped_syns().is_empty()
    }

    /// The most specific id, or family of ids, that the packets allow; `unknown` if none.
    pub fn family(&self) -> &'static str {
        match &self.verdicts[..] {
            [] if self.evidence.pattern == WirePattern::SynRefused => {
                WirePattern::SynRefused.text()
            }
            [] => "unknown",
            [only] => only.as_str(),
            _ => self.evidence.pattern.text(),
        }
    }

    /// Whether it stands even if packets are missing from the capture: a socket was seen.
    pub fn stands_alone(&self) -> bool {
        self.evidence.pattern == WirePattern::Accepted
    }

    pub(super) fn of(live: &Live, with: Circumstances) -> Self {
        let mut flow = live.building.flow.clone();
        flow.take_off(with.lag_ns);
        let watch = Watch {
            until: with.until,
            closed: false,
            arrived: with.point.at_server(),
            jitter_ns: LAG_JITTER_NS.min(with.lag_ns),
        };
        let evidence = WireEvidence::of(flow, &watch);
        let (verdicts, doubts) = verdicts(&evidence, live, with);
        let recovered =
            evidence.pattern == WirePattern::Accepted && resent(&evidence.flow, watch.jitter_ns);
        Self {
            client: live.client,
            server: live.server,
            interface: live.interfaces[0],
            number: live.number,
            t0_ns: live.t0_ns,
            point: with.point,
            phantom: if verdicts.is_empty() { None } else { phantom(&evidence, recovered) },
            verdicts,
            doubts,
            recovered,
            resets: resets(&evidence),
            marks: live.marks.clone(),
            evidence,
        }
    }
}

fn verdicts(
    evidence: &WireEvidence,
    live: &Live,
    with: Circumstances,
) -> (Vec<VerdictId>, Vec<Doubt>) {
    use WirePattern as P;
    let pattern = evidence.pattern;
    // Only a socket's own word is nothing that a missing packet would change.
    if pattern == P::Accepted {
        return (typical_first(pattern, pattern.admitted()), Vec::new());
    }
    if with.lossy {
        return (Vec::new(), vec![Doubt::Missing]);
    }
    if live.disordered {
        return (Vec::new(), vec![Doubt::Disorder]);
    }
    if live.is_one_sided() {
        return (Vec::new(), vec![Doubt::OneSided]);
    }
    let mut doubts = Vec::new();
    let too_short = ended_too_soon(evidence, with);
    if too_short {
        doubts.push(Doubt::TooShort);
        if pattern == P::SynUnanswered {
            return (Vec::new(), doubts);
        }
    }
    match pattern {
        P::Accepted | P::NoSyn | P::StrayReset | P::SynRefused => {}
        P::SynUnanswered => doubts.push(Doubt::WhichQueue),
        P::SynAckOnly => doubts.extend([Doubt::RequestOrCookie, Doubt::NoAck]),
        P::AckUnanswered | P::AckThenClientReset => doubts.push(Doubt::Idle),
        P::AckReset | P::AckResent | P::AckSilent | P::AckSilentShort | P::DataReset => {
            doubts.push(Doubt::WhichTest);
        }
    }
    let silent = match pattern {
        P::SynUnanswered
        | P::AckResent
        | P::AckSilent
        | P::AckSilentShort
        | P::AckUnanswered
        | P::AckThenClientReset => true,
        P::Accepted
        | P::NoSyn
        | P::StrayReset
        | P::SynRefused
        | P::SynAckOnly
        | P::AckReset
        | P::DataReset => false,
    };
    if silent {
        doubts.push(if with.point.at_server() { Doubt::Firewall } else { Doubt::Lost });
    }
    if live.foreign_resets > 0 {
        doubts.push(Doubt::Sender);
    }
    let mut verdicts: Vec<VerdictId> = pattern.admitted().collect();
    // A request can end without a word: by its ICMP error or ss -K, or after its only SYN-ACK with
    // net.ipv4.tcp_synack_retries=0.
    // And that the listener closed in between does not show: then its port refuses whatever comes.
    let alike = match pattern {
        P::AckSilent => Some(P::AckResent),
        P::DataReset => Some(P::AckSilentShort),
        P::AckReset if resent(&evidence.flow, 0) => Some(P::AckResent),
        P::NoSyn
        | P::StrayReset
        | P::SynUnanswered
        | P::SynRefused
        | P::SynAckOnly
        | P::AckReset
        | P::AckResent
        | P::AckSilentShort
        | P::AckUnanswered
        | P::AckThenClientReset
        | P::Accepted => None,
    };
    // Its RST may have been under way.
    let unseen = (too_short && pattern != P::SynAckOnly).then_some(P::AckReset);
    verdicts.extend(unseen.into_iter().flat_map(P::admitted).filter(|id| !pattern.admits(*id)));
    verdicts.extend(alike.into_iter().flat_map(P::admitted).filter(|id| !pattern.admits(*id)));
    // The request was gone when its third ACK came: destroyed, or its listener had closed.
    if matches!(pattern, P::AckReset | P::DataReset) || unseen.is_some() {
        verdicts.push(VerdictId::LaterResetNoSocket);
    }
    // A socket that stood idle for long can have gone with its host; nothing shows how.
    if pattern == P::DataReset && idle_before_data(evidence) {
        return (Vec::new(), vec![Doubt::Idle]);
    }
    (typical_first(pattern, verdicts), doubts)
}

/// Each once: the one that a pattern is named by, then what is about a third ACK, which more tell of than of Fast
/// Open.
fn typical_first(
    pattern: WirePattern,
    verdicts: impl IntoIterator<Item = VerdictId>,
) -> Vec<VerdictId> {
    let mut verdicts: Vec<VerdictId> = verdicts.into_iter().collect();
    verdicts.sort_by_key(|id| (id.as_str() != pattern.text(), !id.is_ack(), *id));
    verdicts.dedup();
    verdicts
}

/// Whether an answer may still have been under way when the capture ended, or the connection was
/// let go. The kernel answers at once, clients after a way that only their next segment shows.
fn ended_too_soon(evidence: &WireEvidence, with: Circumstances) -> bool {
    let flow = &evidence.flow;
    let answer_ns = with.lag_ns.saturating_add(ANSWER_NS);
    let (asked, again) = match evidence.pattern {
        WirePattern::SynUnanswered => (flow.syns.first(), flow.syns.len() > 1),
        WirePattern::SynAckOnly => {
            (flow.synacks.first(), flow.synacks.len() > 1 || flow.client_reset.is_some())
        }
        WirePattern::AckSilent
        | WirePattern::AckSilentShort
        | WirePattern::AckUnanswered
        | WirePattern::AckThenClientReset => (flow.acks.last().map(|ack| &ack.t_ns), false),
        WirePattern::NoSyn
        | WirePattern::StrayReset
        | WirePattern::SynRefused
        | WirePattern::AckReset
        | WirePattern::AckResent
        | WirePattern::DataReset
        | WirePattern::Accepted => return false,
    };
    !again && asked.is_some_and(|t| t.saturating_add(answer_ns) > with.until)
}

/// Within what time whoever answers has answered, nanoseconds, but for the way.
const ANSWER_NS: u64 = 500_000_000;

/// Whether a SYN-ACK left after the first third ACK had come.
fn resent(flow: &Flow, jitter_ns: u64) -> bool {
    let after = flow.acks.first().map(|third| third.t_ns.saturating_add(jitter_ns));
    after.is_some_and(|after| flow.synacks.iter().any(|t| *t > after))
}

/// Whether the first data came so long after the third ACK that a socket may have come and gone
/// between them, unseen: longer than a request lives, 63 s with `tcp_synack_retries` at 5.
fn idle_before_data(evidence: &WireEvidence) -> bool {
    const LIFE_NS: u64 = 63_000_000_000;
    let third = evidence.flow.acks.first().map_or(0, |ack| ack.t_ns);
    evidence.flow.sent.is_some_and(|t| t > third.saturating_add(LIFE_NS))
}

fn phantom(evidence: &WireEvidence, recovered: bool) -> Option<bool> {
    match evidence.pattern {
        WirePattern::AckResent
        | WirePattern::AckSilent
        | WirePattern::AckSilentShort
        | WirePattern::DataReset => Some(true),
        WirePattern::Accepted => Some(recovered),
        WirePattern::AckUnanswered | WirePattern::AckThenClientReset => None,
        WirePattern::NoSyn
        | WirePattern::StrayReset
        | WirePattern::SynUnanswered
        | WirePattern::SynRefused
        | WirePattern::SynAckOnly
        | WirePattern::AckReset => Some(false),
    }
}

fn resets(evidence: &WireEvidence) -> Vec<Rst> {
    let flow = &evidence.flow;
    let of = |t: &u64, kind| Rst { t_ns: *t, kind };
    let mut all: Vec<Rst> = flow.refusals.iter().map(|t| of(t, RstKind::RefusesSyn)).collect();
    all.extend(flow.active_resets.iter().map(|t| of(t, RstKind::Closes)));
    all.extend(flow.client_reset.iter().map(|t| of(t, RstKind::Client)));
    for (at, reset) in flow.resets.iter().enumerate() {
        let data = flow.acks[..reset.acks_before].iter().any(|ack| ack.payload_len > 0);
        let ack = at == 0 && evidence.pattern == WirePattern::AckReset;
        let kind = if data && !ack { RstKind::RefusesData } else { RstKind::RefusesAck };
        // The lag is an estimate: no answer comes before what it answers.
        let cause = reset.acks_before.checked_sub(1).map_or(0, |at| flow.acks[at].t_ns);
        all.push(of(&reset.t_ns.max(cause), kind));
    }
    all.sort_by_key(|reset| reset.t_ns);
    all
}
