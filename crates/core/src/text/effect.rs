//! What the kernel did, in a few words per verdict.

use crate::verdict::VerdictId;

/// What the kernel did at a stage, in words.
pub const fn effect(id: VerdictId) -> &'static str {
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
pub const fn outcome(id: VerdictId) -> &'static str {
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
