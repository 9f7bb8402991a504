//! Our list of kernel fields, slots and enumerators, resolved from BTF. What is missing is named.

use overflow_common::{EXACT_FIELDS, Field, OPTIONAL_FIELDS, Slot, for_each_field, for_each_slot};

use super::btf::{Btf, BtfError};
use crate::tcp_state::TcpState;

/// One value to be injected into the eBPF object before load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Constant {
    /// A field's place.
    Field(Field),
    /// An argument's or return value's slot.
    Slot(Slot),
    /// An enumerator's value.
    Value(u8),
}

/// Everything the eBPF side and the decoder need to know of this kernel.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// (name of the global, value) for every constant.
    pub constants: Vec<(&'static str, Constant)>,
    /// Fields this kernel does not have, as `structure.path`: a loss to be shown.
    pub missing: Vec<String>,
    /// Fields that are not of the size that the eBPF side takes for granted, or without which its
    /// proofs fail: (global, `structure.path`).
    pub unfit: Vec<(&'static str, String)>,
    /// `enum skb_drop_reason`, by value, without the `SKB_DROP_REASON_` prefix.
    pub drop_reasons: Vec<(u32, String)>,
    /// `enum sk_rst_reason`, by value, without the `SK_RST_REASON_` prefix.
    pub reset_reasons: Vec<(u32, String)>,
}

macro_rules! field_table {
    ($($name:ident: $structure:literal, $path:literal;)+) => {
        const FIELDS: &[(&str, &str, &str)] = &[$((stringify!($name), $structure, $path),)+];
    };
}
macro_rules! slot_table {
    ($($name:ident: $function:literal, $what:literal;)+) => {
        const SLOTS: &[(&str, &str, &str)] = &[$((stringify!($name), $function, $what),)+];
    };
}
for_each_field!(field_table);
for_each_slot!(slot_table);

/// TCP states of `include/net/tcp_states.h`, an enum without a name.
const STATES: &[(&str, TcpState)] = &[
    ("STATE_LISTEN", TcpState::Listen),
    ("STATE_SYN_RECV", TcpState::SynRecv),
    ("STATE_ESTABLISHED", TcpState::Established),
    ("STATE_NEW_SYN_RECV", TcpState::NewSynRecv),
];

impl Facts {
    /// Resolves the whole list. A missing field is noted; ambiguity and damage are errors.
    pub fn resolve(btf: &Btf) -> Result<Self, BtfError> {
        let mut facts = Self::default();
        for &(name, structure, path) in FIELDS {
            let mut field = btf.field(structure, path)?;
            if name == "REQ_ACKED"
                && let Some(bit) = field
            {
                let (byte, mask) = byte_of(bit);
                field = Some(byte);
                facts.constants.push(("REQ_ACKED_MASK", Constant::Value(mask)));
            }
            if field.is_none() && !OPTIONAL_FIELDS.contains(&name) {
                facts.missing.push(format!("{structure}.{path}"));
            }
            let exact = EXACT_FIELDS.iter().find(|(exact, _)| *exact == name);
            if exact.is_some_and(|(_, size)| !is_exactly(field, *size)) {
                facts.unfit.push((name, format!("{structure}.{path}")));
            }
            facts.constants.push((name, Constant::Field(field.unwrap_or(Field::MISSING))));
        }
        for &(name, function, what) in SLOTS {
            facts.constants.push((name, Constant::Slot(btf.slot(function, what)?)));
        }
        for (name, enumerator) in STATES.iter().map(|(name, state)| (*name, state.kernel_name())) {
            match btf.anonymous_enumerator(enumerator)?.and_then(|v| u8::try_from(v).ok()) {
                Some(value) => facts.constants.push((name, Constant::Value(value))),
                None => facts.missing.push(enumerator.to_owned()),
            }
        }
        let dead = btf.enumerators("sock_flags")?.into_iter().find(|(name, _)| name == "SOCK_DEAD");
        match dead.and_then(|(_, bit)| u8::try_from(bit).ok()) {
            Some(bit) => facts.constants.push(("FLAG_DEAD", Constant::Value(bit))),
            None => facts.missing.push("SOCK_DEAD".to_owned()),
        }
        if let Some(counters) = counters(btf)? {
            facts.constants.extend(counters);
        } else {
            let name = "LINUX_MIB_LISTENOVERFLOWS";
            facts.missing.push(name.to_owned());
            facts.unfit.push((name, name.to_owned()));
        }
        facts.drop_reasons = reasons(btf, "skb_drop_reason", "SKB_DROP_REASON_")?;
        facts.reset_reasons = reasons(btf, "sk_rst_reason", "SK_RST_REASON_")?;
        Ok(facts)
    }
}

/// The byte that holds a field of one bit, and the bit in it.
fn byte_of(bit: Field) -> (Field, u8) {
    let byte = bit.offset() + u64::from(bit.shift() / 8);
    let byte = u32::try_from(byte).unwrap_or(u32::MAX);
    (Field::whole(byte, 1), 1 << (bit.shift() % 8))
}

/// Whether a load of `size` bytes gets the field, and it alone; of a longer integer, its low byte.
fn is_exactly(field: Option<Field>, size: u8) -> bool {
    field.is_some_and(|field| {
        let whole = field.shift() == 0 && field.width() == field.size() * 8;
        whole && (field.size() == size || size == 1)
    })
}

/// Places of the counters in `struct linux_mib`. The eBPF side reads the first two with one load.
fn counters(btf: &Btf) -> Result<Option<[(&'static str, Constant); 2]>, BtfError> {
    let place = |name: &str| -> Result<Option<u8>, BtfError> {
        Ok(btf.anonymous_enumerator(name)?.and_then(|v| u8::try_from(v).ok()))
    };
    let (overflows, drops) = (place("LINUX_MIB_LISTENOVERFLOWS")?, place("LINUX_MIB_LISTENDROPS")?);
    let queue_full = place("LINUX_MIB_TCPREQQFULLDROP")?;
    let (Some(overflows), Some(drops), Some(queue_full)) = (overflows, drops, queue_full) else {
        return Ok(None);
    };
    Ok((drops == overflows + 1).then_some([
        ("MIB_LISTENOVERFLOWS", Constant::Value(overflows)),
        ("MIB_TCPREQQFULLDROP", Constant::Value(queue_full)),
    ]))
}

fn reasons(btf: &Btf, name: &str, prefix: &str) -> Result<Vec<(u32, String)>, BtfError> {
    let enumerators = btf.enumerators(name)?;
    Ok(enumerators
        .into_iter()
        .filter_map(|(name, value)| {
            let short = name.strip_prefix(prefix).unwrap_or(&name).to_owned();
            Some((u32::try_from(value).ok()?, short))
        })
        .collect())
}
