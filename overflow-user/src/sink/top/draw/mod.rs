//! A frame, as a pure function of what is known and what is looked at.

mod canvas;
mod details;
mod handshakes;
mod help;
mod table;
mod text;

use ratatui::{buffer::Buffer, layout::Rect};

use super::{
    row::Row,
    state::State,
    view::{Page, View},
};
use crate::sink::trace_text::{clock, rungs};
use canvas::Canvas;
use overflow_core::text::{
    duration::count,
    style::{Options, Tone},
};

/// Lines of the bars under the table.
const BARS: usize = 2;
/// The handshakes keep so many lines, their heading included, when the table is long.
const HANDSHAKES: usize = 7;

/// Draws over all of `buffer`.
pub(super) fn frame(buffer: &mut Buffer, state: &State, view: &View, held: bool, options: Options) {
    buffer.reset();
    let mut canvas = Canvas::new(buffer, options);
    let area = canvas.area();
    let (width, height) = (usize::from(area.width), usize::from(area.height));
    let rows = view.rows(state);
    title(&mut canvas, state, &rows, held);
    let mut top = 1;
    if !state.losses.is_empty() {
        let causes: Vec<String> = state.losses.iter().map(|(c, n)| format!("{n} {c}")).collect();
        canvas.put(0, top, width, Tone::Warn, &format!("lost: {}", causes.join(", ")));
        top += 1;
    }
    let bottom = height.saturating_sub(1).max(top);
    match view.page {
        Page::Table => table_page(&mut canvas, (top, bottom), state, view, &rows),
        Page::Details => {
            let row = view.selected.and_then(|key| state.rows.get(&key));
            details::page(&mut canvas, (top, bottom), state, row, view.scroll);
        }
        Page::Help => help::page(&mut canvas, (top, bottom), state, view.scroll),
    }
    if height > top + 1 {
        footer(&mut canvas, bottom, view);
    }
}

fn table_page(
    canvas: &mut Canvas<'_>,
    (top, bottom): (usize, usize),
    state: &State,
    view: &View,
    rows: &[&Row],
) {
    // Its heading takes a line.
    let room = bottom.saturating_sub(top + 1);
    let bars = if room >= 12 { BARS + 1 } else { 0 };
    let lines = if room - bars >= HANDSHAKES + 2 {
        rows.len().clamp(2, room - bars - HANDSHAKES)
    } else {
        room - bars
    };
    table::table(canvas, top, lines, state, view, rows);
    let mut y = top + 1 + lines;
    if bars > 0 {
        if let Some(row) = rows.get(view.marked(rows)) {
            queue(canvas, y, BARS, row);
        }
        y += bars;
    }
    if y + 1 < bottom {
        canvas.rule(y, "Last abnormal handshakes");
        handshakes::list(canvas, (y + 1, bottom), state, None);
    }
}

/// The accept queue of a listener over time, in `height` lines under a heading at `y`.
fn queue(canvas: &mut Canvas<'_>, y: usize, height: usize, row: &Row) {
    let width = usize::from(canvas.area().width);
    let seconds = row.queue.len().min(width);
    let limit = row.limit().map_or_else(String::new, |limit| format!(", full above {limit}"));
    canvas.rule(y, &format!("Recv-Q of {}, last {seconds} s{limit}", row.place));
    let values: Vec<u32> = row.queue.last(width).collect();
    let (Ok(top), Ok(height)) = (u16::try_from(y + 1), u16::try_from(height)) else { return };
    let area = Rect { y: top, height, ..canvas.area() };
    canvas.bars(area, row.limit(), &values);
}

fn title(canvas: &mut Canvas<'_>, state: &State, rows: &[&Row], held: bool) {
    // A group is one.
    let listeners = rows.iter().filter(|row| row.group.is_none()).count();
    let full = rows.iter().filter(|row| row.group.is_none() && row.full()).count();
    let mut parts = vec![(Tone::Strong, "overflow top".to_owned())];
    if held {
        parts.push((Tone::Warn, " PAUSED".to_owned()));
    }
    let opening = state.opening.as_ref();
    let time = opening.filter(|_| state.now_ns > 0).map_or_else(
        || "--:--:--".to_owned(),
        |o| clock(state.now_ns, o.wall_offset_ns, o.utc_offset_s),
    );
    parts.push((Tone::Plain, format!(" {time}  {}, ", count(listeners, "listener"))));
    parts.push((if full > 0 { Tone::Bad } else { Tone::Plain }, format!("{full} full")));
    if let Some(unaccounted) = state.unaccounted {
        let tone = if unaccounted > 0 { Tone::Bad } else { Tone::Plain };
        parts.push((tone, format!(", {unaccounted} unaccounted")));
    }
    // Of what does not change, as much as there is room for.
    let width = usize::from(canvas.area().width);
    let mut used: usize = parts.iter().map(|(_, text)| text.chars().count()).sum();
    let fixed = opening.map_or_else(Default::default, |o| {
        [o.filter.clone(), o.kernel.clone(), format!("by {}", rungs(&o.rungs))]
    });
    for text in fixed.iter().filter(|text| !text.is_empty()) {
        let text = format!("  {text}");
        used += text.chars().count();
        if used <= width {
            parts.push((Tone::Dim, text));
        }
    }
    canvas.parts(0, 0, width, &parts);
}

fn footer(canvas: &mut Canvas<'_>, y: usize, view: &View) {
    let sort = format!("sort:{}{}", view.sort.title, if view.reversed { " reversed" } else { "" });
    let keys: &[(&str, &str)] = match view.page {
        Page::Table => &[
            ("?", "help"),
            ("q", "quit"),
            ("j/k", "select"),
            ("Enter", "details"),
            ("</>", &sort),
            ("r", "reverse"),
            ("a", "idle"),
            ("p", "pause"),
        ],
        Page::Details | Page::Help => &[("Esc", "back"), ("j/k", "scroll"), ("q", "quit")],
    };
    let mut parts = Vec::new();
    for (key, what) in keys {
        parts.push((Tone::Strong, (*key).to_owned()));
        parts.push((Tone::Dim, format!(" {what}  ")));
    }
    // One space between them where two do not fit.
    let width = usize::from(canvas.area().width);
    let long: usize = parts.iter().map(|(_, text)| text.chars().count()).sum();
    if long > width + 2 {
        parts.iter_mut().filter(|(tone, _)| *tone == Tone::Dim).for_each(|(_, text)| {
            text.pop();
        });
    }
    canvas.parts(0, y, width, &parts);
}
