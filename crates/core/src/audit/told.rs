//! What a verdict told the counters to be: the catalog's effects, made exact by what the event
//! itself shows.

use overflow_common::{Kind, Path};

use super::ranges::{Range, Ranges};
use crate::{
    decode::Event,
    verdict::{Counter, VerdictId},
};

/// Adds what `count` events like this one, judged as `id`, add to the counters.
pub(super) fn add(sum: &mut Ranges, event: &Event, id: VerdictId, count: u64) {
    let mut add = |counter, least: u64, most: u64| {
        let range = Range { least: least.saturating_mul(count), most: most.saturating_mul(count) };
        sum.add(counter, range);
    };
    for effect in id.counters() {
        let exact = if id.is_later() { None } else { counted(event.path, effect.counter) };
        match (exact, effect.counter) {
            (Some(n), counter) => add(counter, n, n),
            // Counted only if the request was still there to be removed
            // (inet_csk_reqsk_queue_drop in net/ipv4/inet_connection_sock.c): another CPU's copy of
            // the segment, or the request's timer, may have been first.
            (None, Counter::EmbryonicRsts) => add(Counter::EmbryonicRsts, 0, effect.max),
            (None, counter) => add(counter, effect.min, effect.max),
        }
    }
    if event.kind == Kind::Syn && event.path.has(Path::SYN_RECV_SOCK_NULL) {
        // Fast Open tried a child that it did not get (tcp_v4_syn_recv_sock counts why); the SYN
        // went on, and became what `id` says.
        add(Counter::ListenDrops, 1, 1);
        add(Counter::ListenOverflows, 0, 1);
        if id.counters().iter().all(|effect| effect.counter != Counter::FastOpenPassiveFail) {
            add(Counter::FastOpenPassiveFail, 1, 1);
        }
    }
}

/// What this CPU's own counters rose by with the segment, where the kernel side compared them.
fn counted(path: Path, counter: Counter) -> Option<u64> {
    let bit = match counter {
        Counter::ListenOverflows => Path::COUNTED_OVERFLOW,
        Counter::ListenDrops => Path::COUNTED_DROP,
        Counter::ReqQFullDrop => Path::COUNTED_QUEUE_FULL,
        Counter::ReqQFullDoCookies
        | Counter::SyncookiesSent
        | Counter::SyncookiesRecv
        | Counter::SyncookiesFailed
        | Counter::EmbryonicRsts
        | Counter::OutRsts
        | Counter::PassiveOpens
        | Counter::DeferAcceptDrop
        | Counter::FastOpenListenOverflow
        | Counter::FastOpenPassive
        | Counter::FastOpenPassiveFail => return None,
    };
    path.has(Path::COUNTED).then(|| path.has(bit).into())
}
