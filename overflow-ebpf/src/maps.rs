//! Every map.

use aya_ebpf::{
    btf_maps::{HashMap, LruHashMap, PerCpuArray, RingBuf},
    macros::btf_map,
};
use overflow_common::{Event, Loss, Signature, Tally, Waiting};

use crate::state::PathState;

/// Records on their way to user space. The size is a default; user space sets it before load.
#[btf_map]
pub static EVENTS: RingBuf<Event, 262_144> = RingBuf::new();

/// The segment that this CPU is handling. One is enough: everything from `tcp_v4_rcv` to the
/// verdict runs in one softirq on one CPU.
#[btf_map]
pub static STATE: PerCpuArray<PathState, 1> = PerCpuArray::new();

/// What could not be reported, by [`Loss`].
#[btf_map]
pub static LOSSES: PerCpuArray<u64, { Loss::COUNT as usize }> = PerCpuArray::new();

/// The timer whose handler runs on this CPU, for the kretprobe at its end.
#[btf_map]
pub static TIMERS: PerCpuArray<u64, 1> = PerCpuArray::new();

/// Network namespaces to trace, by inode number; used if `FILTER_NETNS` is set.
#[btf_map]
pub static NETNS: HashMap<u32, u8, 1024> = HashMap::new();

/// Local ports to trace, host order; used if `FILTER_PORT` is set.
#[btf_map]
pub static PORTS: HashMap<u16, u8, 1024> = HashMap::new();

/// Local addresses to trace, as in [`Event::server`]; used if `FILTER_ADDRESS` is set.
#[btf_map]
pub static ADDRESSES: HashMap<[u8; 16], u8, 1024> = HashMap::new();

/// Listeners not to trace, because their owner is known and not meant; used if `FILTER_OTHERS` is
/// set. One that nobody knows yet is traced.
#[btf_map]
pub static OTHERS: HashMap<ListenerKey, u8, 16384> = HashMap::new();

/// Moments by signature; used if `AGGREGATE` is set.
#[btf_map]
pub static COUNTS: HashMap<Signature, u64, 16384> = HashMap::new();

/// Accept queues, by the address of the listener's `struct sock`.
#[btf_map]
pub static TALLIES: HashMap<u64, Tally, 4096> = HashMap::new();

/// Where a new [`TALLIES`] entry is made: too large for the stack. Only what says whose it is is
/// ever written.
#[btf_map]
pub static BLANK: PerCpuArray<Tally, 1> = PerCpuArray::new();

/// Children in accept queues, by the address of their `struct sock`. The oldest make room: those of
/// a listener that was closed are never taken.
#[btf_map]
pub static CHILDREN: LruHashMap<u64, Waiting, 65536> = LruHashMap::new();

/// Listeners seen by `inet_sock_set_state`, for the tracepoint rung: [`ListenerKey`] to the
/// address of the `struct sock`.
#[btf_map]
pub static LISTENERS: HashMap<ListenerKey, u64, 4096> = HashMap::new();

/// Where a listener listens.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ListenerKey {
    /// Inode number of its network namespace.
    pub netns: u32,
    /// Its port, host order.
    pub port: u32,
}
