//! A page of text that can be longer than the screen.

use super::canvas::Canvas;
use overflow_core::text::{style::Tone, wrap::Flow};

/// Width of the words in the margin.
const MARGIN: usize = 12;

/// Lines being put together.
pub(super) struct Text {
    lines: Vec<Vec<(Tone, String)>>,
    width: usize,
}

impl Text {
    pub(super) fn new(width: usize) -> Self {
        Self { lines: Vec::new(), width }
    }

    /// A finished line.
    pub(super) fn line(&mut self, parts: Vec<(Tone, String)>) {
        self.lines.push(parts);
    }

    pub(super) fn blank(&mut self) {
        self.lines.push(Vec::new());
    }

    /// Words that flow beside `label`; nothing at all if there are none.
    pub(super) fn flow(&mut self, label: &str, tone: Tone, words: &str) {
        let room = self.width.saturating_sub(MARGIN).max(20);
        let flow = Flow { cut_words: true, ..Flow::new(room) };
        for (i, line) in flow.lines(words).into_iter().enumerate() {
            let label = if i == 0 { label } else { "" };
            let margin = (Tone::Strong, format!("{label:MARGIN$}"));
            self.lines.push(vec![margin, (tone, line)]);
        }
    }

    /// Draws what fits between `top` and `bottom`, without the first `scroll` lines; the last
    /// screenful is as far as it goes.
    pub(super) fn draw(
        &self,
        canvas: &mut Canvas<'_>,
        (top, bottom): (usize, usize),
        scroll: usize,
    ) {
        let room = bottom.saturating_sub(top);
        let scroll = scroll.min(self.lines.len().saturating_sub(room));
        let width = usize::from(canvas.area().width);
        for (line, y) in self.lines.iter().skip(scroll).zip(top..bottom) {
            canvas.parts(0, y, width, line);
        }
        let below = self.lines.len().saturating_sub(scroll + room);
        if below > 0 && room > 0 {
            let more = format!(" {below} more below ");
            let x = width.saturating_sub(more.len());
            canvas.put(x, bottom - 1, width, Tone::Warn, &more);
        }
    }
}
