//! What the wire alone says of each connection: a witness that knows nothing of the kernel.

use std::net::SocketAddr;

use super::flow::{Ack, Flow, Reset, flows};
use crate::{packet::Packet, verdict::WirePattern};

/// The first SYN-ACK timeout, `TCP_TIMEOUT_INIT` (1 s), doubled by `reqsk_timer_handler`.
const SYNACK_TIMEOUT_NS: u64 = 1_000_000_000;
/// Timer slack: 3.10 prunes every 200 ms, later kernels round to a jiffy.
const TIMER_SLACK_NS: u64 = 300_000_000;
/// How far a departure may seem to lie from its cause once a lag was taken off: a qdisc releases
/// late when its CPU is busy.
pub(super) const LAG_JITTER_NS: u64 = 20_000_000;

/// What the wire shows of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireEvidence {
    /// The segments it rests on.
    pub flow: Flow,
    /// What they amount to.
    pub pattern: WirePattern,
}

/// From where, and for how long, a flow was watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    /// Until when a request could have shown itself, nanoseconds.
    pub until: u64,
    /// Whether the listener closed then, which resets what waits to be accepted.
    pub closed: bool,
    /// Whether what the capture shows of the client surely reached the server's host.
    pub arrived: bool,
    /// How far a departure may seem to lie from its cause, nanoseconds.
    pub jitter_ns: u64,
}

impl WireEvidence {
    /// Of a flow whose departures have their times at the server.
    pub fn of(flow: Flow, watch: &Watch) -> Self {
        Self { pattern: pattern(&flow, watch), flow }
    }

    /// The SYNs that got no answer, nanoseconds.
    ///
    /// The kernel answers a SYN at once or never, and its timer waits a second before it repeats
    /// a SYN-ACK: a SYN was answered when a SYN-ACK left before the client sent the next SYN.
    pub fn dropped_syns(&self) -> Vec<u64> {
        self.flow.syns.iter().copied().filter(|t| !self.answered(*t)).collect()
    }

    /// The SYNs that were answered by a SYN-ACK, nanoseconds.
    pub fn answered_syns(&self) -> Vec<u64> {
        self.flow.syns.iter().copied().filter(|t| self.answered(*t)).collect()
    }

    /// The SYN-ACKs the kernel's timer sent, nanoseconds.
    pub fn resent_synacks(&self) -> Vec<u64> {
        let answers = self.answered_syns().len();
        self.flow.synacks.iter().copied().skip(answers).collect()
    }

    fn answered(&self, syn: u64) -> bool {
        let next = self.flow.syns.iter().find(|t| **t > syn);
        let until = next.copied().unwrap_or(u64::MAX).min(syn + SYNACK_TIMEOUT_NS / 2);
        let from = syn.saturating_sub(LAG_JITTER_NS);
        self.flow.synacks.iter().any(|t| (from..until).contains(t))
    }
}

/// What the packets show of each client's connection to `server`, in order of first packets.
///
/// `lag_ns` is how much later than TCP's sending a departing packet was captured: the delay of a
/// qdisc, which AF_PACKET sits behind, else 0. `close` is when the listener closed.
pub fn evidence(
    packets: &[Packet],
    server: SocketAddr,
    close: Option<u64>,
    lag_ns: u64,
) -> Vec<WireEvidence> {
    let last = packets.last().map_or(0, |p| p.t_ns);
    // Without a close the end of the capture stands for it: it was made to show what waits.
    let watch = Watch {
        until: close.unwrap_or(last),
        closed: true,
        arrived: true,
        jitter_ns: if lag_ns == 0 { 0 } else { LAG_JITTER_NS },
    };
    flows(packets, server, lag_ns)
        .into_iter()
        .map(|mut flow| {
            flow.end_at(close.unwrap_or(u64::MAX));
            WireEvidence::of(flow, &watch)
        })
        .collect()
}

