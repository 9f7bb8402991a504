//! What a trace of overflows alone keeps per CPU, so that a healthy handshake costs next to
//! nothing: which listeners have dropped nothing since this CPU last looked.

use aya_ebpf::{btf_maps::PerCpuArray, macros::btf_map};

use crate::{number::Number, openers, read::Memory, sock};

/// One slot per CPU. Everything from a SYN or ACK to its verdict runs in one softirq on one CPU, so
/// nobody else touches the slot meanwhile; but for an RST from a socket's backlog, which a process
/// sends and a softirq may interrupt.
#[btf_map]
pub static DROPS: PerCpuArray<CpuState, 1> = PerCpuArray::new();

/// Listeners that are remembered per CPU; two in one place cost time, never exactness.
pub const SEEN: usize = 64;
/// Arguments of a function that is being executed, for the kretprobe at its end.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Arguments {
    /// The listener.
    pub sk: u64,
    /// The segment.
    pub skb: u64,
    /// The request.
    pub req: u64,
}

/// A listener as this CPU last saw it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Seen {
    /// Address of its `struct sock`.
    pub sk: u64,
    /// `sk_drops`, and in the high half how many listeners had been opened.
    pub drops: u64,
}

/// Who a listener is.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Known {
    /// Address of its `struct sock`.
    pub sk: u64,
    /// Its inode number, and in the high half how many listeners had been opened.
    pub ino: u64,
}

/// What one CPU knows.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CpuState {
    /// The SYN for which a cookie was just made; 0 for none, see `gate`.
    pub cookie: u64,
    /// The third ACK that is to be answered by RST; 0 for none.
    pub reset_due: u64,
    /// Its request.
    pub refused: u64,
    /// What this CPU counted for it, as path bits.
    pub refused_counted: u64,
    /// Listener and segment of `tcp_conn_request`, on the kprobe rung.
    pub conn_request: (u64, u64),
    /// `tcp_v4_syn_recv_sock` and its IPv6 twin, on the kprobe rung.
    pub syn_recv_sock: Arguments,
    /// For what is remembered of listeners.
    pub number: Number,
    /// Listeners, by [`Number::place`].
    pub seen: [Seen; SEEN],
    /// The same of those that dropped something.
    pub known: [Known; SEEN],
}

impl CpuState {
    /// This CPU's.
    #[inline(always)]
    pub fn get() -> Option<&'static mut Self> {
        // SAFETY: the slot is this CPU's own, and the hooks that use it run one after the other.
        DROPS.get_ptr_mut(0).map(|state| unsafe { &mut *state })
    }

    /// Inode number of a listener, see [`sock::inode`]. It stays the same as long as nobody has called
    /// `listen()`, and to read it costs a helper.
    #[inline(always)]
    pub fn inode<M: Memory>(&mut self, sk: u64) -> u32 {
        let opened = openers::opened() << 32;
        let known = &mut self.known[self.number.place(sk, SEEN)];
        if known.sk == sk && known.ino >> 32 == opened >> 32 {
            return known.ino as u32;
        }
        let ino = sock::inode::<M>(sk);
        if ino != 0 {
            *known = Known { sk, ino: opened | u64::from(ino) };
        }
        ino
    }
}
