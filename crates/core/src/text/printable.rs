//! Names from outside (a process's, a unit's, a namespace's): whoever chooses them must not move a
//! reader's cursor, nor turn the order of what is read.

use std::borrow::Cow;

/// `name` with a `?` for each character that a terminal would obey instead of show, as `ls` prints
/// file names.
pub fn printable(name: &str) -> Cow<'_, str> {
    if name.chars().any(is_obeyed) {
        Cow::Owned(name.chars().map(|c| if is_obeyed(c) { '?' } else { c }).collect())
    } else {
        Cow::Borrowed(name)
    }
}

/// Controls, and what overrides the direction of writing (UAX #9).
fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown_as_a_question() {
        assert_eq!(printable("\u{1b}[31mnginx\u{9b}m\n\u{202e}x"), "?[31mnginx?m??x");
        for name in ["nginx: worker", "数据库", "a/b (c)"] {
            assert!(matches!(printable(name), Cow::Borrowed(same) if same == name));
        }
    }
}
