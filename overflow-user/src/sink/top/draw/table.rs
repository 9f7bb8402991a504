//! The table of listeners.

use ratatui::layout::Rect;

use super::canvas::Canvas;
use crate::sink::top::{columns::Column, row::Row, state::State, view::View};
use overflow_core::text::style::Tone;

/// No name is given more room than this, and no bars a column more than the seconds that are kept.
const LISTENER: usize = 46;
const OWNER: usize = 24;

/// Draws the heading at `top` and at most `lines` lines under it: the page with the mark.
pub(super) fn table(
    canvas: &mut Canvas<'_>,
    top: usize,
    lines: usize,
    board: &State,
    view: &View,
    rows: &[&Row],
) {
    let columns = fit(usize::from(canvas.area().width), rows);
    heading(canvas, top, &columns, view);
    if rows.is_empty() {
        let text =
            if board.rows.is_empty() { "No TCP listener." } else { "All are idle: a shows them." };
        canvas.put(1, top + 1, usize::MAX, Tone::Dim, text);
        return;
    }
    let marked = view.marked(rows);
    let first = marked.checked_div(lines).map_or(0, |page| page * lines);
    for (i, row) in rows.iter().enumerate().skip(first).take(lines) {
        let y = top + 1 + i - first;
        line(canvas, y, &columns, board, row);
        if i == marked {
            canvas.mark(y);
            canvas.put(0, y, 1, Tone::Strong, ">");
        }
    }
}

fn heading(canvas: &mut Canvas<'_>, y: usize, columns: &[(Column, usize)], view: &View) {
    let mut x = 1;
    for &(column, width) in columns {
        let tone = if column == view.sort { Tone::Strong } else { Tone::Dim };
        let title = column.title();
        let indent = if column.left() { 0 } else { width - title.len() };
        canvas.put(x + indent, y, width, tone, title);
        x += width + 1;
    }
}

fn line(canvas: &mut Canvas<'_>, y: usize, columns: &[(Column, usize)], board: &State, row: &Row) {
    let mut x = 1;
    for &(column, width) in columns {
        if column == Column::Queue {
            let values: Vec<u32> = row.queue.last(width).collect();
            if let (Ok(x), Ok(y), Ok(width)) =
                (u16::try_from(x), u16::try_from(y), u16::try_from(width))
            {
                canvas.bars(Rect::new(x, y, width, 1), row.limit(), &values);
            }
        } else {
            let text = column.text(row, width, board.traced_ns());
            let indent = width.saturating_sub(text.chars().count());
            let indent = if column.left() { 0 } else { indent };
            canvas.put(x + indent, y, width, tone(column, row, &text), &text);
        }
        x += width + 1;
    }
}

fn tone(column: Column, row: &Row, text: &str) -> Tone {
    match column {
        _ if row.gone() || text == "0" || text == "0%" => Tone::Dim,
        Column::RecvQ if row.full() => Tone::Bad,
        Column::Resets => Tone::Warn,
        Column::Rate | Column::Cookies | Column::Syns | Column::Overflows => Tone::Bad,
        _ => Tone::Plain,
    }
}

/// The columns that fit, with their widths. What is left goes to names that need it, then to the
/// bars.
fn fit(width: usize, rows: &[&Row]) -> Vec<(Column, usize)> {
    let mut columns = Column::ALL.to_vec();
    let needed = |columns: &[Column]| columns.iter().map(|c| c.width() + 1).sum::<usize>();
    for expendable in Column::EXPENDABLE {
        if needed(&columns) <= width {
            break;
        }
        columns.retain(|column| column != expendable);
    }
    let mut left = width.saturating_sub(needed(&columns));
    let mut widths: Vec<(Column, usize)> = columns.iter().map(|c| (*c, c.width())).collect();
    let place = rows.iter().map(|row| row.place.len()).max().unwrap_or(0).min(LISTENER);
    let owner = rows.iter().map(|row| Column::Owner.text(row, OWNER, 0).chars().count()).max();
    let owner = owner.unwrap_or(0);
    for (column, width) in &mut widths {
        let wanted = match column {
            Column::Listener => place,
            Column::Owner => owner,
            _ => continue,
        };
        let more = wanted.saturating_sub(*width).min(left);
        *width += more;
        left -= more;
    }
    if let Some((Column::Queue, width)) = widths.last_mut() {
        *width += left;
    }
    widths
}
