//! Every load-time constant: user space overrides all of them before load.

use aya_ebpf::Global;
use overflow_common::{Field, Slot, for_each_enumerator, for_each_field, for_each_slot};

macro_rules! declare_fields {
    ($($name:ident: $structure:literal, $($path:literal)|+
        $(, $how:ident $(($value:tt))?)?;)+) => {
        $(
            #[unsafe(no_mangle)]
            pub static $name: Global<Field> = Global::new(Field::MISSING);
            $($(declare_mask!($how $value);)?)?
        )+
    };
}
/// The bit of a field's byte that is the field.
macro_rules! declare_mask {
    (bit $name:ident) => {
        #[unsafe(no_mangle)]
        pub static $name: Global<u8> = Global::new(0);
    };
    (exact $size:literal) => {};
    (exact_in_all $size:literal) => {};
}
macro_rules! declare_slots {
    ($($name:ident: $($function:literal)|+, $what:literal;)+) => {
        $(#[unsafe(no_mangle)] pub static $name: Global<Slot> = Global::new(Slot::MISSING);)+
    };
}
/// 0 is what an enumerator has that user space does not know.
macro_rules! declare_enumerators {
    ($($name:ident: $of:literal, $($enumerator:literal)|+
        $(, $how:ident $(($value:tt))?)?;)+) => {
        $(#[unsafe(no_mangle)] pub static $name: Global<u8> = Global::new(0);)+
    };
}

for_each_field!(declare_fields);
for_each_slot!(declare_slots);
for_each_enumerator!(declare_enumerators);

/// 1: only the local ports in the `PORTS` map.
#[unsafe(no_mangle)]
pub static FILTER_PORT: Global<u8> = Global::new(0);

/// 1: not the listeners in the `EXCLUDED` map.
#[unsafe(no_mangle)]
pub static FILTER_EXCLUDED: Global<u8> = Global::new(0);

/// Only IP of this version, 4 or 6; 0 means both.
#[unsafe(no_mangle)]
pub static FILTER_FAMILY: Global<u8> = Global::new(0);

/// 1: only connections to the addresses in the `ADDRESSES` map.
#[unsafe(no_mangle)]
pub static FILTER_ADDRESS: Global<u8> = Global::new(0);

/// 1: only the network namespaces in the `NETNS` map.
#[unsafe(no_mangle)]
pub static FILTER_NETNS: Global<u8> = Global::new(0);

/// 1: the tracepoint rung reports healthy handshakes too; 0: only where something was dropped,
/// reset or resent. The other rungs have programs of their own for each.
#[unsafe(no_mangle)]
pub static EMIT_ALL: Global<u8> = Global::new(0);

/// 1: count segments and queues in the kernel.
#[unsafe(no_mangle)]
pub static AGGREGATE: Global<u8> = Global::new(0);

/// 1: healthy handshakes are counted only, not reported.
#[unsafe(no_mangle)]
pub static QUIET: Global<u8> = Global::new(0);

/// 1: of a healthy handshake nothing but its number is of interest, of any listener: [`AGGREGATE`],
/// [`QUIET`], and no filter but that by network namespace.
#[unsafe(no_mangle)]
pub static BARE: Global<u8> = Global::new(0);
