//! The kernel functions behind each way a segment can go, by name.

use overflow_common::Path;

use super::Functions;
use crate::decode::Observed;

/// A way through the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
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
}

/// The functions gone through, outermost first. `tcp_get_cookie_sock` has no hook of its own: it
/// is the only caller of `tcp_v4_syn_recv_sock` inside `cookie_v4_check`.
pub fn functions(moment: &Observed, via: Via) -> Functions {
    let v6 = moment.conn.client.is_ipv6();
    let pick = |four: &'static str, six: &'static str| if v6 { six } else { four };
    let rcv = pick("tcp_v4_rcv", "tcp_v6_rcv");
    let child = pick("tcp_v4_syn_recv_sock", "tcp_v6_syn_recv_sock");
    let reset = pick("tcp_v4_send_reset", "tcp_v6_send_reset");
    let path = moment.path;
    let mut out = Functions::new();
    match via {
        Via::SynQueued => {
            out.extend([rcv, "tcp_conn_request", "inet_csk_reqsk_queue_hash_add"]);
        }
        Via::SynCookie => {
            let init = pick("cookie_v4_init_sequence", "cookie_v6_init_sequence");
            out.extend([rcv, "tcp_conn_request", init]);
        }
        Via::SynFastopen => {
            out.extend([rcv, "tcp_conn_request", "tcp_try_fastopen", child]);
        }
        Via::SynDropped => out.extend([rcv, "tcp_conn_request"]),
        Via::Request | Via::Cookie => {
            out.push(rcv);
            // A segment can meet its request first, and then, refused there, the cookie check.
            if via == Via::Request || path.has(Path::CHECK_REQ) {
                out.push("tcp_check_req");
            }
            if via == Via::Cookie {
                out.push(pick("cookie_v4_check", "cookie_v6_check"));
            }
            let traced = path.has(Path::CHECK_REQ | Path::COOKIE_CHECK);
            if path.has(Path::SYN_RECV_SOCK_NULL | Path::SYN_RECV_SOCK_CHILD) || !traced {
                if via == Via::Cookie {
                    out.push("tcp_get_cookie_sock");
                }
                out.push(child);
            }
            if path.has(Path::QUEUE_ADD) {
                out.push("inet_csk_reqsk_queue_add");
            }
        }
        Via::Listener => out.push(rcv),
        Via::Close => out.extend(["inet_csk_listen_stop", "tcp_send_active_reset"]),
        Via::Accept => out.push("inet_csk_accept"),
    }
    if via != Via::Close && path.has(Path::SEND_RESET | Path::TP_SEND_RESET) {
        out.push(reset);
    }
    out
}
