//! How text output looks here: colour, symbols, width.

use std::env;

use overflow_core::text::{style::Options, wrap::WIDTH};

/// Options for text on stdout; `terminal` says whether that is a terminal.
pub(super) fn options(terminal: bool) -> Options {
    let set = |name: &str| env::var_os(name).is_some_and(|v| !v.is_empty());
    let color = terminal && !set("NO_COLOR") && env::var_os("TERM").is_none_or(|t| t != "dumb");
    Options { width: WIDTH, color, unicode: unicode() }
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
