//! A history -> a connection: its stages in order, and what became of it.

use overflow_common::{Kind, Path, Rung};

use super::{
    Class, Connection, Known, Stage, Values, VerdictId,
    paths::CallPath,
    rules::{self, Context},
};
use crate::{
    decode::{ConnKey, Event},
    packet::flags::{FIN, RST},
    syn_limit::SynQueueLimit,
    tcp_state::TcpState,
};

/// A listener's state.
const TCP_LISTEN: u8 = TcpState::Listen.number();
/// The state of a child whose client has sent FIN.
const CLOSE_WAIT: u8 = TcpState::CloseWait.number();
/// And of one whose client has sent RST.
const TCP_CLOSE: u8 = TcpState::Close.number();

/// Judges one connection. `history` is in order of time.
pub fn judge(key: ConnKey, history: &[Event], limit: Option<SynQueueLimit>) -> Connection {
    let mut connection = Connection::default();
    judge_into(&mut connection, key, history, limit);
    connection
}

/// The same, in the place of an earlier judgement, whose memory is used again.
pub(crate) fn judge_into<'a>(
    connection: &mut Connection,
    key: ConnKey,
    history: impl IntoIterator<Item = &'a Event>,
    limit: Option<SynQueueLimit>,
) {
    connection.client = key.client;
    connection.server = key.server;
    connection.stages.clear();
    connection.synack_retransmits_ns.clear();
    let mut request = Request::default();
    let mut client = Client::default();
    let mut syn: Option<&Event> = None;
    let mut unanswered: Option<&Event> = None;
    let mut isn: Option<u32> = None;
    for event in history {
        let last = connection.last_handshake().map(|stage| stage.id);
        let accepted = has(connection, VerdictId::LaterAcceptedByApp);
        // By tracepoints a SYN that its connection's request refuses is one too.
        if event.kind == Kind::Syn && !event.path.has(Path::TP_KFREE_SKB) {
            syn = Some(event);
            isn = event.segment.map(|segment| segment.seq);
        }
        client.sends(event, last, isn);
        match event.kind {
            Kind::SynAckRetransmit => {
                connection.synack_retransmits_ns.push(event.t_ns);
                if let Some(syn) = unanswered.take() {
                    let why = "its SYN-ACK was sent again; the first was not seen to leave";
                    let queued = (VerdictId::SynQueued, rules::inferred(why), CallPath::SynQueued);
                    request = Request { from: connection.stages.len(), ..Request::default() };
                    push(&mut connection.stages, VerdictId::SynQueued, syn, || {
                        rules::stage(syn, queued)
                    });
                }
            }
            // Not removed: a clone of it stands in its place, and belongs to another listener.
            Kind::RequestRemoved if has_moved(event) => {
                push(&mut connection.stages, VerdictId::LaterMigrated, event, || Stage {
                    path: &["reqsk_timer_handler", "reuseport_migrate_sock"],
                    ..later(VerdictId::LaterMigrated, event)
                });
            }
            // The timer and the function it calls both report, but the function has other callers:
            // it alone says why only where the listener is gone.
            Kind::RequestRemoved => {
                request.removed = true;
                let says_why = event.path.has(Path::REQSK_TIMER) || orphans(event);
                request.ended = request.ended.or(says_why.then_some(event));
            }
            Kind::Syn
            | Kind::Ack
            | Kind::Reset
            | Kind::ActiveReset
            | Kind::Accept
            | Kind::IcmpError
            | Kind::Destroyed
            | Kind::PeerReset => {
                // A request leaves the table as its child is made, too: that it was removed says
                // nothing unless it is known why.
                let gone = request.ended.is_some()
                    || request.reset_unseen
                    || request.was_ended(connection);
                let child = has_child(connection);
                // What a RST that is not exact does to the request differs between kernels, and
                // no tracepoint shows.
                request.reset_unseen |= event.rung == Rung::Tracepoint && event.flags(RST, 0);
                let context = Context { syn_queue_limit: limit, last, isn, gone, child, accepted };
                let judged = rules::judged(event, context);
                if event.kind == Kind::Syn {
                    unanswered = judged.is_none().then_some(event);
                }
                if let Some(judged) = judged {
                    let (id, _, call_path) = judged;
                    if id.is_ack() && event.path.has(CHILD_TRIED) {
                        let seq = event.segment.map(|segment| segment.seq.wrapping_sub(1));
                        isn = isn.or(seq);
                    }
                    // It is there, so it is another than the one that ended before, or its clone.
                    let moved = migrated(syn, event);
                    if id == VerdictId::SynQueued
                        || (call_path == CallPath::Request && id != VerdictId::LaterResetByClient)
                    {
                        if !moved {
                            request.settle(connection);
                        }
                        request = Request { from: connection.stages.len(), ..Request::default() };
                    }
                    if moved && !has(connection, VerdictId::LaterMigrated) {
                        push(&mut connection.stages, VerdictId::LaterMigrated, event, || Stage {
                            path: &["reuseport_migrate_sock"],
                            ..later(VerdictId::LaterMigrated, event)
                        });
                    }
                    if let Some(id) = recovered(last, id, event) {
                        push(&mut connection.stages, id, event, || later(id, event));
                    }
                    if event.path.has(Path::FASTOPEN_FULL) && answers_without_child(id) {
                        let id = VerdictId::SynFastopenQueueFull;
                        push(&mut connection.stages, id, event, || Stage {
                            path: &["tcp_conn_request", "tcp_try_fastopen"],
                            known: rules::inferred(
                                "as many Fast Open children waited as the listener allows when the \
                                 SYN came with data, and no child was made of it",
                            ),
                            ..later(id, event)
                        });
                    }
                    let queue_wait_ns = (id == VerdictId::LaterAcceptedByApp)
                        .then(|| waited(connection, event.t_ns))
                        .flatten();
                    push(&mut connection.stages, id, event, || {
                        let mut stage = rules::stage(event, judged);
                        stage.values.queue_wait_ns = queue_wait_ns;
                        stage
                    });
                }
            }
        }
    }
    request.settle(connection);
    connection.outcome = outcome(connection, request.removed, client);
    connection.gave_up = client.gave_up;
}

