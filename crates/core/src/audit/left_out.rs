//! What the kernel side saw and left out, as what it adds to counters and why.

use overflow_common::LeftOut;

use super::ranges::Range;
use crate::verdict::Counter;

/// Why it was left out, as the end of a sentence that begins with a number.
pub(super) const NOT_ASKED_FOR: &str = "at listeners that were not asked for";

pub(super) const fn why(kind: LeftOut) -> &'static str {
    match kind {
        LeftOut::FilteredOverflow
        | LeftOut::FilteredDrop
        | LeftOut::FilteredQueueFull
        | LeftOut::FilteredCookie
        | LeftOut::FilteredReset
        | LeftOut::FilteredFastOpen => NOT_ASKED_FOR,
        LeftOut::UnaskedCookie => "SYN cookies that tcp_syncookies=2 asks for",
        LeftOut::FastOpenOverflow | LeftOut::FastOpenDrop => {
            "children that Fast Open tried at the SYN and did not get"
        }
        LeftOut::UnseenOverflow | LeftOut::UnseenDrop | LeftOut::UnseenQueueFull => {
            "dropped where no hook is, as third ACKs by SMC are"
        }
    }
}

/// What `count` of a kind add to a counter.
pub(super) fn range(kind: LeftOut, count: u64, counter: Counter) -> Range {
    let moves: &[Counter] = match kind {
        LeftOut::FilteredOverflow => &[Counter::ListenOverflows, Counter::ListenDrops],
        LeftOut::FilteredDrop | LeftOut::UnseenDrop => &[Counter::ListenDrops],
        LeftOut::FilteredQueueFull => &[Counter::ReqQFullDrop, Counter::ListenDrops],
        LeftOut::FilteredCookie | LeftOut::UnaskedCookie => {
            &[Counter::SyncookiesSent, Counter::ReqQFullDoCookies]
        }
        LeftOut::FilteredReset => &[Counter::EmbryonicRsts],
        LeftOut::FilteredFastOpen => &[
            Counter::FastOpenListenOverflow,
            Counter::FastOpenPassive,
            Counter::FastOpenPassiveFail,
        ],
        LeftOut::FastOpenOverflow => {
            &[Counter::ListenOverflows, Counter::ListenDrops, Counter::FastOpenPassiveFail]
        }
        LeftOut::FastOpenDrop => &[Counter::ListenDrops, Counter::FastOpenPassiveFail],
        LeftOut::UnseenOverflow => &[Counter::ListenOverflows],
        LeftOut::UnseenQueueFull => &[Counter::ReqQFullDrop],
    };
    if !moves.contains(&counter) {
        // A SYN that finds both queues full counts as a cookie before it is dropped
        // (tcp_conn_request), and the kernel side does not see which.
        let maybe = counter == Counter::ReqQFullDoCookies
            && matches!(kind, LeftOut::FilteredOverflow | LeftOut::FilteredDrop);
        return Range { least: 0, most: if maybe { count } else { 0 } };
    }
    if counter == Counter::EmbryonicRsts || kind == LeftOut::FilteredFastOpen {
        // As in `told`: the request may be gone already, and a SYN moves one of the three, or none.
        return Range { least: 0, most: count };
    }
    Range::exactly(count)
}
