//! Every load-time constant: user space overrides all of them before load.

use aya_ebpf::Global;
use overflow_common::{Field, Slot, for_each_field, for_each_slot};

macro_rules! declare_fields {
    ($($name:ident: $structure:literal, $path:literal;)+) => {
        $(#[unsafe(no_mangle)] pub static $name: Global<Field> = Global::new(Field::MISSING);)+
    };
}
macro_rules! declare_slots {
    ($($name:ident: $function:literal, $what:literal;)+) => {
        $(#[unsafe(no_mangle)] pub static $name: Global<Slot> = Global::new(Slot::MISSING);)+
    };
}

for_each_field!(declare_fields);
for_each_slot!(declare_slots);

/// 1: only the local ports in the `PORTS` map.
#[unsafe(no_mangle)]
pub static FILTER_PORT: Global<u8> = Global::new(0);

/// 1: not the listeners in the `OTHERS` map.
#[unsafe(no_mangle)]
pub static FILTER_OTHERS: Global<u8> = Global::new(0);

/// Only IP of this version, 4 or 6; 0 means both.
#[unsafe(no_mangle)]
pub static FILTER_FAMILY: Global<u8> = Global::new(0);

/// 1: only connections to the addresses in the `ADDRESSES` map.
#[unsafe(no_mangle)]
pub static FILTER_ADDRESS: Global<u8> = Global::new(0);

/// 1: only the network namespaces in the `NETNS` map.
#[unsafe(no_mangle)]
pub static FILTER_NETNS: Global<u8> = Global::new(0);

/// 1: the tracepoint rung reports healthy moments too; 0: only those where something was dropped,
/// reset or resent. The other rungs have hooks of their own for each.
#[unsafe(no_mangle)]
pub static EMIT_ALL: Global<u8> = Global::new(0);

/// 1: count moments and queues in the kernel.
#[unsafe(no_mangle)]
pub static AGGREGATE: Global<u8> = Global::new(0);

/// 1: healthy moments are counted only, not reported.
#[unsafe(no_mangle)]
pub static QUIET: Global<u8> = Global::new(0);

/// The bit of `REQ_ACKED`'s byte that is the field.
#[unsafe(no_mangle)]
pub static REQ_ACKED_MASK: Global<u8> = Global::new(0);

/// SYNs to look at for a new listener: so many that every CPU is likely to have had one.
#[unsafe(no_mangle)]
pub static LESSONS: Global<u32> = Global::new(0);

/// `TCP_LISTEN` of the kernel's enum, from BTF.
#[unsafe(no_mangle)]
pub static STATE_LISTEN: Global<u8> = Global::new(0);

/// `TCP_SYN_RECV`.
#[unsafe(no_mangle)]
pub static STATE_SYN_RECV: Global<u8> = Global::new(0);

/// `TCP_ESTABLISHED`.
#[unsafe(no_mangle)]
pub static STATE_ESTABLISHED: Global<u8> = Global::new(0);

/// `TCP_NEW_SYN_RECV`: the state of a request.
#[unsafe(no_mangle)]
pub static STATE_NEW_SYN_RECV: Global<u8> = Global::new(0);

/// `LINUX_MIB_LISTENOVERFLOWS`, with `LINUX_MIB_LISTENDROPS` right after it; 0 if that, or the
/// next, is not so on this kernel.
#[unsafe(no_mangle)]
pub static MIB_LISTENOVERFLOWS: Global<u8> = Global::new(0);

/// `LINUX_MIB_TCPREQQFULLDROP`.
#[unsafe(no_mangle)]
pub static MIB_TCPREQQFULLDROP: Global<u8> = Global::new(0);

/// `SOCK_DEAD`: the bit of `sk_flags`.
#[unsafe(no_mangle)]
pub static FLAG_DEAD: Global<u8> = Global::new(0);
