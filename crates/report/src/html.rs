//! Text in a page: the one place where what came from outside is made harmless.

use maud::{Escaper, Render};
use overflow_core::text::untrusted::escape;
use std::fmt::Write as _;

/// A text as a page may show it: what is no character of its own is written out as `\u001b`, as in
/// every other output, and what is HTML is no HTML any more.
///
/// Maud escapes whatever is spliced into a page, and has no other way to a page than through
/// `PreEscaped`, which is used for this crate's own style sheet alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown<'a>(pub(crate) &'a str);

impl Render for Shown<'_> {
    fn render_to(&self, page: &mut String) {
        let _ = Escaper::new(page).write_str(&escape(self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use maud::html;
    use overflow_core::text::untrusted::is_harmless;

    #[test]
    fn markup_and_controls_are_words() {
        let page = html! { p title=(Shown("\" onload=\"x")) { (Shown("<b>&\u{202e}\x1b")) } };
        assert_eq!(
            page.into_string(),
            r#"<p title="&quot; onload=&quot;x">&lt;b&gt;&amp;\u202e\u001b</p>"#
        );
    }

    /// Whatever the text is: no tag begins in it, no attribute ends in it, and what a browser reads
    /// is what may be shown.
    #[test]
    fn random_texts_stay_texts() {
        let mut random = fastrand::Rng::with_seed(17);
        let favourites = ['<', '>', '&', '"', '\'', '=', '`', '\0', '\n', '\u{202e}', '\u{9b}'];
        for _ in 0..20_000 {
            let text: String = (0..random.usize(..24))
                .map(|_| {
                    if random.bool() {
                        favourites[random.usize(..favourites.len())]
                    } else {
                        random.char(..)
                    }
                })
                .collect();
            let shown = html! { (Shown(&text)) }.into_string();
            assert!(!shown.contains(['<', '>', '"']), "{text:?}: {shown}");
            assert!(shown.chars().all(is_harmless), "{text:?}: {shown}");
            let read = ["&lt;", "<", "&gt;", ">", "&quot;", "\"", "&amp;", "&"];
            let read = read.chunks(2).fold(shown, |text, pair| text.replace(pair[0], pair[1]));
            assert_eq!(read, escape(&text));
        }
    }
}
