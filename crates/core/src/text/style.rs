//! Width, colour and symbols of the page, and words flowing onto it.

use std::io::{self, Write};

use super::{
    untrusted::escape,
    wrap::{Flow, WIDTH},
};

/// How the text is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Columns; 80 unless the user asked for wide output.
    pub width: usize,
    /// Whether to colour.
    pub color: bool,
    /// Whether the terminal shows UTF-8; otherwise ASCII stands in.
    pub unicode: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { width: WIDTH, color: false, unicode: true }
    }
}

/// What a piece of text means for the reader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    #[default]
    /// Nothing to stress.
    Plain,
    /// A connection that works, witnesses that agree.
    Good,
    /// A connection that is lost, witnesses that do not agree.
    Bad,
    /// A client that was refused and knows it; what one must not overlook.
    Warn,
    /// Less important than what is around it.
    Dim,
    /// A heading.
    Strong,
}

impl Tone {
    /// The SGR sequences that begin and end it; empty ones where nothing is to be coloured.
    pub const fn codes(self, color: bool) -> (&'static str, &'static str) {
        const END: &str = "\x1b[0m";
        match self {
            _ if !color => ("", ""),
            Self::Plain => ("", ""),
            Self::Good => ("\x1b[32m", END),
            Self::Bad => ("\x1b[31m", END),
            Self::Warn => ("\x1b[33m", END),
            Self::Dim => ("\x1b[2m", END),
            Self::Strong => ("\x1b[1m", END),
        }
    }

    /// `text` in this tone.
    pub fn paint(self, color: bool, text: &str) -> String {
        let (begin, end) = self.codes(color && !text.is_empty());
        format!("{begin}{text}{end}")
    }
}

/// Text being put together.
pub struct Page {
    opts: Options,
    text: String,
}

impl Page {
    /// An empty page.
    pub fn new(opts: Options) -> Self {
        Self { opts, text: String::new() }
    }

    /// Columns.
    pub(crate) fn width(&self) -> usize {
        self.opts.width
    }

    /// Writes the page; fails where `out` does.
    pub fn write_to(self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(self.text.as_bytes())
    }

    /// `text` in a tone, with symbols this terminal can show. Width is to be measured before.
    pub fn paint(&self, tone: Tone, text: &str) -> String {
        tone.paint(self.opts.color, &self.symbols(text))
    }

    /// `text` in the symbols this terminal can show; the only place that knows the stand-ins. What
    /// is not to be shown at all is escaped, should it have come here unescaped.
    pub fn symbols(&self, text: &str) -> String {
        let text = escape(text);
        if self.opts.unicode {
            return text.into_owned();
        }
        let mut ascii = String::with_capacity(text.len());
        for c in text.chars() {
            match c {
                '→' => ascii.push_str("->"),
                '≤' => ascii.push_str("<="),
                '≥' => ascii.push_str(">="),
                '×' => ascii.push('x'),
                '✓' => ascii.push_str("ok"),
                '✗' => ascii.push_str("NO"),
                '–' | '━' | '─' => ascii.push('-'),
                'µ' => ascii.push('u'),
                c if c.is_ascii() || c == '\u{a0}' => ascii.push(c),
                _ => ascii.push('?'),
            }
        }
        ascii
    }

    /// One finished line.
    pub fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    /// An empty line.
    pub fn blank(&mut self) {
        self.text.push('\n');
    }

    /// Words flowing between `indent` and the page's width; `first` stands before the first line,
    /// in the margin.
    pub fn flow(&mut self, first: &str, indent: usize, tone: Tone, text: &str) {
        let room = self.width().saturating_sub(indent).max(20);
        let first = format!("{first:<indent$}");
        let mut margin = first.as_str();
        let hanging = " ".repeat(indent);
        for line in Flow::new(room).lines(&self.symbols(text)) {
            let line = format!("{}{}", self.symbols(margin), self.paint(tone, &line));
            self.line(&line);
            margin = &hanging;
        }
    }

    /// A heading that fills the line; one that is too long for it flows.
    pub fn rule(&mut self, heading: &str) {
        let heading = self.symbols(heading);
        let used = heading.chars().count() + 4;
        if used > self.width() {
            self.flow("━━ ", 3, Tone::Strong, &heading);
            return;
        }
        let tail = self.symbols(&"━".repeat(self.width().min(WIDTH).saturating_sub(used)));
        let lead = self.symbols("━━");
        let line = format!("{lead} {} {tail}", self.paint(Tone::Strong, &heading));
        self.line(&line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_unicode_all_is_ascii() {
        let page = Page::new(Options { unicode: false, ..Options::default() });
        assert_eq!(page.symbols("2 ≤ 3 → ×3 ✓ ✗ é"), "2 <= 3 -> x3 ok NO ?");
    }

    #[test]
    fn colour_only_when_asked_for() {
        let plain = Page::new(Options::default());
        assert_eq!(plain.paint(Tone::Bad, "lost"), "lost");
        let color = Page::new(Options { color: true, ..Options::default() });
        assert_eq!(color.paint(Tone::Bad, "lost"), "\x1b[31mlost\x1b[0m");
        assert_eq!(color.paint(Tone::Plain, "lost"), "lost");
    }
}
