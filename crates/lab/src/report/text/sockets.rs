//! States, outcomes and times in the reader's words.

use overflow_core::{tcp_state::TcpState, text::style::Tone};

use crate::witness::Comparison;

/// The client's socket, as `ss` writes states; `reset` where a RST ended it.
pub(super) fn client(judged: &Comparison) -> (String, Tone) {
    match &judged.client_view {
        Some((_, Some(error))) if error == "ECONNRESET" => ("reset".to_owned(), Tone::Warn),
        Some((_, Some(error))) if error == "ETIMEDOUT" => ("timeout".to_owned(), Tone::Warn),
        Some((_, Some(error))) => (error.clone(), Tone::Warn),
        Some((state, None)) => (ss_state(state), Tone::Plain),
        None => ("?".to_owned(), Tone::Dim),
    }
}

/// The server's socket.
pub(super) fn server(judged: &Comparison) -> (String, Tone) {
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

fn ss_state(state: &str) -> String {
    TcpState::from_name(state).map_or_else(|| state.to_owned(), |state| state.ss().to_owned())
}
