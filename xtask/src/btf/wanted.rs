//! What overflow asks of a kernel's BTF: the fields and slots of overflow-common's tables, and the
//! enumerators of overflow-core's `kernel/facts.rs`.

use overflow_common::{for_each_field, for_each_slot};

macro_rules! field_table {
    ($($name:ident: $structure:literal, $($path:literal)|+ $(, $how:ident $(($value:tt))?)?;)+) => {
        /// Constant, structure, and paths of members, of which the first that there is counts.
        pub const FIELDS: &[(&str, &str, &[&str])] =
            &[$((stringify!($name), $structure, &[$($path),+]),)+];
    };
}
macro_rules! slot_table {
    ($($name:ident: $($function:literal)|+, $what:literal;)+) => {
        /// Constant, functions or `btf_trace_*`, of which the first that has it counts, and a
        /// parameter's type or `return`.
        pub const SLOTS: &[(&str, &[&str], &str)] =
            &[$((stringify!($name), &[$($function),+], $what),)+];
    };
}
for_each_field!(field_table);
for_each_slot!(slot_table);

/// Constant and enumerator.
pub const ENUMERATORS: &[(&str, &str)] = &[
    ("STATE_LISTEN", "TCP_LISTEN"),
    ("STATE_SYN_RECV", "TCP_SYN_RECV"),
    ("STATE_ESTABLISHED", "TCP_ESTABLISHED"),
    ("STATE_NEW_SYN_RECV", "TCP_NEW_SYN_RECV"),
    ("FLAG_DEAD", "SOCK_DEAD"),
    ("MIB_LISTENOVERFLOWS", "LINUX_MIB_LISTENOVERFLOWS"),
    ("MIB_TCPREQQFULLDROP", "LINUX_MIB_TCPREQQFULLDROP"),
];

/// Enums whose names are shown, and what all of their enumerators begin with.
pub const REASONS: &[(&str, &str)] =
    &[("skb_drop_reason", "SKB_DROP_REASON_"), ("sk_rst_reason", "SK_RST_REASON_")];