/// One of these is set where a child was tried.
const CHILD_TRIED: u32 = Path::SYN_RECV_SOCK_NULL | Path::SYN_RECV_SOCK_CHILD;

/// What is known of the client beyond its handshake.
#[derive(Clone, Copy, Debug, Default)]
struct Client {
    /// After an ACK that found no room it sent FIN or RST: it no longer believes in the connection.
    gave_up: bool,
    /// It had closed, or reset, what the application accepted.
    closed_before_accept: bool,
}

impl Client {
    /// Takes note of what the client sent. `last` is the handshake's stage before, and `isn` the
    /// sequence number of its SYN.
    fn sends(&mut self, event: &Event, last: Option<VerdictId>, isn: Option<u32>) {
        match event.kind {
            Kind::Syn => *self = Self::default(),
            Kind::Ack | Kind::Reset => {
                let ends = event.flags(FIN, 0) || event.flags(RST, 0);
                self.gave_up |= (ends && rules::is_of(isn, event))
                    && (last.is_some_and(VerdictId::is_overflow_drop)
                        || event.path.has(Path::SYN_RECV_SOCK_NULL));
            }
            // What accept() hands out is ESTABLISHED, or with Fast Open SYN_RECV, unless its client
            // has sent FIN or RST meanwhile.
            Kind::Accept => {
                self.closed_before_accept |= matches!(event.sk_state, CLOSE_WAIT | TCP_CLOSE);
            }
            Kind::SynAckRetransmit
            | Kind::RequestRemoved
            | Kind::ActiveReset
            | Kind::IcmpError
            | Kind::Destroyed
            | Kind::PeerReset => {}
        }
    }
}

/// The request a connection has, or had last.
#[derive(Default)]
struct Request<'a> {
    /// How many stages the connection had when the first event of it came.
    from: usize,
    /// Whether it was removed.
    removed: bool,
    /// Whether a RST met it, and nothing shows what that did.
    reset_unseen: bool,
    /// The event that shows how it ended.
    ended: Option<&'a Event>,
}

impl Request<'_> {
    /// Whether a stage says of itself why it is gone.
    fn was_ended(&self, connection: &Connection) -> bool {
        let stages = connection.stages.iter().skip(self.from);
        stages.into_iter().any(|stage| stage.id.says_request_is_gone())
    }

    /// Adds the stage of its end to those of its connection, if none says it yet.
    fn settle(&self, connection: &mut Connection) {
        let Some(event) = self.ended else { return };
        let last = connection.last_handshake().map(|stage| stage.id);
        if !last.is_some_and(VerdictId::leaves_request) || self.was_ended(connection) {
            return;
        }
        let id = if orphans(event) {
            VerdictId::LaterRequestOrphaned
        } else {
            VerdictId::LaterRequestExpired
        };
        // The clone that takes a request's place with another listener shows by its SYN-ACK, and
        // while TCP_DEFER_ACCEPT waits for data none is sent.
        let may_have_moved =
            id == VerdictId::LaterRequestOrphaned && last == Some(VerdictId::AckDropDeferAccept);
        push(&mut connection.stages, id, event, || Stage {
            known: if may_have_moved {
                rules::inferred(
                    "its listener was closed; whether another of its group took it over does not \
                     show while TCP_DEFER_ACCEPT waits for data",
                )
            } else {
                Known::Traced
            },
            path: if event.path.has(Path::REQSK_TIMER) {
                &["reqsk_timer_handler"]
            } else {
                &["inet_csk_reqsk_queue_drop"]
            },
            ..later(id, event)
        });
        connection.stages.sort_by_key(|stage| stage.t_ns);
    }
}

