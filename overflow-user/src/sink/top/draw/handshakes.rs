//! The last abnormal handshakes, newest first.

use super::canvas::Canvas;
use crate::sink::{
    top::{
        columns::queue,
        row::Key,
        state::{Handshake, State},
    },
    trace_text::{clock, elide},
};
use overflow_core::text::{style::Tone, wrap::Flow};

/// The longest verdict and the mark of what is inferred.
const VERDICT: usize = 27;
const CLIENT: usize = 21;
const RECV_Q: usize = 9;
/// Columns that a whole line takes.
const WHOLE: usize = 76;

/// Draws as many as fit into these lines, those at `key` only if one is given.
pub(super) fn list(
    canvas: &mut Canvas<'_>,
    (top, bottom): (usize, usize),
    state: &State,
    key: Option<Key>,
) {
    let asked = |h: &&Handshake| key.is_none_or(|key| h.key == key);
    let last = state.handshakes.iter().rev().filter(asked);
    let mut y = top;
    for handshake in last.take(bottom.saturating_sub(top)) {
        let width = usize::from(canvas.area().width);
        let parts = parts(state, handshake, width);
        canvas.parts(1, y, width, &parts);
        y += 1;
    }
    if y == top {
        empty(canvas, (top, bottom), state);
    }
}

/// One of them: when, who, where, what, and the queue then.
pub(super) fn parts(state: &State, handshake: &Handshake, width: usize) -> Vec<(Tone, String)> {
    let opening = state.opening.as_ref();
    let (wall, utc) = opening.map_or((0, 0), |o| (o.wall_offset_ns, o.utc_offset_s));
    let room = (CLIENT + width.saturating_sub(80)).min(47);
    let client = elide(&handshake.client.to_string(), room);
    let verdict = format!("{}{}", if handshake.traced { "" } else { "~" }, handshake.id);
    let recv_q = handshake.recv_q.map_or_else(String::new, |(l, m)| queue(l, m, RECV_Q));
    let tone = handshake.id.tone();
    let time = (Tone::Dim, format!("{} ", clock(handshake.t_ns, wall, utc)));
    let port = handshake.server.port();
    if width < WHOLE {
        // What happened and where is worth more than who it was.
        let rest = format!(" {recv_q} {port} {client}");
        return vec![time, (tone, verdict), (Tone::Plain, rest)];
    }
    vec![
        time,
        (Tone::Plain, format!("{client:room$} {port:<5} ")),
        (tone, format!("{verdict:VERDICT$}")),
        (Tone::Plain, format!(" {recv_q:>RECV_Q$}")),
    ]
}

fn empty(canvas: &mut Canvas<'_>, (top, bottom): (usize, usize), state: &State) {
    let width = usize::from(canvas.area().width);
    let mut lines = vec!["None so far.".to_owned()];
    for note in state.opening.iter().flat_map(|o| &o.notes) {
        let room = width.saturating_sub(2).max(20);
        let flow = Flow { cut_words: true, ..Flow::new(room) };
        lines.extend(flow.lines(&format!("note: {note}")));
    }
    for (line, y) in lines.iter().zip(top..bottom) {
        canvas.put(1, y, width, Tone::Dim, line);
    }
}
