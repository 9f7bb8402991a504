//! States, outcomes and times in the reader's words.

use overflow_core::{tcp_state::TcpState, text::style::Tone};

use crate::witness::Comparison;

/// The client's socket, as `ss` writes states; `reset` where a RST ended it.
pub(super) fn client(comparison: &Comparison) -> (String, Tone) {
    match &comparison.client_view {
        Some((_, Some(error))) if error == "ECONNRESET" => ("reset".to_owned(), Tone::Warn),
        Some((_, Some(error))) if error == "ETIMEDOUT" => ("timeout".to_owned(), Tone::Warn),
        Some((_, Some(error))) => (error.clone(), Tone::Warn),
        Some((state, None)) => (ss_state(state), Tone::Plain),
        None => ("?".to_owned(), Tone::Dim),
    }
}

/// The server's socket.
pub(super) fn server(comparison: &Comparison) -> (String, Tone) {
    match &comparison.server_view {
        Some(state) => (ss_state(state), Tone::Plain),
        None => ("nothing".to_owned(), Tone::Dim),
    }
}

fn ss_state(state: &str) -> String {
    TcpState::from_name(state).map_or_else(|| state.to_owned(), |state| state.ss().to_owned())
}
