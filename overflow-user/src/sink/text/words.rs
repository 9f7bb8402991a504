//! States, outcomes and times in the reader's words.

use crate::{verdict::VerdictId, witness::Judged};

use super::style::Tone;

/// The client's socket, as `ss` writes states; `reset` where a RST ended it.
pub(super) fn client(judged: &Judged) -> (String, Tone) {
    match &judged.client_view {
        Some((_, Some(error))) if error == "ECONNRESET" => ("reset".to_owned(), Tone::Warn),
        Some((_, Some(error))) if error == "ETIMEDOUT" => ("timeout".to_owned(), Tone::Warn),
        Some((_, Some(error))) => (error.clone(), Tone::Warn),
        Some((state, None)) => (ss_state(state), Tone::Plain),
        None => ("?".to_owned(), Tone::Dim),
    }
}

/// The server's socket.
pub(super) fn server(judged: &Judged) -> (String, Tone) {
    match &judged.server_view {
        Some(state) => (ss_state(state), Tone::Plain),
        None => ("nothing".to_owned(), Tone::Dim),
    }
}

/// How good a verdict is for the connection.
pub(super) fn tone(verdict: &str) -> Tone {
    if verdict.starts_with("ack.accepted") {
        Tone::Good
    } else if verdict.starts_with("ack.reset") {
        Tone::Warn
    } else {
        Tone::Bad
    }
}

/// What the kernel did at a stage, in words.
pub(in crate::sink) const fn effect(id: VerdictId) -> &'static str {
    match id {
        VerdictId::SynQueued => "a request in the SYN queue",
        VerdictId::SynCookie => "answered by a SYN cookie, no request kept",
        VerdictId::SynFastopen => "Fast Open: the child is in the accept queue",
        VerdictId::SynDropAcceptQueueFull => "SYN dropped, the accept queue is full",
        VerdictId::SynDropSynQueueFull => "SYN dropped, the SYN queue is full",
        VerdictId::SynDropOther => "SYN dropped for another reason",
        VerdictId::AckAccepted => "the child is in the accept queue",
        VerdictId::AckAcceptedCookie => "the cookie's child is in the accept queue",
        VerdictId::AckDropOverflow => "ACK dropped, request kept",
        VerdictId::AckResetOverflow => "answered by RST, request removed",
        VerdictId::AckDropOverflowCookie => "ACK dropped silently, nothing kept",
        VerdictId::AckDropDeferAccept => "bare ACK ignored, waiting for data",
        VerdictId::AckDropChildFailed => "ACK dropped, its child could not be made",
        VerdictId::AckResetChildFailed => "answered by RST, its child could not be made",
        VerdictId::AckDropPaws => "ACK dropped, its timestamp is too old",
        VerdictId::AckDropOutOfWindow => "ACK dropped, it is outside of the window",
        VerdictId::AckDropLostRace => "ACK dropped, another came first",
        VerdictId::AckDropOther => "ACK dropped for another reason",
        VerdictId::AckResetBadAck => "answered by RST, it acknowledges something else",
        VerdictId::AckResetBadSyn => "answered by RST, a SYN inside the window",
        VerdictId::AckResetInvalidCookie => "answered by RST, no request and no valid cookie",
        VerdictId::AckResetOther => "answered by RST for another reason",
        later => outcome(later),
    }
}

/// What becomes of a connection, in words; empty where the id of the handshake says it all.
pub(in crate::sink) const fn outcome(id: VerdictId) -> &'static str {
    match id {
        VerdictId::LaterAcceptedByApp => "the application accepted it",
        VerdictId::LaterRecovered => "a slot became free in time",
        VerdictId::LaterRequestExpired => "the request ran out of SYN-ACK retransmissions",
        VerdictId::LaterRequestOrphaned => "the request died with its listener",
        VerdictId::LaterResetByClient => "the client's RST ended the request",
        VerdictId::LaterRequestIcmpError => "an ICMP error ended the request",
        VerdictId::LaterRequestDestroyed => "somebody destroyed the request (ss -K)",
        VerdictId::LaterResetInQueue => "reset by the client before it was accepted",
        VerdictId::LaterResetByServer => "reset by the server's kernel before it was accepted",
        VerdictId::LaterMigrated => "the request went to another listener",
        VerdictId::LaterResetNoSocket => "the client's data met no socket and was reset",
        VerdictId::LaterListenerClosed => "never accepted, reset when the listener closed",
        VerdictId::LaterPhantom => "the client believes it is connected, the server has nothing",
        VerdictId::LaterPending => "still being retried when the listener closed",
        _ => "",
    }
}

/// A time after the connection's first stage: `+201 ms`, from a second on `+1.2 s`.
pub(super) fn since(t_ns: u64, t0_ns: u64) -> String {
    let ns = t_ns.saturating_sub(t0_ns);
    if ns < 1_000_000_000 {
        format!("+{} ms", (ns + 500_000) / 1_000_000)
    } else {
        let tenths = (ns + 50_000_000) / 100_000_000;
        format!("+{}.{} s", tenths / 10, tenths % 10)
    }
}

/// Several times, the later ones counted when there are many.
pub(super) fn times(times: &[u64], t0_ns: u64) -> String {
    const SHOWN: usize = 4;
    let mut text: Vec<String> = times.iter().take(SHOWN).map(|t| since(*t, t0_ns)).collect();
    if times.len() > SHOWN {
        text.push(format!("{} more", times.len() - SHOWN));
    }
    text.join(", ")
}

/// `n` things, with the plural's s.
pub(super) fn count(n: usize, thing: &str) -> String {
    format!("{n} {thing}{}", if n == 1 { "" } else { "s" })
}

fn ss_state(state: &str) -> String {
    match state {
        "ESTABLISHED" => "ESTAB".to_owned(),
        other => other.replace('_', "-"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        assert_eq!(since(1_201_400_000, 1_000_000_000), "+201 ms");
        assert_eq!(since(2_249_000_000, 1_000_000_000), "+1.2 s");
        assert_eq!(times(&[1, 2, 3, 4, 5, 6], 0), "+0 ms, +0 ms, +0 ms, +0 ms, 2 more");
    }
}
