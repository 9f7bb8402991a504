//! Whether third ACKs that are taken are to be looked at: some client's was dropped lately.

use crate::atomic::Word;

/// Set once a third ACK was dropped, or a SYN answered by a cookie, whose client may try again: from
/// then on third ACKs that are taken are looked at too, for those that recover. User space clears it when
/// none of them can any more; a section of its own is a map of its own.
#[unsafe(link_section = ".data.retry_pending")]
static RETRY_PENDING: Word = Word::new(0);

/// Whether a third ACK was dropped lately, or a cookie sent.
#[inline(always)]
pub fn pending() -> bool {
    RETRY_PENDING.load() != 0
}

/// A third ACK was dropped, or a SYN answered by a cookie.
#[inline(always)]
pub fn set_pending() {
    RETRY_PENDING.store(1);
}
