//! Words flowing into lines: the only place where text is broken.

use textwrap::{Options, WordSeparator, WordSplitter, WrapAlgorithm};

/// Columns of a page, unless the user asks for more.
pub const WIDTH: usize = 80;

/// How words flow.
#[derive(Clone, Copy, Debug)]
pub struct Flow<'a> {
    /// Columns of a line, with what stands before it; Chinese characters take two.
    pub width: usize,
    /// What stands before the first line.
    pub first: &'a str,
    /// What stands before the others.
    pub rest: &'a str,
    /// Where lines break.
    pub breaks: Breaks,
    /// Whether a word that is longer than a line is cut; otherwise it sticks out.
    pub cut_words: bool,
}

/// Where lines break.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Breaks {
    /// At spaces, each line taking what fits.
    #[default]
    Full,
    /// At spaces, so that lines are alike in length.
    Even,
    /// The same, and between Chinese characters.
    EvenChinese,
}

impl Flow<'_> {
    /// Lines of so many columns, with nothing before them.
    pub const fn new(width: usize) -> Self {
        Self { width, first: "", rest: "", breaks: Breaks::Full, cut_words: false }
    }

    /// The lines of `text`, none if it has no words. Any white space is one space, but a no-break
    /// space, which becomes a space that stays where it is.
    pub fn lines(&self, text: &str) -> Vec<String> {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        if words.is_empty() {
            return Vec::new();
        }
        let options = Options::new(self.width)
            .initial_indent(self.first)
            .subsequent_indent(self.rest)
            .word_splitter(WordSplitter::NoHyphenation)
            .word_separator(match self.breaks {
                Breaks::Full | Breaks::Even => WordSeparator::AsciiSpace,
                Breaks::EvenChinese => WordSeparator::UnicodeBreakProperties,
            })
            .wrap_algorithm(match self.breaks {
                Breaks::Full => WrapAlgorithm::FirstFit,
                Breaks::Even | Breaks::EvenChinese => WrapAlgorithm::new_optimal_fit(),
            })
            .break_words(self.cut_words);
        let text = words.join(" ");
        let lines = textwrap::wrap(&text, options);
        lines.into_iter().map(|line| line.replace('\u{a0}', " ")).collect()
    }
}

/// Columns that `text` takes on a terminal.
pub fn columns(text: &str) -> usize {
    textwrap::core::display_width(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str, width: usize) -> Vec<String> {
        Flow::new(width).lines(text)
    }

    #[test]
    fn lines_break_at_spaces() {
        assert_eq!(lines("one two  three", 7), ["one two", "three"]);
        assert_eq!(lines("aa bb cc", 5), ["aa bb", "cc"]);
        assert_eq!(lines("enormous a b", 3), ["enormous", "a b"]);
        assert_eq!(lines("a b\u{a0}c d", 4), ["a", "b c", "d"]);
        assert_eq!(lines("≤≤ ≤≤", 5), ["≤≤ ≤≤"]);
        assert_eq!(lines("", 3), Vec::<String>::new());
    }

    #[test]
    fn further_lines_hang_under_the_first_word() {
        let flow = Flow { first: "note  ", rest: "      ", ..Flow::new(11) };
        assert_eq!(flow.lines("aa bb cc"), ["note  aa bb", "      cc"]);
    }

    #[test]
    fn long_words_are_cut_where_nothing_may_stick_out() {
        let flow = Flow { cut_words: true, ..Flow::new(4) };
        assert_eq!(flow.lines("enormous a"), ["enor", "mous", "a"]);
    }

    #[test]
    fn chinese_breaks_between_characters_that_take_two_columns() {
        let flow = Flow { breaks: Breaks::EvenChinese, ..Flow::new(80) };
        let lines = flow.lines(&"监听套接字".repeat(20));
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert_eq!(columns(&lines[0]), 80);
    }
}