/// Decides what a flow amounts to.
fn pattern(flow: &Flow, watch: &Watch) -> WirePattern {
    let jitter = watch.jitter_ns;
    if flow.syns.is_empty() {
        return if flow.resets.is_empty() { WirePattern::NoSyn } else { WirePattern::StrayReset };
    }
    let Some(last_synack) = flow.synacks.last() else {
        // A port that closed since refuses only a later one.
        let first = flow.syns[0].saturating_add(SYNACK_TIMEOUT_NS / 2);
        return if flow.refusals.first().is_some_and(|t| *t < first) {
            WirePattern::SynRefused
        } else {
            WirePattern::SynUnanswered
        };
    };
    // A child of Fast Open may be served before its client's ACK.
    if flow.served.is_some() || !flow.active_resets.is_empty() {
        return WirePattern::Accepted;
    }
    let Some(third) = flow.acks.first() else {
        return WirePattern::SynAckOnly;
    };
    if let Some(first) = flow.resets.first()
        && refuses_third_ack(flow, first, jitter)
    {
        return WirePattern::AckReset;
    }
    if *last_synack > third.t_ns + jitter {
        return WirePattern::AckResent;
    }
    if !flow.resets.is_empty() {
        return WirePattern::DataReset;
    }
    // A request's next SYN-ACK is due, at the latest, after one doubling per SYN-ACK sent.
    let mut timeout = SYNACK_TIMEOUT_NS << (flow.synacks.len() - 1).min(6);
    let mut due = last_synack + timeout;
    while due <= third.t_ns + jitter {
        timeout *= 2;
        due += timeout;
    }
    if flow.client_reset.is_some_and(|t| (third.t_ns..due).contains(&t)) {
        return WirePattern::AckThenClientReset;
    }
    if !watch.closed && !unanswered(flow, watch) {
        return WirePattern::AckUnanswered;
    }
    if due + TIMER_SLACK_NS < watch.until {
        WirePattern::AckSilent
    } else {
        WirePattern::AckSilentShort
    }
}

/// Whether a socket would have acknowledged what the client sent: at the latest after the delayed
/// ACK's longest timeout, `TCP_DELACK_MAX` (200 ms).
fn unanswered(flow: &Flow, watch: &Watch) -> bool {
    let sent = if watch.arrived { flow.sent } else { None };
    sent.is_some_and(|t| t + SYNACK_TIMEOUT_NS < watch.until)
}

/// Whether the first refusing RST refuses the third ACK rather than what followed it.
fn refuses_third_ack(flow: &Flow, first: &Reset, jitter: u64) -> bool {
    let Some(more) = flow.acks.iter().position(Ack::is_more) else {
        return refuses_ack_of_handshake(flow, first, jitter);
    };
    if more == 0 {
        return true;
    }
    if jitter == 0 {
        return first.acks_before <= more;
    }
    // Behind a qdisc the capture's order says nothing. Compare times; where ACK and data lie too
    // close for that, one RST more than there were data segments means the ACK was refused too.
    let segments = flow.acks.iter().filter(|a| a.is_more()).count();
    first.t_ns + jitter < flow.acks[more].t_ns || flow.resets.len() > segments
}

/// Whether the bare ACK that a RST refuses is the third one, or answers a SYN-ACK that was sent
/// again: a later one, as a keepalive sends, is no part of the handshake.
fn refuses_ack_of_handshake(flow: &Flow, reset: &Reset, jitter: u64) -> bool {
    let by = reset.t_ns + jitter;
    let refused = flow.acks.iter().rposition(|a| a.t_ns <= by).unwrap_or(0);
    let Some(before) = refused.checked_sub(1) else { return true };
    let (earlier, refused) = (flow.acks[before].t_ns, flow.acks[refused].t_ns);
    let since = earlier.saturating_sub(jitter)..=refused + jitter;
    refused < flow.acks[0].t_ns + SYNACK_TIMEOUT_NS / 2
        || flow.synacks[1..].iter().any(|t| since.contains(t))
}

#[cfg(test)]
mod tests {
    use super::{super::script, *};

    const CLOSE: u64 = 3_000_000_000;

    /// `script` is one connection as in [`script::packets`]; the listener closes at 3000 ms.
    fn check(lag_ms: u64, script: &str, expect: &str) {
        let packets = script::packets(30001, script);
        let evidence = evidence(&packets, script::SERVER, Some(CLOSE), lag_ms * 1_000_000);
        let texts: Vec<_> = evidence.iter().map(|e| e.pattern.text()).collect();
        assert_eq!(texts.join(" "), expect, "{script}");
    }

