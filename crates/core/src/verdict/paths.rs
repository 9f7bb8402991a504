//! The kernel functions behind each way a segment can go, by name.

use overflow_common::Path;

use super::Functions;
use crate::decode::Event;

macro_rules! ways {
    ($($(#[doc = $doc:literal])+ $Way:ident,)+) => {
        /// A way through the kernel.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum CallPath { $($(#[doc = $doc])+ $Way,)+ }

        /// Every way, in the order in which a table is indexed by them.
        const CALL_PATHS: &[CallPath] = &[$(CallPath::$Way,)+];
    };
}

ways! {
    /// SYN to request.
    SynQueued,
    /// SYN to cookie.
    SynCookie,
    /// SYN to a Fast Open child.
    SynFastopen,
    /// SYN dropped.
    SynDropped,
    /// Third ACK to its request.
    Request,
    /// Third ACK to the cookie check.
    Cookie,
    /// A segment that met only the listener, or nobody.
    Listener,
    /// The listener's close.
    Close,
    /// The application's accept().
    Accept,
    /// A waiting child reset by its own kernel.
    Reset,
    /// A waiting child reset by its client.
    PeerReset,
    /// An ICMP error to a request.
    IcmpError,
    /// A request destroyed from outside.
    Destroyed,
}

/// What else decides which functions were gone through, a bit each.
const CHECK_REQ: usize = 1;
const CHILD: usize = 2;
const QUEUE_ADD: usize = 4;
const RESET: usize = 8;

/// The functions gone through, outermost first. `tcp_get_cookie_sock` has no hook of its own: it
/// is the only caller of `tcp_v4_syn_recv_sock` inside `cookie_v4_check`.
pub(super) fn functions(event: &Event, call_path: CallPath) -> Functions {
    let path = event.path;
    let traced = path.has(Path::CHECK_REQ | Path::COOKIE_CHECK);
    let tried = path.has(Path::SYN_RECV_SOCK_NULL | Path::SYN_RECV_SOCK_CHILD);
    let bit = |set: bool, bit: usize| if set { bit } else { 0 };
    let bits = bit(path.has(Path::CHECK_REQ), CHECK_REQ)
        | bit(tried || !traced, CHILD)
        | bit(path.has(Path::QUEUE_ADD), QUEUE_ADD)
        | bit(path.has(Path::SEND_RESET | Path::TP_SEND_RESET), RESET);
    let way = &WAYS[call_path as usize][usize::from(event.conn.client.is_ipv6())][bits];
    &way.names[..way.len]
}

/// Functions in order, made when this is compiled.
#[derive(Clone, Copy)]
struct Way {
    names: [&'static str; 7],
    len: usize,
}

static WAYS: [[[Way; 16]; 2]; CALL_PATHS.len()] = {
    let mut ways = [[[Way { names: [""; 7], len: 0 }; 16]; 2]; CALL_PATHS.len()];
    let mut call_path = 0;
    while call_path < CALL_PATHS.len() {
        assert!(CALL_PATHS[call_path] as usize == call_path);
        let mut bits = 0;
        while bits < 16 {
            ways[call_path][0][bits] = way(CALL_PATHS[call_path], false, bits);
            ways[call_path][1][bits] = way(CALL_PATHS[call_path], true, bits);
            bits += 1;
        }
        call_path += 1;
    }
    ways
};

const fn way(call_path: CallPath, v6: bool, bits: usize) -> Way {
    let way = Way { names: [""; 7], len: 0 };
    let rcv = if v6 { "tcp_v6_rcv" } else { "tcp_v4_rcv" };
    let err = if v6 { "tcp_v6_err" } else { "tcp_v4_err" };
    let child = if v6 { "tcp_v6_syn_recv_sock" } else { "tcp_v4_syn_recv_sock" };
    let init = if v6 { "cookie_v6_init_sequence" } else { "cookie_v4_init_sequence" };
    let check = if v6 { "cookie_v6_check" } else { "cookie_v4_check" };
    let reset = if v6 { "tcp_v6_send_reset" } else { "tcp_v4_send_reset" };
    let way = match call_path {
        CallPath::SynQueued => {
            way.and(rcv).and("tcp_conn_request").and("inet_csk_reqsk_queue_hash_add")
        }
        CallPath::SynCookie => way.and(rcv).and("tcp_conn_request").and(init),
        CallPath::SynFastopen => {
            way.and(rcv).and("tcp_conn_request").and("tcp_try_fastopen").and(child)
        }
        CallPath::SynDropped => way.and(rcv).and("tcp_conn_request"),
        CallPath::Request => way
            .and(rcv)
            .and("tcp_check_req")
            .and_if(bits & CHILD != 0, child)
            .and_if(bits & QUEUE_ADD != 0, "inet_csk_reqsk_queue_add"),
        // A segment can meet its request first, and then, refused there, the cookie check.
        CallPath::Cookie => way
            .and(rcv)
            .and_if(bits & CHECK_REQ != 0, "tcp_check_req")
            .and(check)
            .and_if(bits & CHILD != 0, "tcp_get_cookie_sock")
            .and_if(bits & CHILD != 0, child)
            .and_if(bits & QUEUE_ADD != 0, "inet_csk_reqsk_queue_add"),
        CallPath::Listener => way.and(rcv),
        CallPath::Close => return way.and("inet_csk_listen_stop").and("tcp_send_active_reset"),
        CallPath::Accept => way.and("inet_csk_accept"),
        // Both of its callers, tcp_abort and tcp_keepalive_timer, come to the same.
        CallPath::Reset => return way.and("tcp_send_active_reset"),
        CallPath::PeerReset => way.and(rcv).and("tcp_reset"),
        CallPath::IcmpError => way.and(err).and("tcp_req_err").and("inet_csk_reqsk_queue_drop"),
        CallPath::Destroyed => way.and("tcp_abort").and("inet_csk_reqsk_queue_drop"),
    };
    way.and_if(bits & RESET != 0, reset)
}

impl Way {
    const fn and(self, name: &'static str) -> Self {
        self.and_if(true, name)
    }

    const fn and_if(mut self, condition: bool, name: &'static str) -> Self {
        if condition {
            self.names[self.len] = name;
            self.len += 1;
        }
        self
    }
}