/// Whether `reqsk_timer_handler` found the listener closed and another of its group in its place
/// (v5.14, `inet_reqsk_clone`): the request's clone takes its place in the table.
fn has_moved(event: &Event) -> bool {
    event.path.has(Path::REQSK_TIMER) && event.path.has(Path::REQSK_HASHED)
}

/// Whether a child came of the latest handshake.
fn has_child(connection: &Connection) -> bool {
    for id in connection.stages.iter().rev().map(|stage| stage.id) {
        if id.leaves_child() || id.is_of_child() {
            return true;
        }
        if id.is_syn() {
            return false;
        }
    }
    false
}

/// Whether a SYN was answered, and no child made.
fn answers_without_child(id: VerdictId) -> bool {
    id.class() == Class::SynAnswered && !id.leaves_child()
}

/// Whether a request was removed whose listener no longer listens.
fn orphans(event: &Event) -> bool {
    !matches!(event.sk_state, 0 | TCP_LISTEN)
}

fn has(connection: &Connection, id: VerdictId) -> bool {
    connection.stages.iter().any(|stage| stage.id == id)
}

/// Whether a third ACK was decided by another listener than the one that took its SYN.
fn migrated(syn: Option<&Event>, event: &Event) -> bool {
    let request = |m: &Event| m.path.has(Path::REQSK_HASHED | Path::TP_SYNACK_REQUEST);
    // A segment that met no request was decided by whoever listens now: nothing has moved.
    let met_request = if event.rung == Rung::Tracepoint {
        // Whose it was is mostly presumed there: from the port, which a SYN can be steered past.
        event.sk_state == TCP_LISTEN
            && (!event.path.has(Path::TP_SEND_RESET)
                || event.drop_reason.as_deref() == Some("TCP_LISTEN_OVERFLOW"))
    } else {
        event.path.has(Path::CHECK_REQ)
    };
    event.kind == Kind::Ack
        && met_request
        && event.sk != 0
        && syn.is_some_and(|syn| request(syn) && syn.sk != 0 && syn.sk != event.sk)
}

/// The same thing again is a repetition of the stage, not a new one.
fn push(stages: &mut Vec<Stage>, id: VerdictId, event: &Event, stage: impl FnOnce() -> Stage) {
    match stages.last_mut() {
        Some(last) if last.id == id => last.repeats_ns.push(event.t_ns),
        _ => stages.push(stage()),
    }
}

fn later(id: VerdictId, event: &Event) -> Stage {
    Stage {
        id,
        t_ns: event.t_ns,
        known: Known::Traced,
        path: &[],
        values: Values { num_timeout: event.num_timeout, ..Values::default() },
        repeats_ns: Vec::new(),
    }
}

/// How long the child was in the accept queue when it was taken from it.
fn waited(connection: &Connection, taken_ns: u64) -> Option<u64> {
    let child = connection.stages.iter().rev().find(|stage| stage.id.leaves_child())?;
    taken_ns.checked_sub(child.t_ns)
}

/// An ACK that is taken after an earlier one was dropped for want of room: in time, or too late for
/// a client that closes with it.
fn recovered(last: Option<VerdictId>, now: VerdictId, event: &Event) -> Option<VerdictId> {
    let taken = now.is_accepted() && last.is_some_and(VerdictId::is_overflow_drop);
    taken.then_some(if event.flags(FIN, 0) {
        VerdictId::LaterRecoveredTooLate
    } else {
        VerdictId::LaterRecovered
    })
}

/// What became of it: the last thing that happened to it, or, where nothing can happen any more,
/// what that means. Of a request that was `removed` nothing is pending, even if nobody saw why.
fn outcome(connection: &Connection, removed: bool, client: Client) -> Option<VerdictId> {
    let last = connection.stages.last()?.id;
    let late = has(connection, VerdictId::LaterRecoveredTooLate)
        || (client.closed_before_accept && has(connection, VerdictId::LaterRecovered));
    Some(match last {
        // Its client believes in nothing any more.
        id if id.class() == Class::AckDropped && !id.leaves_request() && client.gave_up => id,
        id if id.is_overflow_drop() && !id.leaves_request() => VerdictId::LaterPhantom,
        // Without a request nothing is left to retry.
        VerdictId::AckDropChildFailed | VerdictId::AckDropOther if by_cookie(connection) => {
            VerdictId::LaterPhantom
        }
        id if id.leaves_request() && !removed => VerdictId::LaterPending,
        id if late && (id.is_accepted() || id == VerdictId::LaterAcceptedByApp) => {
            VerdictId::LaterRecoveredTooLate
        }
        // The recovery comes just before the ACK that was taken.
        id if id.is_accepted() && has(connection, VerdictId::LaterRecovered) => {
            VerdictId::LaterRecovered
        }
        id if id.is_dropped_syn() => connection.handshake()?.id,
        id => id,
    })
}

fn by_cookie(connection: &Connection) -> bool {
    connection.stages.iter().rev().any(|stage| stage.id == VerdictId::SynCookie)
        && !connection.stages.iter().any(|stage| stage.id == VerdictId::SynQueued)
}

#[cfg(test)]
mod tests;
