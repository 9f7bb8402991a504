//! The third ACK: through `tcp_check_req` (net/ipv4/tcp_minisocks.c) if a request waits for it,
//! else through `cookie_v4_check` (net/ipv4/syncookies.c). One record a segment, at the exit.
//!
//! # Minimum kernel version
//! fentry/fexit and kprobe: 5.10.

use aya_ebpf::{
    EbpfContext,
    macros::{fentry, fexit, kprobe, kretprobe},
    programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext},
};
use overflow_common::{
    Kind, Path, Rung,
    segment::{ACK, RST},
};

use super::timestamps;
use crate::{
    globals::{
        BARE, COOKIE_V4_CHECK_RETURN, COOKIE_V6_CHECK_RETURN, SKB_PROTOCOL, STATE_FIN_WAIT1,
        STATE_SYN_RECV, TCP_CHECK_REQ_RETURN,
    },
    read::{self, Memory, Probed, Typed},
    retry, skb, sock,
    state::{self, PathState},
    tally,
};

/// One of these is set where a child was tried: the segment itself was right.
const CHILD_TRIED: u32 = Path::SYN_RECV_SOCK_NULL | Path::SYN_RECV_SOCK_CHILD;

/// What a third ACK that became a child may have passed, where nothing is the matter.
const HEALTHY: u32 =
    Path::CHECK_REQ | Path::SYN_RECV_SOCK_CHILD | Path::QUEUE_ADD | Path::REQSK_DROP;

fn enter_check_req<M: Memory>(listener: u64, skb: u64, req: u64, rung: Rung) {
    // A Fast Open child asks for itself (tcp_rcv_state_process): it is in the accept queue since its
    // SYN.
    let state = sock::state::<M>(listener);
    if state == STATE_SYN_RECV.load() || state == STATE_FIN_WAIT1.load() {
        return;
    }
    // Of a client that was refused before, it is to be seen that it gets in.
    let v6 = M::exact::<u16>(skb, &SKB_PROTOCOL) != skb::ETH_P_IP;
    if BARE.load() != 0 && !retry::may_be_client::<M>(req, v6) {
        if let Some(state) = PathState::begin_bare::<M>(skb, listener, Kind::Ack, rung) {
            state.mark(Path::CHECK_REQ);
            state.event.req = req;
        }
        return;
    }
    if let Some(state) = PathState::begin::<M>(skb, listener, Kind::Ack, rung) {
        state.mark(Path::CHECK_REQ);
        sock::request::<M>(req, &mut state.event);
    }
}

fn exit_check_req<M: Memory>(listener: u64, skb: u64, returned: u64) {
    PathState::forget();
    if BARE.load() != 0
        && let Some(state) = state::current(Kind::Ack)
        && state.bare != 0
    {
        if returned != 0
            && returned != state.event.sk
            && state.event.path & !HEALTHY == 0
            && tally::healthy_ack::<M>(&state.event, listener, state.child.of(returned))
        {
            state.skb = 0;
            return;
        }
        // The caller holds the request, but where a child took its place: that one is counted alone.
        if !state.complete::<M>(listener, skb) {
            return;
        }
    }
    exit::<M>(
        listener,
        returned,
        [Path::CHECK_REQ_NULL, Path::CHECK_REQ_LISTENER, Path::CHECK_REQ_CHILD],
        Path::CHECK_REQ,
    );
}

fn enter_cookie_check<M: Memory>(listener: u64, skb: u64, rung: Rung) {
    if let Some(state) = PathState::begin::<M>(skb, listener, Kind::Ack, rung) {
        state.mark(Path::COOKIE_CHECK);
    }
}

fn exit_cookie_check<M: Memory>(listener: u64, returned: u64) {
    PathState::forget();
    exit::<M>(
        listener,
        returned,
        [Path::COOKIE_CHECK_NULL, Path::COOKIE_CHECK_LISTENER, Path::COOKIE_CHECK_CHILD],
        Path::COOKIE_CHECK,
    );
}

