//! What both ends' sockets must look like for a verdict: `sock_diag` and the client's own view.

use crate::{ClientView, ServerSocket};
use overflow_core::verdict::{ClientSide, ServerSide, VerdictId};

/// Checks one connection's sockets against the last handshake verdict before the end of the hold.
///
/// `settled` says that what the server last sent had reached the client by then; otherwise the
/// client's view proves nothing. The error says which view differs, what it shows, what it should.
pub(crate) fn check(
    verdict: VerdictId,
    client: &ClientView,
    server: Option<&ServerSocket>,
    synack_resent: bool,
    settled: bool,
) -> Result<(), String> {
    let state = server.map(|s| s.state.as_str());
    let side = verdict.server_side();
    if !server_fits(side, state, synack_resent) {
        let want = match side {
            ServerSide::Child => "ESTABLISHED",
            ServerSide::Request | ServerSide::RequestOrNothing => "SYN_RECV",
            ServerSide::Nothing | ServerSide::Unknown => "nothing",
        };
        let have = state.unwrap_or("nothing");
        return Err(format!("sock_diag shows {have} at the server where {verdict} leaves {want}"));
    }
    let side = verdict.client_side();
    if !settled || client_fits(side, client) {
        return Ok(());
    }
    let want = match side {
        ClientSide::Connected => "an established connection",
        ClientSide::Reset => "ECONNRESET",
        ClientSide::Connecting => "SYN_SENT or a timeout",
        ClientSide::Unknown => "anything",
    };
    Err(format!("the client sees {} where {verdict} leaves it {want}", words(client)))
}

/// The client's view in few words: its state, and the error that ended it.
pub(super) fn words(client: &ClientView) -> String {
    match (&client.error, &client.connect) {
        (Some(error), _) => format!("{} ({error})", client.state),
        (None, Err(error)) if error != "pending" => format!("{} ({error})", client.state),
        _ => client.state.clone(),
    }
}

/// Whether the server's socket is what the verdict leaves there. A request of which the SYN-ACK was
/// sent again may be gone, its retries used up or pruned.
fn server_fits(side: ServerSide, state: Option<&str>, synack_resent: bool) -> bool {
    match side {
        ServerSide::Child => matches!(state, Some("ESTABLISHED" | "CLOSE_WAIT")),
        ServerSide::Request if !synack_resent => state == Some("SYN_RECV"),
        ServerSide::Request | ServerSide::RequestOrNothing => {
            matches!(state, None | Some("SYN_RECV"))
        }
        ServerSide::Nothing => state.is_none(),
        ServerSide::Unknown => true,
    }
}

fn client_fits(side: ClientSide, view: &ClientView) -> bool {
    let failed = |errno: &str| {
        view.error.as_deref() == Some(errno) || view.connect.as_ref().is_err_and(|e| e == errno)
    };
    match side {
        ClientSide::Connected => {
            // A client whose data was refused later was connected nonetheless.
            view.connect.is_ok() && (view.state != "CLOSE" || failed("ECONNRESET"))
        }
        ClientSide::Reset => {
            view.state == "CLOSE" || failed("ECONNRESET") || failed("ECONNREFUSED")
        }
        ClientSide::Connecting => view.state == "SYN_SENT" || failed("ETIMEDOUT"),
        ClientSide::Unknown => true,
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
