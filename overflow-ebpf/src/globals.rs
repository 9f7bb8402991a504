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

/// Only this local port; 0 means every port.
#[unsafe(no_mangle)]
pub static FILTER_PORT: Global<u16> = Global::new(0);

/// 1: only the network namespaces in the `NETNS` map.
#[unsafe(no_mangle)]
pub static FILTER_NETNS: Global<u8> = Global::new(0);

/// 1: emit healthy moments too; 0: only those where something was dropped, reset or resent.
#[unsafe(no_mangle)]
pub static EMIT_ALL: Global<u8> = Global::new(0);

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