/// `bits` for a return of NULL, of the listener itself, and of a child; `entered` as a guard
/// against an exit whose entry was not followed.
#[inline(always)]
fn exit<M: Memory>(listener: u64, returned: u64, bits: [u32; 3], entered: u32) {
    let Some(state) = state::current(Kind::Ack) else { return };
    if !state.has(entered) {
        return;
    }
    state.after::<M>(listener);
    if returned == 0 {
        state.mark(bits[0]);
        if entered == Path::CHECK_REQ && !state.has(CHILD_TRIED) {
            state.event.valid |= timestamps::compare(state.skb, state.event.req) as u16;
        }
        state.counted();
        state.finish();
    } else if returned == state.event.sk {
        state.mark(bits[1]);
        // The segment goes on: to the cookie check, or to the RST that a listener answers an
        // unexpected ACK with. That hook ends the record. Without ACK, or with RST, nobody will.
        if state.event.tcp_flags & (ACK | RST) != ACK {
            state.finish();
        }
    } else {
        state.mark(bits[2]);
        // A child that MPTCP has just reset (dispose_child of subflow_syn_recv_sock) is in no queue.
        if !state.has(Path::SEND_RESET) && state.unwanted == 0 {
            tally::queued(&state.event, state.child.of(returned));
        }
        state.finish();
    }
}

/// (sk, skb, req, …): the first three are the same since v4.4.
#[fentry(function = "tcp_check_req")]
pub fn fentry_tcp_check_req(ctx: FEntryContext) -> u32 {
    enter_check_req::<Typed>(ctx.arg(0), ctx.arg(1), ctx.arg(2), Rung::Fentry);
    state::log(&ctx, "tcp_check_req");
    0
}

#[fexit(function = "tcp_check_req")]
pub fn fexit_tcp_check_req(ctx: FExitContext) -> u32 {
    let slot = TCP_CHECK_REQ_RETURN.load();
    if slot.exists() {
        let returned = read::slot(ctx.as_ptr(), slot, 0);
        exit_check_req::<Typed>(ctx.arg(0), ctx.arg(1), returned);
    }
    0
}

/// (sk, skb) since v4.4.
#[fentry(function = "cookie_v4_check")]
pub fn fentry_cookie_v4_check(ctx: FEntryContext) -> u32 {
    enter_cookie_check::<Typed>(ctx.arg(0), ctx.arg(1), Rung::Fentry);
    state::log(&ctx, "cookie_v4_check");
    0
}

#[fexit(function = "cookie_v4_check")]
pub fn fexit_cookie_v4_check(ctx: FExitContext) -> u32 {
    let slot = COOKIE_V4_CHECK_RETURN.load();
    if slot.exists() {
        let returned = read::slot(ctx.as_ptr(), slot, 0);
        exit_cookie_check::<Typed>(ctx.arg(0), returned);
    }
    0
}

#[fentry(function = "cookie_v6_check")]
pub fn fentry_cookie_v6_check(ctx: FEntryContext) -> u32 {
    enter_cookie_check::<Typed>(ctx.arg(0), ctx.arg(1), Rung::Fentry);
    0
}

#[fexit(function = "cookie_v6_check")]
pub fn fexit_cookie_v6_check(ctx: FExitContext) -> u32 {
    let slot = COOKIE_V6_CHECK_RETURN.load();
    if slot.exists() {
        let returned = read::slot(ctx.as_ptr(), slot, 0);
        exit_cookie_check::<Typed>(ctx.arg(0), returned);
    }
    0
}

#[kprobe]
pub fn kprobe_tcp_check_req(ctx: ProbeContext) -> u32 {
    if let (Some(listener), Some(skb), Some(req)) = (ctx.arg(0), ctx.arg(1), ctx.arg(2)) {
        enter_check_req::<Probed>(listener, skb, req, Rung::Kprobe);
    }
    0
}

#[kretprobe]
pub fn kretprobe_tcp_check_req(ctx: RetProbeContext) -> u32 {
    if let Some(state) = state::current(Kind::Ack) {
        exit_check_req::<Probed>(state.event.sk, state.skb, ctx.ret());
    }
    0
}

/// For both families.
#[kprobe]
pub fn kprobe_cookie_check(ctx: ProbeContext) -> u32 {
    if let (Some(listener), Some(skb)) = (ctx.arg(0), ctx.arg(1)) {
        enter_cookie_check::<Probed>(listener, skb, Rung::Kprobe);
    }
    0
}

/// For both families.
#[kretprobe]
pub fn kretprobe_cookie_check(ctx: RetProbeContext) -> u32 {
    if let Some(state) = state::current(Kind::Ack) {
        exit_cookie_check::<Probed>(state.event.sk, ctx.ret());
    }
    0
}
