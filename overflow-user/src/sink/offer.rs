//! What would have been enough: which command says so, once clients were hurt.

use std::{cell::Cell, io, path::Path, rc::Rc};

use overflow_core::text::untrusted::escape;

use super::trace::{Message, Sink};

/// Notes whether any client was hurt. Its clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Hurt(Rc<Cell<bool>>);

impl Hurt {
    /// Whether any was, once the trace has ended.
    pub fn any(&self) -> bool {
        self.0.get()
    }
}

impl Sink for Hurt {
    fn handle(&mut self, message: Message<'_>) -> io::Result<()> {
        if let Message::Close(closing) = message {
            self.0.set(closing.clients.total() > 0);
        }
        Ok(())
    }

    fn wants_connections(&self) -> bool {
        false
    }
}

/// The command, in a sentence; `recording` holds every handshake.
pub fn offer(recording: Option<&Path>) -> String {
    match recording {
        Some(path) => format!(
            "what would have been enough? overflow whatif {} --advise",
            quoted(&path.to_string_lossy())
        ),
        None => "what would have been enough? overflow trace --flight 30s --record run.rec, and when it \
                 happens again: overflow whatif run.rec --advise"
            .to_owned(),
    }
}

/// A word for a shell, as far as it can be shown.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@%".contains(c);
    let word = escape(word);
    if !word.is_empty() && word.chars().all(plain) && !word.starts_with('-') {
        return word.into_owned();
    }
    let dash = if word.starts_with('-') { "./" } else { "" };
    format!("'{dash}{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_can_be_run_as_it_is_printed() {
        let file = |name: &str| offer(Some(Path::new(name)));
        assert!(
            file("/var/log/run-1.rec").ends_with("overflow whatif /var/log/run-1.rec --advise")
        );
        assert!(file("my run.rec").ends_with("overflow whatif 'my run.rec' --advise"));
        assert!(file("it's").ends_with(r"overflow whatif 'it'\''s' --advise"));
        assert!(file("-x").ends_with("overflow whatif './-x' --advise"));
        assert!(!file("a\u{1b}[31m").contains('\u{1b}'));
        assert!(offer(None).contains("--flight 30s --record run.rec"));
    }
}
