//! Text from outside: names that anybody on the host, or whoever wrote a recording, could choose.
//!
//! A process's `comm` may hold escape sequences, a control group's path newlines, and both what turns
//! the direction of writing around. [`escape`] is the one place where such characters become
//! `\u001b`, as JSON writes them; [`Untrusted`] holds such a text, and shows it in no other way.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
    io,
    sync::Arc,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::ser::Formatter;

/// A text is kept in at most so many bytes: a control group's path can have 4096, and thousands of
/// sockets can be in it.
pub const LIMIT: usize = 1024;

/// A text that came from outside. Displayed, it has no character that a terminal acts on; the words
/// themselves are only for comparing and for what escapes on its own ([`Self::verbatim`]).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Untrusted(Arc<str>);

impl Untrusted {
    /// Takes a text; of one longer than [`LIMIT`] the beginning, with how long it was.
    pub fn new(text: &str) -> Self {
        if text.len() <= LIMIT {
            return Self(text.into());
        }
        let mark = format!("... (cut off, it has {} bytes)", text.len());
        let end = text.floor_char_boundary(LIMIT - mark.len());
        Self((text[..end].to_owned() + &mark).into())
    }

    /// Takes bytes; what is no UTF-8 in them becomes U+FFFD.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self::new(&String::from_utf8_lossy(bytes))
    }

    /// The text as it came. For comparing, and for JSON, whose writer escapes; never for a terminal,
    /// a label or a message.
    pub fn verbatim(&self) -> &str {
        &self.0
    }

    /// The text as it may be shown.
    pub fn shown(&self) -> Cow<'_, str> {
        escape(&self.0)
    }

    /// Its beginning as it may be shown, in at most `room` characters but at least one of its own:
    /// none of its characters is cut in two.
    pub(crate) fn shown_in(&self, room: usize) -> String {
        let mut out = String::new();
        let mut used = 0;
        for c in self.0.chars() {
            let begin = out.len();
            push(&mut out, c);
            used += out[begin..].chars().count();
            if used > room && begin > 0 {
                out.truncate(begin);
                break;
            }
        }
        out
    }

    /// How long it is, bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Default for Untrusted {
    fn default() -> Self {
        Self("".into())
    }
}

impl From<&str> for Untrusted {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl PartialEq<str> for Untrusted {
    fn eq(&self, other: &str) -> bool {
        *self.0 == *other
    }
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.shown())
    }
}

impl Serialize for Untrusted {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Untrusted {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(Self::new(&Cow::<'de, str>::deserialize(d)?))
    }
}

/// Whether a character only shows itself. Others are the controls (C0, DEL, C1), the separators of
/// lines and paragraphs, and what has no shape of its own: Unicode's Default_Ignorable_Code_Point,
/// among it all that sets the direction of writing.
pub fn is_harmless(c: char) -> bool {
    !matches!(c,
        '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{ad}' | '\u{34f}' | '\u{61c}'
        | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// `text` with `\u001b` and the like for every character that does more than show itself.
pub fn escape(text: &str) -> Cow<'_, str> {
    if shows_itself(text) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    text.chars().for_each(|c| push(&mut out, c));
    Cow::Owned(out)
}

fn shows_itself(text: &str) -> bool {
    is_printable_ascii(text.as_bytes()) || text.chars().all(is_harmless)
}

/// Eight bytes at a time: every word of every JSON line is looked at.
fn is_printable_ascii(bytes: &[u8]) -> bool {
    const EACH: u64 = u64::from_ne_bytes([1; 8]);
    let (words, rest) = bytes.as_chunks();
    let printable = |word: &[u8; 8]| {
        let word = u64::from_ne_bytes(*word);
        // Below the space a byte borrows, from DEL on it reaches the highest bit. What it does to its
        // neighbours changes nothing then.
        let (below, above) = (word.wrapping_sub(EACH * 0x20), word.wrapping_add(EACH));
        (word | below | above) & (EACH * 0x80) == 0
    };
    words.iter().all(printable) && rest.iter().all(|b| matches!(b, b' '..=b'~'))
}

fn push(out: &mut String, c: char) {
    if is_harmless(c) {
        return out.push(c);
    }
    for unit in c.encode_utf16(&mut [0; 2]) {
        let _ = write!(out, "\\u{unit:04x}");
    }
}

/// JSON in one line whose strings are written so that a terminal can be shown them: what is read
/// from it is what was written.
pub(crate) struct EscapedJson;

impl Formatter for EscapedJson {
    fn write_string_fragment<W: io::Write + ?Sized>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        out.write_all(escape(fragment).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_act_on_is_written_out() {
        assert_eq!(escape("nginx: worker (höher) 漢"), "nginx: worker (höher) 漢");
        assert_eq!(escape("\x1b[2J\x07\n\r\x7f"), r"\u001b[2J\u0007\u000a\u000d\u007f");
        assert_eq!(escape("a\u{9b}31m\u{202e}b\u{200b}"), r"a\u009b31m\u202eb\u200b");
        assert_eq!(escape("\u{e0041}"), r"\udb40\udc41");
        // systemd's own escapes are plain text.
        assert_eq!(escape(r"dev-disk\x2dby.device"), r"dev-disk\x2dby.device");
    }

    #[test]
    fn printable_is_the_same_by_words_as_by_bytes() {
        let plain = "0123456789abcdefg";
        assert!(is_printable_ascii(plain.as_bytes()));
        for place in 0..plain.len() {
            for byte in 0..=u8::MAX {
                let mut bytes = plain.as_bytes().to_vec();
                bytes[place] = byte;
                let printable = (b' '..=b'~').contains(&byte);
                assert_eq!(is_printable_ascii(&bytes), printable, "{byte:#x} at {place}");
            }
        }
    }

    #[test]
    fn json_says_what_it_is_without_showing_it() {
        let name = "\u{9b}2J\u{202e}\x1b\"\\\n漢";
        let mut out = Vec::new();
        let mut serializer = serde_json::Serializer::with_formatter(&mut out, EscapedJson);
        Untrusted::new(name).serialize(&mut serializer).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, r#""\u009b2J\u202e\u001b\"\\\n漢""#);
        assert_eq!(serde_json::from_str::<Untrusted>(&text).unwrap().verbatim(), name);
    }

    #[test]
    fn a_long_text_is_cut_and_says_so() {
        let long = "ü".repeat(3000);
        let cut = Untrusted::new(&long);
        assert!(cut.verbatim().len() <= LIMIT);
        assert!(cut.verbatim().ends_with("ü... (cut off, it has 6000 bytes)"));
        assert_eq!(Untrusted::new(cut.verbatim()), cut);
        assert_eq!(Untrusted::new(&long[..LIMIT]).verbatim(), &long[..LIMIT]);
    }

    #[test]
    fn bytes_that_are_no_text_are_marked() {
        assert_eq!(Untrusted::from_bytes(b"a\xff\xfeb").shown(), "a\u{fffd}\u{fffd}b");
    }

    #[test]
    fn an_escape_is_shown_whole_or_not_at_all() {
        let name = Untrusted::new("ab\x1bc");
        assert_eq!(name.shown_in(9), r"ab\u001bc");
        assert_eq!((name.shown_in(8), name.shown_in(7)), (r"ab\u001b".into(), "ab".into()));
        assert_eq!(Untrusted::new("\x1bc").shown_in(1), r"\u001b");
    }
}
