//! The two rungs that these bodies run on: what differs between them.

use aya_ebpf::helpers::generated::bpf_skc_to_tcp_request_sock;
use overflow_common::Rung;

use crate::{
    globals::{REQ_ACKED, REQ_ACKED_MASK},
    read::{Memory, Probed, Typed},
};

/// How a program is attached, and by that how it may read.
pub trait AttachMode: Memory {
    /// Its rung.
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

impl AttachMode for Typed {
    const RUNG: Rung = Rung::Fentry;

    #[inline(always)]
    fn request(req: u64) -> u64 {
        // SAFETY: the verifier knows that it is a request, and learns by this helper (since v5.9)
        // of which kind.
        unsafe { bpf_skc_to_tcp_request_sock(req as *mut _) as u64 }
    }
}

impl AttachMode for Probed {
    const RUNG: Rung = Rung::Kprobe;

    #[inline(always)]
    fn request(req: u64) -> u64 {
        req
    }
}
