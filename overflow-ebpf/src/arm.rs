//! Whether what hooks see is judged. They are attached one after the other, and what is under way
//! meanwhile passes some of them only: nothing is reported before the last one is attached, nor after
//! the first one is gone.

use overflow_common::Phase;

use crate::atomic::Word;

/// A [`Phase`], set by user space; a section of its own is a map of its own.
#[unsafe(link_section = ".data.armed")]
static ARMED: Word = Word::new(Phase::Attaching as u64);

/// Whether all hooks are attached.
#[inline(always)]
pub fn armed() -> bool {
    ARMED.load() == Phase::Judging as u64
}

/// Whether the counters are left as they are, to be compared.
#[inline(always)]
pub fn is_over() -> bool {
    ARMED.load() == Phase::Over as u64
}
