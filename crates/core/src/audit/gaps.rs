//! What a trace does not watch, counter by counter: the rest of a rise that nobody promised to tell.

use std::collections::BTreeMap;

use overflow_common::Rung;
use serde::{Deserialize, Serialize};

use super::left_out::NOT_ASKED_FOR;
use crate::{
    hook_point::HookPoint,
    verdict::{Counter, Shown, VerdictId},
};

/// How much a trace looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched {
    /// Every handshake (`--all`, `--summary`, `top`), and not overflows alone.
    pub everything: bool,
    /// Not every listener of a namespace was asked for.
    pub filtered: bool,
    /// The kernel side counts what it leaves out ([`super::Look::left_out`]).
    pub counts_left_out: bool,
    /// Listeners that were there before the trace are watched.
    pub older_listeners: bool,
}

/// Something that makes a counter rise and is not told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    /// What it is, as the end of a sentence that begins with a number.
    pub(super) why: String,
    /// It also makes this counter rise, so there is no more of it.
    pub(super) at_most: Option<Counter>,
}

/// What of a counter's rise this trace does not tell; what has a bound comes first. `surveyed`: what no
/// hook has seen was read of every CPU.
pub(super) fn gaps(
    counter: Counter,
    watched: Watched,
    rungs: &BTreeMap<HookPoint, Option<Rung>>,
    surveyed: bool,
) -> Vec<Gap> {
    let mut found: Vec<Gap> = Vec::new();
    let mut gap = |why: &str| found.push(Gap { why: why.to_owned(), at_most: None });
    let rung = |point: &HookPoint| rungs.get(point).copied().flatten();
    let by_tracepoints = points(counter).iter().any(|p| rung(p) == Some(Rung::Tracepoint));
    for point in points(counter).iter().filter(|point| rung(point).is_none()) {
        gap(&format!("at a hook point that is not observable here ({})", point.as_str()));
    }
    for why in unseen(counter, by_tracepoints, watched.everything) {
        gap(why);
    }
    if watched.counts_left_out && !surveyed && counter == Counter::ListenDrops {
        gap("dropped where no hook is, on a CPU that has looked at its counters no more since");
    }
    if !watched.counts_left_out {
        for why in uncounted(counter, by_tracepoints, watched.everything) {
            gap(why);
        }
        if watched.filtered {
            gap(NOT_ASKED_FOR);
        }
    }
    if !watched.older_listeners {
        gap("at listeners that are older than this trace, which the tracepoint rung does not know");
    }
    if by_tracepoints && matches!(counter, Counter::ListenOverflows | Counter::ListenDrops) {
        let why = "children that Fast Open tried at the SYN and did not get, which no tracepoint \
                   shows";
        let bounded = Gap { why: why.to_owned(), at_most: Some(Counter::FastOpenPassiveFail) };
        found.insert(0, bounded);
    }
    found
}

/// The hook points whose verdicts move a counter.
fn points(counter: Counter) -> Vec<HookPoint> {
    let mut points = Vec::new();
    for id in VerdictId::ALL {
        if let Shown::By(point) = id.shown_by()
            && id.counters().iter().any(|effect| effect.counter == counter)
            && !points.contains(&point)
        {
            points.push(point);
        }
    }
    points
}

const REFUSED_FAST_OPEN: &str = "SYNs that Fast Open refused and that went on as ordinary ones, which is not reported by default";

/// What the hooks do not see or report of a counter, by how the trace looks.
const fn unseen(
    counter: Counter,
    by_tracepoints: bool,
    everything: bool,
) -> &'static [&'static str] {
    match (counter, by_tracepoints, everything) {
        (Counter::EmbryonicRsts, true, _) => {
            &["requests that a client's RST ended, which no tracepoint shows"]
        }
        (Counter::ReqQFullDoCookies | Counter::SyncookiesSent, true, _) => &[
            "SYN cookies that waited for a neighbour's address, which tracepoints do not show to be any",
        ],
        (Counter::EmbryonicRsts, false, false) => &[
            "requests that a client's RST, or a SYN in their window, ended: they are reported with \
             --all",
        ],
        (Counter::FastOpenListenOverflow | Counter::FastOpenPassiveFail, _, false) => {
            &[REFUSED_FAST_OPEN]
        }
        (Counter::FastOpenPassive, _, false) => {
            &["healthy connections by Fast Open, which are reported with --all"]
        }
        (
            Counter::EmbryonicRsts
            | Counter::FastOpenListenOverflow
            | Counter::FastOpenPassiveFail
            | Counter::FastOpenPassive,
            _,
            true,
        )
        | (
            Counter::ListenOverflows
            | Counter::ListenDrops
            | Counter::ReqQFullDrop
            | Counter::ReqQFullDoCookies
            | Counter::SyncookiesSent
            | Counter::SyncookiesRecv
            | Counter::SyncookiesFailed
            | Counter::OutRsts
            | Counter::PassiveOpens
            | Counter::DeferAcceptDrop,
            _,
            _,
        ) => &[],
    }
}

/// What the kernel side would count as left out if it counted that.
const fn uncounted(
    counter: Counter,
    by_tracepoints: bool,
    everything: bool,
) -> &'static [&'static str] {
    match counter {
        Counter::ListenDrops => &["dropped where no hook is, as third ACKs by SMC are"],
        Counter::ReqQFullDoCookies | Counter::SyncookiesSent if !by_tracepoints && !everything => {
            &["SYN cookies that tcp_syncookies=2 asks for, which are not reported by default"]
        }
        Counter::ReqQFullDoCookies
        | Counter::SyncookiesSent
        | Counter::ListenOverflows
        | Counter::ReqQFullDrop
        | Counter::SyncookiesRecv
        | Counter::SyncookiesFailed
        | Counter::EmbryonicRsts
        | Counter::OutRsts
        | Counter::PassiveOpens
        | Counter::DeferAcceptDrop
        | Counter::FastOpenListenOverflow
        | Counter::FastOpenPassive
        | Counter::FastOpenPassiveFail => &[],
    }
}