    #[test]
    fn each_pattern_without_lag() {
        check(0, "0>S 1000>S", "syn.drop");
        check(0, "0>S 0<RA", "syn.refused");
        check(0, "0>S 0<SA", "syn");
        check(0, "0<SA 200>A", "none");
        check(0, "200>A 200<R", "ack.reset");
        check(0, "0>S 0<SA 200>A 200<R", "ack.reset");
        check(0, "0>S 0<SA 200>A 1000<SA 1200>A", "ack.drop.overflow");
        check(0, "0>S 0<SA 200>A", "ack.drop.overflow.cookie");
        check(0, "0>S 0<SA 200>A 3000<RA", "ack.accepted");
        check(0, "0>S 0<SA 200>A 201>D 201<K", "ack.accepted");
    }

    #[test]
    fn a_late_answer_is_no_drop() {
        check(0, "0>S 1000>S 1000<SA 1200>A 3000<RA", "ack.accepted");
        check(0, "0>S 1000>S 1000<SA 1200>A 1200<R", "ack.reset");
    }

    #[test]
    fn silence_after_the_clients_own_rst_tells_nothing() {
        check(0, "0>S 0<SA 200>A 400>R", "ack");
        // The next SYN-ACK of a request was due before it.
        check(0, "0>S 0<SA 200>A 2400>R", "ack.drop.overflow.cookie");
        check(0, "0>S 0<SA 400>R", "syn");
    }

    #[test]
    fn a_recovered_connection_is_accepted() {
        check(0, "0>S 0<SA 200>A 1000<SA 1200>A 3000<RA", "ack.accepted");
    }

    #[test]
    fn data_of_a_cookie_connection_is_dropped_too() {
        check(0, "0>S 0<SA 200>A 200>D 500>D 900>D", "ack.drop.overflow.cookie");
    }

    #[test]
    fn a_rst_after_the_close_speaks_for_the_closed_port() {
        check(0, "0>S 0<SA 200>A 200>D 3100>D 3100<R", "ack.drop.overflow.cookie");
        check(0, "0>S 0<SA 200>A 1000<SA 1200>A 3100>D 3100<R", "ack.drop.overflow");
        check(0, "0>S 1000>S 3100>S 3100<RA", "syn.drop");
        check(200, "0>S 1000>S 3100>S 3300<RA", "syn.drop");
    }

    #[test]
    fn which_segment_a_rst_refuses() {
        check(0, "0>S 0<SA 200>A 200<R 201>D 201<R", "ack.reset");
        check(0, "0>S 0<SA 200>A 201>D 201<R", "ack");
        check(0, "0>S 0<SA 200>D 200<R", "ack.reset");
        // Behind a qdisc of 200 ms all departures are captured 200 ms late.
        check(200, "0>S 200<SA 200>A 201>D 400<R 401<R", "ack.reset");
        check(200, "0>S 200<SA 200>A 400<R", "ack.reset");
        check(200, "0>S 200<SA 200>A 900>D 1100<R", "ack");
    }

    #[test]
    fn a_synack_that_left_before_the_ack_arrived_is_not_resent() {
        // The timer fired at 1000, the ACK came at 1500, the capture saw both SYN-ACKs after it.
        check(1500, "0>S 1500<SA 1500>A 2500<SA 2500>A", "ack.drop");
        check(200, "0>S 200<SA 200>A 1200<SA 1200>A", "ack.drop.overflow");
        check(200, "0>S 200<SA 200>A 3200<RA", "ack.accepted");
    }

    #[test]
    fn silence_tells_nothing_before_the_timer() {
        check(0, "0>S 0<SA 2500>A", "ack.drop");
        check(0, "2000>S 2000<SA 2200>A", "ack.drop");
        check(0, "1000>S 1000<SA 1200>A", "ack.drop.overflow.cookie");
    }

    #[test]
    fn syns_are_answered_at_once_or_never() {
        let packets = script::packets(30001, "0>S 1000>S 3000>S 3000<SA 4000<SA");
        let evidence = &evidence(&packets, script::SERVER, None, 0)[0];
        let ms = |times: Vec<u64>| times.iter().map(|t| t / 1_000_000).collect::<Vec<_>>();
        assert_eq!(ms(evidence.dropped_syns()), [0, 1000]);
        assert_eq!(ms(evidence.answered_syns()), [3000]);
        assert_eq!(ms(evidence.resent_synacks()), [4000]);
    }
}
