//! What both ends' sockets must look like for a verdict: `sock_diag` and the client's own view.

use crate::{ClientView, ServerSocket};
use overflow_core::verdict::VerdictId;

/// What the server's namespace holds for a client at the end of the hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Server {
    /// A child in the accept queue.
    Child,
    /// A request in the SYN queue; with `true` it may be gone, its retries used up or pruned.
    Request(bool),
    Nothing,
}

/// What the client has at the end of the hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Client {
    Connected,
    Reset,
    Connecting,
    /// The verdict says nothing on it: the SYN-ACK or RST may still be under way.
    Anything,
}

/// Checks one connection's sockets against the last handshake verdict before the end of the hold.
///
/// `settled` says that what the server last sent had reached the client by then; otherwise the
/// client's view proves nothing. The error says which view differs, what it shows, what it should.
pub fn check(
    verdict: VerdictId,
    client: &ClientView,
    server: Option<&ServerSocket>,
    synack_resent: bool,
    settled: bool,
) -> Result<(), String> {
    let (want_server, want_client) = expected(verdict, synack_resent);
    let state = server.map(|s| s.state.as_str());
    let server_fits = match want_server {
        None => true,
        Some(Server::Child) => matches!(state, Some("ESTABLISHED" | "CLOSE_WAIT")),
        Some(Server::Request(true)) => matches!(state, None | Some("SYN_RECV")),
        Some(Server::Request(false)) => state == Some("SYN_RECV"),
        Some(Server::Nothing) => state.is_none(),
    };
    if !server_fits {
        let want = match want_server {
            Some(Server::Child) => "ESTABLISHED",
            Some(Server::Request(_)) => "SYN_RECV",
            _ => "nothing",
        };
        let have = state.unwrap_or("nothing");
        return Err(format!("sock_diag shows {have} at the server where {verdict} leaves {want}"));
    }
    if !settled || client_fits(want_client, client) {
        return Ok(());
    }
    let want = match want_client {
        Client::Connected => "an established connection",
        Client::Reset => "ECONNRESET",
        Client::Connecting => "SYN_SENT or a timeout",
        Client::Anything => "anything",
    };
    Err(format!("the client sees {} where {verdict} leaves it {want}", words(client)))
}

/// The client's view in few words: its state, and the error that ended it.
pub fn words(client: &ClientView) -> String {
    match (&client.error, &client.connect) {
        (Some(error), _) => format!("{} ({error})", client.state),
        (None, Err(error)) if error != "pending" => format!("{} ({error})", client.state),
        _ => client.state.clone(),
    }
}

fn expected(verdict: VerdictId, synack_resent: bool) -> (Option<Server>, Client) {
    use VerdictId as V;
    match verdict {
        V::AckAccepted | V::AckAcceptedCookie | V::SynFastopen => {
            (Some(Server::Child), Client::Connected)
        }
        V::AckDropOverflow | V::AckDropDeferAccept => {
            (Some(Server::Request(synack_resent)), Client::Connected)
        }
        // The request waits for a better segment.
        V::AckDropPaws | V::AckDropOutOfWindow | V::AckResetBadAck => {
            (Some(Server::Request(synack_resent)), Client::Anything)
        }
        V::AckDropOverflowCookie => (Some(Server::Nothing), Client::Connected),
        V::AckResetOverflow | V::AckResetBadSyn | V::AckResetInvalidCookie => {
            (Some(Server::Nothing), Client::Reset)
        }
        V::SynDropAcceptQueueFull | V::SynDropSynQueueFull | V::SynDropOther => {
            (Some(Server::Nothing), Client::Connecting)
        }
        V::SynQueued => (Some(Server::Request(synack_resent)), Client::Anything),
        // What came later has taken the request or the child away; and where a child had no route
        // back, its RST may have none either.
        V::SynCookie
        | V::AckResetChildFailed
        | V::AckResetOther
        | V::LaterRequestExpired
        | V::LaterRequestOrphaned
        | V::LaterResetByClient
        | V::LaterRequestIcmpError
        | V::LaterRequestDestroyed
        | V::LaterResetInQueue
        | V::LaterResetByServer
        | V::LaterResetNoSocket
        | V::LaterListenerClosed => (Some(Server::Nothing), Client::Anything),
        // Both paths, with a request and with a cookie, end in these: the server keeps a request
        // or nothing.
        V::AckDropChildFailed | V::AckDropOther => (Some(Server::Request(true)), Client::Connected),
        _ => (None, Client::Anything),
    }
}

