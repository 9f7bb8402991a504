//! Text set for 80 columns on a terminal that has fewer: it flows, rather than being broken inside of words.

use std::io::{self, Write};

use overflow_core::text::wrap::{Flow, columns};

/// Passes lines on; those that are too long flow below where their words begin.
pub(super) struct Narrow<W: Write> {
    out: W,
    width: usize,
    line: Vec<u8>,
}

impl<W: Write> Narrow<W> {
    /// Lines of so many columns to `out`.
    pub(super) fn new(out: W, width: usize) -> Self {
        Self { out, width, line: Vec::new() }
    }

    fn pass(&mut self) -> io::Result<()> {
        let line = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&line);
        if columns(&text) <= self.width {
            return self.out.write_all(&line);
        }
        let text = text.trim_end();
        let begins = first_words(text, self.width / 2);
        let margin = " ".repeat(columns(&text[..begins]));
        let flow = Flow { first: &text[..begins], rest: &margin, ..Flow::new(self.width) };
        let lines = flow.lines(&text[begins..]);
        lines.iter().try_for_each(|line| writeln!(self.out, "{line}"))
    }
}

/// Where the words of a line begin: behind what it is indented by, and behind a label that stands apart from
/// them, if that leaves room.
fn first_words(line: &str, room: usize) -> usize {
    let indent = line.len() - line.trim_start().len();
    let label = line[indent..].find("  ").map(|gap| {
        let words = line[indent + gap..].trim_start();
        line.len() - words.len()
    });
    label.filter(|begins| columns(&line[..*begins]) <= room).unwrap_or(indent.min(room))
}

impl<W: Write> Write for Narrow<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                self.pass()?;
            }
        }
        Ok(bytes.len())
    }

    /// What is no whole line yet waits for its end.
    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn narrow(text: &str, width: usize) -> String {
        let mut narrow = Narrow::new(Vec::new(), width);
        narrow.write_all(text.as_bytes()).unwrap();
        String::from_utf8(narrow.out).unwrap()
    }

    #[test]
    fn what_fits_stays_as_it_is() {
        let text = "a  b\n\n   c d\n";
        assert_eq!(narrow(text, 12), text);
    }

    #[test]
    fn long_lines_flow_below_their_words() {
        let text = "note    one two three four\n    five six seven eight\n";
        let flowing =
            "note    one two\n        three\n        four\n    five six\n    seven eight\n";
        assert_eq!(narrow(text, 16), flowing);
    }

    #[test]
    fn a_label_that_leaves_no_room_flows_too() {
        assert_eq!(
            narrow("tcp_check_req  reads the sysctl\n", 16),
            "tcp_check_req\nreads the sysctl\n"
        );
        assert_eq!(narrow("tcp_v4_syn_recv_sock\n", 16), "tcp_v4_syn_recv_sock\n");
    }

    #[test]
    fn a_line_may_come_in_pieces() {
        let mut narrow = Narrow::new(Vec::new(), 8);
        for piece in ["one ", "two th", "ree\nfo", "ur\n"] {
            narrow.write_all(piece.as_bytes()).unwrap();
        }
        assert_eq!(narrow.out, b"one two\nthree\nfour\n");
    }
}
