//! The SYN-ACK again: `tcp_rtx_synack`, by its tracepoint `tcp_retransmit_synack(sk, req)`, which
//! is the same on every rung.
//!
//! # Minimum kernel version
//! tp_btf: 5.10 (the tracepoint: 4.15).

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use overflow_common::{Event, Kind, Rung};

use crate::{emit, filter, sock};

#[btf_tracepoint(function = "tcp_retransmit_synack")]
pub fn tp_tcp_retransmit_synack(ctx: BtfTracePointContext) -> u32 {
    let (listener, req): (u64, u64) = (ctx.arg(0), ctx.arg(1));
    request_moment(listener, req, Kind::SynAckRetransmit, Rung::Tracepoint, 0);
    0
}

/// A record about a request, outside any segment's decision. It does not use the path state: the
/// timer can run while a segment is being followed.
#[inline(always)]
pub fn request_moment(listener: u64, req: u64, kind: Kind, rung: Rung, path: u32) {
    let mut event = Event::EMPTY;
    if sock::tuple(req, &mut event).is_none()
        || !filter::wants(event.server_port, event.netns)
        || !filter::wants_segment(&event)
    {
        return;
    }
    emit::begin(&mut event, kind, rung);
    event.path = path;
    sock::request(req, &mut event);
    if listener != 0 {
        event.sk = listener;
        event.sk_state = sock::state(listener);
        let (queue, read) = sock::queue(listener);
        event.before = queue;
        event.valid |= read;
    }
    emit::record(&event);
}
