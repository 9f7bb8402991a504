//! How text output looks here: colour, symbols, width.

use std::{env, io};

use overflow_core::text::{style::Options, wrap::WIDTH};

/// Nobody reads a page that is narrower.
const NARROWEST: usize = 40;

/// Options for text on stdout; `terminal` says whether that is a terminal.
pub(super) fn options(terminal: bool) -> Options {
    let set = |name: &str| env::var_os(name).is_some_and(|v| !v.is_empty());
    let color = terminal && !set("NO_COLOR") && env::var_os("TERM").is_none_or(|t| t != "dumb");
    Options { width: if terminal { width() } else { WIDTH }, color, unicode: unicode() }
}

/// Columns of the terminal on stdout, where it has fewer than a page: text flows, rather than being broken
/// inside of words.
fn width() -> usize {
    let columns = rustix::termios::tcgetwinsize(io::stdout()).map_or(0, |size| size.ws_col.into());
    if columns == 0 { WIDTH } else { WIDTH.min(columns).max(NARROWEST) }
}

/// Whether the locale is UTF-8; the first of these variables that is set decides (locale(7)).
fn unicode() -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .find_map(|name| env::var(name).ok().filter(|v| !v.is_empty()));
    // No locale at all is the bare environment of a container or an initramfs, whose reader is a
    // terminal that nearly always shows UTF-8; C and POSIX were asked for.
    locale.is_none_or(|l| {
        let l = l.to_ascii_lowercase();
        l.contains("utf-8") || l.contains("utf8")
    })
}
