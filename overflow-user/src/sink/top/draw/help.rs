//! What the keys and columns mean, and what must be known of this trace.

use super::{canvas::Canvas, text::Text};
use crate::sink::top::{columns::COLUMNS, state::State};
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

const VERDICT: (&str, &str) =
    ("~verdict", "inferred; see `overflow explain VERDICT` for each verdict");

pub(super) fn page(
    canvas: &mut Canvas<'_>,
    (top, bottom): (usize, usize),
    state: &State,
    scroll: usize,
) {
    let mut text = Text::new(usize::from(canvas.area().width));
    let columns = COLUMNS.iter().filter_map(|column| column.help);
    for (what, meaning) in KEYS.iter().copied().chain(columns).chain([VERDICT]) {
        text.flow(what, Tone::Plain, meaning);
    }
    for note in state.opening.iter().flat_map(|opening| &opening.notes) {
        text.flow("note", Tone::Warn, note);
    }
    text.draw(canvas, (top, bottom), scroll);
}
