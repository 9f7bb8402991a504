//! The verdict catalog: one row per verdict, with everything that other code has to know of it.
//!
//! The ids are a contract with everybody who parses our output: an id is never reused and never
//! changes its meaning; new kernel paths get new ids. What the columns mean is in
//! [`super::columns`]; which kernel path is which verdict is judged in [`super::rules`]; how rows
//! become an enum and a table is in [`super::table`].

use super::{
    Counter, WirePattern,
    columns::{Class, ClientSide, DecidedBy, Ends, Row, ServerSide, Shown, Text},
    counter::{always, maybe},
    table::{optional, verdicts},
};
use crate::{hook_point::HookPoint, text::style::Tone};

verdicts! {
    /// The SYN became a request in the SYN queue.
    SynQueued = "syn.queued" {
        label: "a request in the SYN queue", "request 进入半连接队列",
        class: SynAnswered, shown: By(Syn),
        tone: Plain, abnormal: false, came_through: false,
        decided_by: SynQueueRoom, listen_overflow: false,
        wire: [SynAckOnly],
        // Fast Open that its queue or its cookie refuses goes on as an ordinary SYN
        // (tcp_try_fastopen in net/ipv4/tcp_fastopen.c).
        counters: [maybe FastOpenListenOverflow, maybe FastOpenPassiveFail],
        server: Request, client: Unknown, ends: Nothing,
        after: [],
    }

    /// SYN queue full: answered by a SYN cookie, no request kept.
    SynCookie = "syn.cookie" {
        label: "answered by a SYN cookie, no request kept", "以 SYN cookie 应答，不保存 request",
        class: SynAnswered, shown: By(Syn),
        tone: Bad, abnormal: true, came_through: false,
        decided_by: SynQueueFull, listen_overflow: false,
        wire: [SynAckOnly],
        counters: [always SyncookiesSent, always ReqQFullDoCookies],
        server: Nothing, client: Unknown, ends: Nothing,
        after: [],
    }

    /// Fast Open: the child was made at the SYN and is in the accept queue.
    SynFastopen = "syn.fastopen" {
        label: "Fast Open: the child is in the accept queue", "Fast Open：子套接字已在全连接队列",
        class: SynAnswered, shown: By(Syn),
        tone: Good, abnormal: false, came_through: true,
        decided_by: AcceptQueue, listen_overflow: false,
        wire: [AckUnanswered, Accepted],
        counters: [always PassiveOpens, always FastOpenPassive],
        server: Child, client: Connected, ends: Nothing,
        after: [],
    }

    /// Fast Open: too many children wait for their third ACK already, so the SYN's data is left aside
    /// and an ordinary handshake begins.
    SynFastopenQueueFull = "syn.fastopen_queue_full" {
        label: "the Fast Open queue is full, an ordinary handshake begins",
            "Fast Open 队列已满，改为普通握手",
        class: SynAnswered, shown: By(Syn),
        tone: Bad, abnormal: true, came_through: false,
        decided_by: AcceptQueue, listen_overflow: false,
        wire: [SynAckOnly],
        // How the SYN is answered instead is a stage of its own, whose row has the counters.
        counters: [],
        server: Unknown, client: Unknown, ends: Nothing,
        after: [],
    }

    /// SYN dropped because the accept queue was already full.
    SynDropAcceptQueueFull = "syn.drop.accept_queue_full" {
        label: "SYN dropped, the accept queue is full", "丢弃 SYN：全连接队列已满",
        class: SynDropped, shown: By(Syn),
        tone: Bad, abnormal: true, came_through: false,
        decided_by: AcceptQueue, listen_overflow: false,
        wire: [SynUnanswered],
        // tcp_conn_request counts TCPReqQFullDoCookies before it tests the accept queue, so a SYN
        // that found both queues full counts as a cookie that was never sent.
        counters: [always ListenOverflows, always ListenDrops, maybe ReqQFullDoCookies],
        server: Nothing, client: Connecting, ends: Nothing,
        after: [],
    }

    /// SYN dropped because the SYN queue was full and cookies are off.
    SynDropSynQueueFull = "syn.drop.syn_queue_full" {
        label: "SYN dropped, the SYN queue is full", "丢弃 SYN：半连接队列已满",
        class: SynDropped, shown: By(Syn),
        tone: Bad, abnormal: true, came_through: false,
        decided_by: SynQueueFull, listen_overflow: false,
        wire: [SynUnanswered],
        counters: [always ReqQFullDrop, always ListenDrops],
        server: Nothing, client: Connecting, ends: Nothing,
        after: [],
    }

    /// SYN dropped for another reason.
    SynDropOther = "syn.drop.other" {
        label: "SYN dropped for another reason", "因其他原因丢弃 SYN",
        class: SynDropped, shown: By(Syn),
        tone: Bad, abnormal: true, came_through: false,
        decided_by: AcceptQueue, listen_overflow: false,
        wire: [SynUnanswered],
        // tcp_v6_conn_request drops some SYNs without counting them. Fast Open is tried before the
        // child is put into the accept queue, which may refuse it.
        counters: [
            maybe ListenDrops, maybe ReqQFullDoCookies, maybe FastOpenListenOverflow,
            maybe FastOpenPassive, maybe FastOpenPassiveFail
        ],
        server: Nothing, client: Connecting, ends: Nothing,
        after: [],
    }

    /// Third ACK matched its request; the child entered the accept queue.
    AckAccepted = "ack.accepted" {
        label: "the child is in the accept queue", "子套接字进入全连接队列",
        class: AckAccepted, shown: By(ThirdAck),
        tone: Good, abnormal: false, came_through: true,
        decided_by: AcceptQueue, listen_overflow: false,
        wire: [AckUnanswered, AckThenClientReset, Accepted],
        counters: [always PassiveOpens],
        server: Child, client: Connected, ends: Nothing,
        after: [SynQueued],
    }

    /// Third ACK carried a valid cookie; the child entered the accept queue.
    AckAcceptedCookie = "ack.accepted.cookie" {
        label: "the cookie's child is in the accept queue", "由 cookie 创建的子套接字进入全连接队列",
        class: AckAccepted, shown: By(ThirdAck),
        tone: Good, abnormal: false, came_through: true,
        decided_by: AcceptQueue, listen_overflow: false,
        wire: [AckUnanswered, AckThenClientReset, Accepted],
        counters: [always PassiveOpens, always SyncookiesRecv],
        server: Child, client: Connected, ends: Nothing,
        after: [SynCookie],
    }

    /// Accept queue full, `tcp_abort_on_overflow=0`: ACK dropped, request kept, SYN-ACK resent.
    AckDropOverflow = "ack.drop.overflow" {
        label: "ACK dropped, request kept", "丢弃 ACK，保留 request",
        class: AckDropped, shown: By(ThirdAck),
        tone: Bad, abnormal: true, came_through: false,
        decided_by: AcceptQueue, listen_overflow: true,
        wire: [AckResent, AckSilentShort, AckUnanswered, AckThenClientReset, DataReset],
        counters: [always ListenOverflows, always ListenDrops],
        server: Request, client: Connected, ends: Nothing,
        after: [SynQueued],
    }

    /// Accept queue full, `tcp_abort_on_overflow=1`: answered by RST, request removed.
    AckResetOverflow = "ack.reset.overflow" {
        label: "answered by RST, request removed", "以 RST 应答，删除 request",
        class: AckReset, shown: By(ThirdAck),
        tone: Warn, abnormal: true, came_through: false,
        decided_by: AcceptQueue, listen_overflow: true,
        wire: [AckReset, DataReset],
        counters: [
            always ListenOverflows, always ListenDrops, always EmbryonicRsts, always OutRsts
        ],
        server: Nothing, client: Reset, ends: Nothing,
        after: [SynQueued],
    }

    /// Accept queue full in the cookie path: dropped silently, the sysctl is never read.
    AckDropOverflowCookie = "ack.drop.overflow.cookie" {
        label: "ACK dropped silently, nothing kept", "静默丢弃 ACK，什么都不保留",
        class: AckDropped, shown: By(ThirdAck),
        tone: Bad, abnormal: true, came_through: false,
        decided_by: AcceptQueue, listen_overflow: false,
        wire: [AckSilent, AckSilentShort, AckUnanswered, AckThenClientReset, DataReset],
        counters: [always ListenOverflows, always ListenDrops, always SyncookiesRecv],
        server: Nothing, client: Connected, ends: Nothing,
        after: [SynCookie],
    }

    /// Bare third ACK ignored because of `TCP_DEFER_ACCEPT`.
    AckDropDeferAccept = "ack.drop.defer_accept" {
        label: "bare ACK ignored, waiting for data", "忽略不带数据的 ACK，等待数据",
        class: AckDropped, shown: By(ThirdAck),
        tone: Bad, abnormal: false, came_through: false,
        decided_by: AcceptQueue, listen_overflow: false,
        wire: [AckResent, AckSilentShort, AckUnanswered, AckThenClientReset, DataReset],
        counters: [always DeferAcceptDrop],
        server: Request, client: Connected, ends: Nothing,
        after: [SynQueued],
    }

    /// Child socket not created although the queue had room, `tcp_abort_on_overflow=0`.
    AckDropChildFailed = "ack.drop.child_failed" {
        label: "ACK dropped, its child could not be made", "丢弃 ACK：没能创建子套接字",
        class: AckDropped, shown: By(ThirdAck),
        tone: Bad, abnormal: true, came_through: false,
        decided_by: AcceptQueue, listen_overflow: true,
        wire: [AckResent, AckSilent, AckSilentShort, AckUnanswered, AckThenClientReset, DataReset],
        // tcp_create_openreq_child counts PassiveOpens before a later step may fail.
        counters: [always ListenDrops, maybe PassiveOpens, maybe SyncookiesRecv],
        server: RequestOrNothing, client: Connected, ends: Nothing,
        after: [],
    }

    /// Child socket not created although the queue had room, `tcp_abort_on_overflow=1`.
    AckResetChildFailed = "ack.reset.child_failed" {
        label: "answered by RST, its child could not be made", "以 RST 应答：没能创建子套接字",
        class: AckReset, shown: By(ThirdAck),
        tone: Warn, abnormal: true, came_through: false,
        decided_by: AcceptQueue, listen_overflow: true,
        // A RST without a route is counted as sent, and never seen.
        wire: [AckReset, AckSilent, AckSilentShort, AckUnanswered, DataReset],
        // Without a route, IPv4 counts the RST (ip_send_unicast_reply), IPv6 does not
        // (tcp_v6_send_response).
        counters: [always ListenDrops, maybe PassiveOpens, always EmbryonicRsts, maybe OutRsts],
        // Where a child had no route back, its RST may have none either.
        server: Nothing, client: Unknown, ends: Nothing,
        after: [],
    }

    /// Third ACK of a request with a timestamp from the past (PAWS) or one never sent: dropped.
    AckDropPaws = "ack.drop.paws" {
        label: "ACK dropped, its timestamp is too old", "丢弃 ACK：时间戳太旧",
        class: AckDropped, shown: By(ThirdAck),
        tone: Bad, abnormal: true, came_through: false,
        decided_by: AcceptQueue, listen_overflow: false,
        wire: [AckResent, AckSilentShort, AckUnanswered, AckThenClientReset],
        counters: [],
        // The request waits for a better segment.
        server: Request, client: Unknown, ends: Nothing,
        after: [],
    }

    /// Third ACK of a request with a sequence number outside of the window: dropped.
    AckDropOutOfWindow = "ack.drop.out_of_window" {
        label: "ACK dropped, it is outside of the window", "丢弃 ACK：序列号不在窗口内",
        class: AckDropped, shown: By(ThirdAck),
        tone: Bad, abnormal: true, came_through: false,
        decided_by: AcceptQueue, listen_overflow: false,
        wire: [AckResent, AckSilentShort, AckUnanswered, AckThenClientReset],
        counters: [],
        server: Request, client: Unknown, ends: Nothing,
        after: [],
    }

    /// Its child was made, but another CPU's copy of the ACK, or the listener's close, came first.
    AckDropLostRace = "ack.drop.lost_race" {
        label: "ACK dropped, another came first", "丢弃 ACK：被抢先",
        class: AckDropped, shown: By(ThirdAck),
        tone: Bad, abnormal: true, came_through: false,
        decided_by: AcceptQueue, listen_overflow: false,
        wire: [AckResent, AckSilent, AckSilentShort, AckUnanswered, AckThenClientReset],
        counters: [maybe PassiveOpens, maybe SyncookiesRecv],
        server: Unknown, client: Unknown, ends: Nothing,
        after: [],
    }

    /// Third ACK dropped for another reason.
    AckDropOther = "ack.drop.other" {
        label: "ACK dropped for another reason", "因其他原因丢弃 ACK",
        class: AckDropped, shown: By(ThirdAck),
        tone: Bad, abnormal: true, came_through: false,
        decided_by: AcceptQueue, listen_overflow: false,
        wire: [AckResent, AckSilent, AckSilentShort, AckUnanswered, AckThenClientReset, DataReset],
        counters: [
            maybe ListenDrops, maybe ListenOverflows, maybe SyncookiesRecv, maybe PassiveOpens
        ],
        server: RequestOrNothing, client: Connected, ends: Nothing,
        after: [],
    }

    /// Third ACK of a request that acknowledges something else: answered by RST, request kept.
    AckResetBadAck = "ack.reset.bad_ack" {
        label: "answered by RST, it acknowledges something else", "以 RST 应答：确认号不对",
        class: AckReset, shown: By(ThirdAck),
        tone: Warn, abnormal: true, came_through: false,
        decided_by: AcceptQueue, listen_overflow: false,
        wire: [AckReset],
        // The segment goes through the listener's cookie check first, where there was a cookie of
        // late, and fails it.
        counters: [always OutRsts, maybe SyncookiesFailed],
        server: Request, client: Unknown, ends: Nothing,
        after: [],
    }

    /// A SYN inside the window of a request: answered by RST, request removed.
    AckResetBadSyn = "ack.reset.bad_syn" {
        label: "answered by RST, a SYN inside the window", "以 RST 应答：窗口内出现 SYN",
        class: AckReset, shown: By(ThirdAck),
        tone: Warn, abnormal: true, came_through: false,
        decided_by: AcceptQueue, listen_overflow: false,
        wire: [AckReset],
        counters: [always OutRsts, maybe EmbryonicRsts],
        server: Nothing, client: Reset, ends: Nothing,
        after: [],
    }

    /// ACK without a request and without a valid cookie: answered by RST.
    AckResetInvalidCookie = "ack.reset.invalid_cookie" {
        label: "answered by RST, no request and no valid cookie",
            "以 RST 应答：既无 request 又无有效 cookie",
        class: AckReset, shown: By(ThirdAck),
        tone: Warn, abnormal: true, came_through: false,
        decided_by: AcceptQueue, listen_overflow: false,
        wire: [AckReset, DataReset],
        // Nothing counts the failure if no cookie was sent of late, or the timestamp is no good.
        counters: [always OutRsts, maybe SyncookiesFailed, maybe SyncookiesRecv],
        server: Nothing, client: Reset, ends: Nothing,
        after: [],
    }

    /// Third ACK answered by RST for another reason.
    AckResetOther = "ack.reset.other" {
        label: "answered by RST for another reason", "因其他原因以 RST 应答",
        class: AckReset, shown: By(ThirdAck),
        tone: Warn, abnormal: true, came_through: false,
        decided_by: AcceptQueue, listen_overflow: false,
        wire: [AckReset, AckSilent, AckSilentShort, AckUnanswered, DataReset],
        // By tracepoints alone a child that could not be made is no other.
        counters: [
            maybe ListenDrops, maybe PassiveOpens, maybe OutRsts, maybe EmbryonicRsts,
            maybe SyncookiesFailed, maybe SyncookiesRecv
        ],
        server: Nothing, client: Unknown, ends: Nothing,
        after: [],
    }

    /// The application called `accept()` on it.
    LaterAcceptedByApp = "later.accepted_by_app" {
        label: "the application accepted it", "应用 accept 了它",
        class: Later, shown: By(Accept),
        tone: Plain, abnormal: false, came_through: true,
        decided_by: AcceptQueue, listen_overflow: false,
        wire: [],
        counters: [],
        server: Unknown, client: Unknown, ends: Nothing, after: [],
    }

    /// A slot became free before the retries ran out.
    LaterRecovered = "later.recovered" {
        label: "a slot became free in time", "及时腾出了位置",
        class: Later, shown: History,
        tone: Good, abnormal: true, came_through: true,
        decided_by: AcceptQueue, listen_overflow: false,
        wire: [],
        counters: [],
        server: Unknown, client: Unknown, ends: Nothing, after: [],
    }

    /// A slot became free, but the ACK that completed the handshake closed the connection as well.
    LaterRecoveredTooLate = "later.recovered_too_late" {
        label: "a slot became free, the client had closed by then", "腾出位置时客户端已关闭连接",
        class: Later, shown: History,
        tone: Bad, abnormal: true, came_through: false,
        decided_by: AcceptQueue, listen_overflow: false,
        wire: [],
        counters: [],
        server: Unknown, client: Unknown, ends: Nothing, after: [],
    }

    /// The request ran out of SYN-ACK retransmissions.
    LaterRequestExpired = "later.request_expired" {
        label: "the request ran out of SYN-ACK retransmissions", "request 的 SYN-ACK 重传次数用尽",
        class: Later, shown: By(RequestRemoved),
        tone: Bad, abnormal: true, came_through: false,
        decided_by: AcceptQueue, listen_overflow: false,
        wire: [],
        counters: [],
        server: Nothing, client: Unknown, ends: RequestTimer, after: [],
    }

    /// The listener went away, and the request was dropped without a word to its client.
    LaterRequestOrphaned = "later.request_orphaned" {
        label: "the request died with its listener", "request 随监听套接字一起消失",
        class: Later, shown: By(RequestRemoved),
        tone: Bad, abnormal: true, came_through: false,
        decided_by: AcceptQueue, listen_overflow: false,
        wire: [],
        counters: [],
        server: Nothing, client: Unknown, ends: RequestTimer, after: [],
    }

    /// The client's own RST removed the request.
    LaterResetByClient = "later.reset_by_client" {
        label: "the client's RST ended the request", "客户端的 RST 删除了 request",
        class: Later, shown: By(ThirdAck),
        tone: Bad, abnormal: true, came_through: false,
        decided_by: AcceptQueue, listen_overflow: false,
        wire: [],
        counters: [maybe EmbryonicRsts],
        server: Nothing, client: Unknown, ends: RequestByClient, after: [],
    }

    /// An ICMP error about its SYN-ACK removed the request.
    LaterRequestIcmpError = "later.request_icmp_error" {
        label: "an ICMP error ended the request", "ICMP 差错删除了 request",
        class: Later, shown: By(RequestRemoved),
        tone: Bad, abnormal: true, came_through: false,
        decided_by: AcceptQueue, listen_overflow: false,
        wire: [],
        // tcp_req_err ends with tcp_listendrop.
        counters: [always ListenDrops],
        server: Nothing, client: Unknown, ends: RequestUnseen, after: [],
    }

    /// The request was destroyed from outside (`SOCK_DESTROY`, `ss -K`).
    LaterRequestDestroyed = "later.request_destroyed" {
        label: "somebody destroyed the request (ss -K)", "有人销毁了 request（ss -K）",
        class: Later, shown: By(RequestRemoved),
        tone: Bad, abnormal: true, came_through: false,
        decided_by: AcceptQueue, listen_overflow: false,
        wire: [],
        counters: [],
        server: Nothing, client: Unknown, ends: RequestUnseen, after: [],
    }

    /// The listener went away, and the request was taken over by another of its `SO_REUSEPORT`
    /// group.
    LaterMigrated = "later.migrated" {
        label: "the request went to another listener", "request 由另一个监听套接字接手",
        class: Later, shown: By(ThirdAck),
        tone: Bad, abnormal: true, came_through: false,
        decided_by: AcceptQueue, listen_overflow: false,
        wire: [],
        counters: [],
        server: Unknown, client: Unknown, ends: Nothing, after: [],
    }

    /// The client's RST ended the child in the accept queue, where it stays until `accept()`.
    LaterResetInQueue = "later.reset_in_queue" {
        label: "reset by the client before it was accepted", "尚未被 accept 就被客户端重置",
        class: Later, shown: By(PeerReset),
        tone: Bad, abnormal: true, came_through: false,
        decided_by: AcceptQueue, listen_overflow: false,
        wire: [],
        counters: [],
        server: Nothing, client: Unknown, ends: ChildByClient, after: [],
    }

    /// The kernel reset the child in the accept queue while its listener was open (`SOCK_DESTROY`,
    /// or its keepalive ran out).
    LaterResetByServer = "later.reset_by_server" {
        label: "reset by the server's kernel before it was accepted",
            "尚未被 accept 就被服务器内核重置",
        class: Later, shown: By(ListenerClose),
        tone: Bad, abnormal: true, came_through: false,
        decided_by: AcceptQueue, listen_overflow: false,
        wire: [],
        counters: [always OutRsts],
        server: Nothing, client: Unknown, ends: ByServerReset, after: [],
    }

    /// The client's data met no socket and was answered by RST.
    LaterResetNoSocket = "later.reset_no_socket" {
        label: "the client's data met no socket and was reset", "客户端的数据找不到套接字，被 RST 应答",
        class: Later, shown: By(Reset),
        tone: Bad, abnormal: true, came_through: false,
        decided_by: AcceptQueue, listen_overflow: false,
        wire: [],
        // Tracepoints do not show whether an inexact RST before it ended the request.
        counters: [always OutRsts, maybe SyncookiesFailed, maybe EmbryonicRsts],
        server: Nothing, client: Unknown, ends: ByServerReset, after: [],
    }

    /// The listener was closed with the connection unaccepted (`tcp_send_active_reset`).
    LaterListenerClosed = "later.listener_closed" {
        label: "never accepted, reset when the listener closed",
            "从未被 accept，监听套接字关闭时被重置",
        class: Later, shown: By(ListenerClose),
        tone: Bad, abnormal: true, came_through: false,
        decided_by: AcceptQueue, listen_overflow: false,
        wire: [],
        counters: [always OutRsts],
        server: Nothing, client: Unknown, ends: ByServerReset, after: [],
    }

    /// The client believes it is connected; the server has nothing.
    LaterPhantom = "later.phantom" {
        label: "the client believes it is connected, the server has nothing",
            "客户端以为已连接，服务器什么都没有",
        class: Later, shown: Silence,
        tone: Bad, abnormal: true, came_through: false,
        decided_by: AcceptQueue, listen_overflow: false,
        wire: [],
        counters: [],
        server: Unknown, client: Unknown, ends: Nothing, after: [],
    }

    /// The observation ended while the kernel was still retrying.
    LaterPending = "later.pending" {
        label: "still being retried when the listener closed", "监听套接字关闭时仍在重试",
        class: Later, shown: Silence,
        tone: Bad, abnormal: true, came_through: false,
        decided_by: AcceptQueue, listen_overflow: false,
        wire: [],
        counters: [],
        server: Unknown, client: Unknown, ends: Nothing, after: [],
    }
}

#[cfg(test)]
mod tests;
