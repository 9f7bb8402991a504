//! Text, bars and colours on a buffer; nothing is ever drawn outside of it.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Color, Modifier, Style},
};

use overflow_core::text::style::{Options, Page, Tone};

/// Eighths of a cell, from below.
const EIGHTHS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const ASCII: [char; 9] = [' ', '_', '_', '.', '-', '-', '=', '=', '#'];

/// A buffer with what is needed to draw on it.
pub(super) struct Canvas<'a> {
    buffer: &'a mut Buffer,
    options: Options,
}

impl<'a> Canvas<'a> {
    pub(super) fn new(buffer: &'a mut Buffer, options: Options) -> Self {
        Self { buffer, options }
    }

    pub(super) fn area(&self) -> Rect {
        self.buffer.area
    }

    /// `text` in the symbols this terminal can show.
    pub(super) fn symbols(&self, text: &str) -> String {
        Page::new(self.options).symbols(text)
    }

    /// Writes `text` from column `x` of row `y`, in at most `width` columns.
    pub(super) fn put(&mut self, x: usize, y: usize, width: usize, tone: Tone, text: &str) {
        let text = self.symbols(text);
        let style = self.style(tone);
        let (Ok(x), Ok(y)) = (u16::try_from(x), u16::try_from(y)) else { return };
        let area = self.buffer.area;
        if x < area.width && y < area.height {
            let width = width.min(usize::from(area.width - x));
            self.buffer.set_stringn(area.x + x, area.y + y, text, width, style);
        }
    }

    /// Writes parts one after another, with nothing between them, up to column `end`.
    pub(super) fn parts(&mut self, mut x: usize, y: usize, end: usize, parts: &[(Tone, String)]) {
        for (tone, text) in parts {
            self.put(x, y, end.saturating_sub(x), *tone, text);
            x += self.symbols(text).chars().count();
        }
    }

    /// A heading that fills row `y`.
    pub(super) fn rule(&mut self, y: usize, heading: &str) {
        let width = usize::from(self.buffer.area.width);
        self.put(0, y, width, Tone::Dim, &"─".repeat(width));
        self.put(2, y, width.saturating_sub(4), Tone::Strong, &format!(" {heading} "));
    }

    /// Turns a whole row's colours around.
    pub(super) fn mark(&mut self, y: usize) {
        let area = self.buffer.area;
        if let Ok(y) = u16::try_from(y)
            && y < area.height
        {
            let row = Rect { y: area.y + y, height: 1, ..area };
            self.buffer.set_style(row, Style::new().add_modifier(Modifier::REVERSED));
        }
    }

    /// Bars of `values`, the last one at the right edge of `area`; `limit` + 1 reaches the top,
    /// and what is above `limit` stands out.
    pub(super) fn bars(&mut self, area: Rect, limit: Option<u32>, values: &[u32]) {
        let highest = values.iter().copied().max().unwrap_or(0);
        // Where no limit is known, the longest queue is the measure.
        let top = u64::from(limit.map_or(highest, |l| l.saturating_add(1))).max(1);
        let shown = values.len().min(usize::from(area.width));
        let left = usize::from(area.x) + usize::from(area.width) - shown;
        let height = usize::from(area.height);
        for (i, &value) in values[values.len() - shown..].iter().enumerate() {
            let over = limit.is_some_and(|l| value > l);
            let tone = if over { Tone::Bad } else { Tone::Good };
            let eighths = eighths(value, top, height, over);
            for row in 0..height {
                let filled = eighths.saturating_sub((height - 1 - row) * 8).min(8);
                let set = if self.options.unicode { EIGHTHS } else { ASCII };
                let bar = set[filled].to_string();
                let style = self.style(tone);
                let y = usize::from(area.y) + row;
                if let (Ok(x), Ok(y)) = (u16::try_from(left + i), u16::try_from(y))
                    && let Some(cell) = self.buffer.cell_mut((x, y))
                {
                    cell.set_symbol(&bar).set_style(style);
                }
            }
        }
    }

    fn style(&self, tone: Tone) -> Style {
        let style = match tone {
            Tone::Plain => Style::new(),
            Tone::Dim => Style::new().add_modifier(Modifier::DIM),
            Tone::Strong => Style::new().add_modifier(Modifier::BOLD),
            Tone::Good | Tone::Bad | Tone::Warn if !self.options.color => Style::new(),
            Tone::Good => Style::new().fg(Color::Green),
            Tone::Bad => Style::new().fg(Color::Red),
            Tone::Warn => Style::new().fg(Color::Yellow),
        };
        // Without colour, what is lost is at least bold.
        let loud = tone == Tone::Bad && !self.options.color;
        if loud { style.add_modifier(Modifier::BOLD) } else { style }
    }
}

/// Height of a bar in eighths of a row: something is never nothing, and only what is over the
/// limit fills it.
fn eighths(value: u32, top: u64, height: usize, over: bool) -> usize {
    let most = height * 8;
    if over || u64::from(value) >= top {
        return most;
    }
    let share = u64::from(value) * most as u64 / top;
    let share = usize::try_from(share).unwrap_or(most);
    if value == 0 { 0 } else { share.clamp(1, most.saturating_sub(1).max(1)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_full_queue_fills_its_bar() {
        let of =
            |value, limit: u64, height| eighths(value, limit + 1, height, u64::from(value) > limit);
        assert_eq!([of(0, 128, 1), of(1, 128, 1), of(64, 128, 1)], [0, 1, 3]);
        assert_eq!([of(128, 128, 1), of(129, 128, 1), of(5000, 128, 1)], [7, 8, 8]);
        assert_eq!([of(1, 1, 2), of(2, 1, 2), of(0, 0, 1), of(1, 0, 1)], [8, 16, 0, 8]);
    }

    #[test]
    fn nothing_is_drawn_outside() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 3, 1));
        let mut canvas = Canvas::new(&mut buffer, Options::default());
        canvas.put(1, 0, 80, Tone::Plain, "long text");
        canvas.put(9, 9, 80, Tone::Plain, "outside");
        canvas.mark(7);
        canvas.bars(Rect::new(2, 0, 9, 4), Some(1), &[1, 2, 3, 4]);
        assert_eq!(buffer.content()[1].symbol(), "l");
    }
}
