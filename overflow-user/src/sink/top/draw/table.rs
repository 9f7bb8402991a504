//! The table of listeners.

use ratatui::layout::Rect;

use super::canvas::Canvas;
use crate::sink::top::{
    columns::{COLUMNS, Cell, Column, Grows},
    row::Row,
    state::State,
    view::View,
};
use overflow_core::text::style::Tone;

/// A column with the width that it has on this screen.
type Fitted = (&'static Column, usize);

/// Draws the heading at `top` and at most `lines` lines under it: the page with the mark.
pub(super) fn table(
    canvas: &mut Canvas<'_>,
    top: usize,
    lines: usize,
    state: &State,
    view: &View,
    rows: &[&Row],
) {
    let columns = fit(usize::from(canvas.area().width), rows);
    heading(canvas, top, &columns, view);
    if rows.is_empty() {
        let asked = state.opening.as_ref().map_or("", |opening| &opening.filter);
        let text = match (state.rows.is_empty(), asked) {
            (false, _) => "All are idle: a shows them.".to_owned(),
            (true, "") => "No TCP listener.".to_owned(),
            (true, asked) => format!("No TCP listener is one of {asked}."),
        };
        canvas.put(1, top + 1, usize::MAX, Tone::Dim, &text);
        return;
    }
    let marked = view.marked(rows);
    let first = marked.checked_div(lines).map_or(0, |page| page * lines);
    for (i, row) in rows.iter().enumerate().skip(first).take(lines) {
        let y = top + 1 + i - first;
        line(canvas, y, &columns, state, row);
        if i == marked {
            canvas.mark(y);
            canvas.put(0, y, 1, Tone::Strong, ">");
        }
    }
}

fn heading(canvas: &mut Canvas<'_>, y: usize, columns: &[Fitted], view: &View) {
    let mut x = 1;
    for &(column, width) in columns {
        let tone = if column == view.sort { Tone::Strong } else { Tone::Dim };
        let indent = if column.left { 0 } else { width - column.title.len() };
        canvas.put(x + indent, y, width, tone, column.title);
        x += width + 1;
    }
}

fn line(canvas: &mut Canvas<'_>, y: usize, columns: &[Fitted], state: &State, row: &Row) {
    let mut x = 1;
    for &(column, width) in columns {
        match column.cell {
            Cell::Bars => {
                let values: Vec<u32> = row.queue.last(width).collect();
                if let (Ok(x), Ok(y), Ok(width)) =
                    (u16::try_from(x), u16::try_from(y), u16::try_from(width))
                {
                    canvas.bars(Rect::new(x, y, width, 1), row.limit(), &values);
                }
            }
            Cell::Text(text) => {
                let text = text(row, width, state.traced_ns());
                let indent = width.saturating_sub(text.chars().count());
                let indent = if column.left { 0 } else { indent };
                let zero = row.gone() || text == "0" || text == "0%";
                let tone = if zero { Tone::Dim } else { (column.tone)(row) };
                canvas.put(x + indent, y, width, tone, &text);
            }
        }
        x += width + 1;
    }
}

/// The columns that fit, with their widths. What is left goes to those that need it for their text,
/// then to the bars.
fn fit(width: usize, rows: &[&Row]) -> Vec<Fitted> {
    let mut widths: Vec<Fitted> = COLUMNS.iter().map(|c| (c, c.width)).collect();
    let needed = |columns: &[Fitted]| columns.iter().map(|(_, width)| width + 1).sum::<usize>();
    while needed(&widths) > width {
        let least = widths.iter().enumerate().max_by_key(|(_, (column, _))| column.rank);
        match least {
            Some((at, (column, _))) if column.rank > 0 => _ = widths.remove(at),
            Some(_) | None => break,
        }
    }
    let mut left = width.saturating_sub(needed(&widths));
    for (column, width) in &mut widths {
        if let (Grows::To(most), Cell::Text(text)) = (column.grows, column.cell) {
            let wanted = rows.iter().map(|row| text(row, most, 0).chars().count()).max();
            let more = wanted.unwrap_or(0).saturating_sub(*width).min(left);
            *width += more;
            left -= more;
        }
    }
    if let Some((column, width)) = widths.last_mut()
        && column.grows == Grows::Rest
    {
        *width += left;
    }
    widths
}