fn client_fits(want: Client, view: &ClientView) -> bool {
    let failed = |errno: &str| {
        view.error.as_deref() == Some(errno) || view.connect.as_ref().is_err_and(|e| e == errno)
    };
    match want {
        Client::Connected => {
            // A client whose data was refused later was connected nonetheless.
            view.connect.is_ok() && (view.state != "CLOSE" || failed("ECONNRESET"))
        }
        Client::Reset => view.state == "CLOSE" || failed("ECONNRESET") || failed("ECONNREFUSED"),
        Client::Connecting => view.state == "SYN_SENT" || failed("ETIMEDOUT"),
        Client::Anything => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use overflow_core::model::scenario::Phase;

    fn client(state: &str, connect: Result<u64, &str>, error: Option<&str>) -> ClientView {
        ClientView {
            local: ([10, 7, 0, 2], 30001).into(),
            phase: Phase::Burst,
            connect: connect.map_err(str::to_owned),
            state: state.to_owned(),
            error: error.map(str::to_owned),
        }
    }

    fn check(verdict: &str, view: &ClientView, server: Option<&str>, resent: bool, expect: &str) {
        let socket = server.map(|state| ServerSocket {
            peer: view.local,
            state: state.to_owned(),
            retransmits: 0,
        });
        let id = VerdictId::parse(verdict).unwrap();
        let got = super::check(id, view, socket.as_ref(), resent, true);
        assert_eq!(got.err().unwrap_or_default(), expect, "{verdict}");
    }

    #[test]
    fn each_verdict_has_its_sockets() {
        let up = client("ESTABLISHED", Ok(1), None);
        let reset = client("CLOSE", Ok(1), Some("ECONNRESET"));
        let refused = client("CLOSE", Err("ECONNRESET"), None);
        let trying = client("SYN_SENT", Err("pending"), None);
        let gave_up = client("CLOSE", Err("ETIMEDOUT"), None);

        check("ack.accepted", &up, Some("ESTABLISHED"), false, "");
        check("ack.drop.overflow", &up, Some("SYN_RECV"), false, "");
        check("ack.drop.overflow", &up, None, true, "");
        check("ack.drop.overflow.cookie", &up, None, false, "");
        check("ack.drop.overflow.cookie", &reset, None, false, "");
        check("ack.reset.overflow", &reset, None, false, "");
        check("ack.reset.overflow", &refused, None, false, "");
        check("syn.drop.accept_queue_full", &trying, None, false, "");
        check("syn.drop.syn_queue_full", &gave_up, None, false, "");
        check("syn.queued", &trying, Some("SYN_RECV"), false, "");

        check(
            "ack.accepted",
            &up,
            None,
            false,
            "sock_diag shows nothing at the server where ack.accepted leaves ESTABLISHED",
        );
        check(
            "ack.drop.overflow",
            &up,
            None,
            false,
            "sock_diag shows nothing at the server where ack.drop.overflow leaves SYN_RECV",
        );
        check(
            "ack.drop.overflow.cookie",
            &up,
            Some("SYN_RECV"),
            false,
            "sock_diag shows SYN_RECV at the server where ack.drop.overflow.cookie leaves nothing",
        );
        check(
            "ack.reset.overflow",
            &up,
            None,
            false,
            "the client sees ESTABLISHED where ack.reset.overflow leaves it ECONNRESET",
        );
        check(
            "syn.drop.other",
            &up,
            None,
            false,
            "the client sees ESTABLISHED where syn.drop.other leaves it SYN_SENT or a timeout",
        );
        check(
            "ack.accepted",
            &gave_up,
            Some("ESTABLISHED"),
            false,
            "the client sees CLOSE (ETIMEDOUT) where ack.accepted leaves it an established \
             connection",
        );
    }

    #[test]
    fn a_reset_still_under_way_proves_nothing() {
        let up = client("ESTABLISHED", Ok(1), None);
        assert_eq!(super::check(VerdictId::AckResetOverflow, &up, None, false, false), Ok(()));
    }
}
