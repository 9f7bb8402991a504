//! What the keys and columns mean, and what must be known of this trace.

use super::{canvas::Canvas, text::Text};
use crate::sink::top::state::State;
use overflow_core::text::style::Tone;

const KEYS: &[(&str, &str)] = &[
    ("q  Ctrl-C", "quit; the summary is printed then"),
    ("j k  arrows", "select a listener, or scroll; PgUp PgDn Home End too"),
    ("Enter", "details of the selected listener; Esc or Enter goes back"),
    ("< >  s", "order by the column before, or the next one"),
    ("r", "turn the order around"),
    ("a", "hide listeners where nothing happened, or show them again"),
    ("p", "hold the screen still; what happens meanwhile is counted"),
    ("Ctrl-Z", "suspend; `fg` comes back"),
];

const COLUMNS: &[(&str, &str)] = &[
    ("Recv-Q", "accept queue length/limit now; full is above the limit"),
    ("MAX", "longest accept queue that was seen"),
    ("OVF /s", "overflows (as ListenOverflows counts) in all, and in the last second"),
    ("RST", "third ACKs answered by RST (tcp_abort_on_overflow=1)"),
    ("COOK", "third ACKs dropped silently in the SYN-cookie path"),
    ("SYN", "SYNs dropped"),
    ("FULL", "share of the time in which the queue was full; ~ by a look a second"),
    ("QUEUE", "Recv-Q of the last seconds, a column each; a full block is full"),
    ("~verdict", "inferred; see `overflow explain VERDICT` for each verdict"),
];

pub(super) fn page(
    canvas: &mut Canvas<'_>,
    (top, bottom): (usize, usize),
    board: &State,
    scroll: usize,
) {
    let mut text = Text::new(usize::from(canvas.area().width));
    for (keys, what) in KEYS.iter().chain(COLUMNS) {
        text.flow(keys, Tone::Plain, what);
    }
    for note in board.opening.iter().flat_map(|opening| &opening.notes) {
        text.flow("note", Tone::Warn, note);
    }
    text.draw(canvas, (top, bottom), scroll);
}
