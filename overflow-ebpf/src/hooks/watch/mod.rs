//! Overflows alone, at a cost nobody notices: two hooks on a healthy handshake's way, which look and
//! return, and a few where only what was hurt passes.
//!
//! A SYN is judged at `tcp_conn_request`'s exit, a third ACK at `tcp_v4_syn_recv_sock`'s. Whether it
//! was this segment that was dropped, and for which queue, this CPU's counters prove
//! (`watch/counters.rs`): no other hook has to see the way in between.
//!
//! # Minimum kernel version
//! fexit and kprobe: 5.10. `tcp_v4_syn_recv_sock` with seven arguments as in `child.rs`.

mod ack;
mod error;
mod fentry;
mod kprobe;
mod reset;
mod syn;

use aya_ebpf::helpers::generated::bpf_skc_to_tcp_request_sock;
use overflow_common::{Event, Rung, valid};

use crate::{
    filter,
    globals::{
        NET_INUM, REQ_ACKED, REQ_ACKED_MASK, SOCK_ACK_BACKLOG, SOCK_MAX_ACK_BACKLOG, SOCK_NET,
        SOCK_NUM, STATE_LISTEN,
    },
    read::{Memory, Probed, Typed},
};

/// A rung that these bodies run on.
trait On: Memory {
    const RUNG: Rung;

    /// The request at full length, beyond `struct request_sock`; 0 if it is none.
    fn request(req: u64) -> u64;

    /// `acked` of a request: a third ACK of it was dropped, or put off by TCP_DEFER_ACCEPT.
    #[inline(always)]
    fn acked(req: u64) -> bool {
        let req = Self::request(req);
        req != 0 && Self::exact::<u8>(req, &REQ_ACKED) as u8 & REQ_ACKED_MASK.load() != 0
    }
}

impl On for Typed {
    const RUNG: Rung = Rung::Fentry;

    #[inline(always)]
    fn request(req: u64) -> u64 {
        // SAFETY: the verifier knows that it is a request, and learns by this helper (since v5.9)
        // of which kind.
        unsafe { bpf_skc_to_tcp_request_sock(req as *mut _) as u64 }
    }
}

impl On for Probed {
    const RUNG: Rung = Rung::Kprobe;

    #[inline(always)]
    fn request(req: u64) -> u64 {
        req
    }
}

/// A listener that is to be traced.
#[derive(Clone, Copy)]
struct Listener {
    sk: u64,
    netns: u32,
    /// `sk_ack_backlog`.
    len: u32,
    /// `sk_max_ack_backlog`.
    max: u32,
}

impl Listener {
    /// `None` if it is filtered out.
    #[inline(always)]
    fn at<M: On>(sk: u64, net: u64) -> Option<Self> {
        let netns = M::exact::<u32>(net, &NET_INUM) as u32;
        if !filter::wants(M::exact::<u16>(sk, &SOCK_NUM) as u16, netns) {
            return None;
        }
        let (len, max) = Self::queue::<M>(sk);
        Some(Self { sk, netns, len, max })
    }

    /// Length and limit of its accept queue.
    #[inline(always)]
    fn queue<M: On>(sk: u64) -> (u32, u32) {
        let len = M::exact::<u32>(sk, &SOCK_ACK_BACKLOG);
        (len as u32, M::exact::<u32>(sk, &SOCK_MAX_ACK_BACKLOG) as u32)
    }

    /// Its `struct net`.
    #[inline(always)]
    fn net<M: On>(sk: u64) -> u64 {
        M::exact::<u64>(sk, &SOCK_NET)
    }

    #[inline(always)]
    fn tell(self, event: &mut Event) {
        event.sk = self.sk;
        event.sk_state = STATE_LISTEN.load();
        event.netns = self.netns;
        event.before.ack_backlog = self.len;
        event.before.max_ack_backlog = self.max;
        event.valid |= valid::ACCEPT_QUEUE;
    }
}
