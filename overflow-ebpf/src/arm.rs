//! Whether what hooks see is judged. They are attached one after the other, and what is under way
//! meanwhile passes some of them only: nothing is reported before the last one is attached, nor after
//! the first one is gone.

use crate::atomic::Word;

/// Set by user space; a section of its own is a map of its own.
#[unsafe(link_section = ".data.armed")]
static ARMED: Word = Word::new(0);

/// Whether all hooks are attached.
#[inline(always)]
pub fn armed() -> bool {
    ARMED.load() != 0
}
