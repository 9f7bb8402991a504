//! Our list of kernel fields, slots and enumerators, resolved from BTF. What is missing is named.

use overflow_common::{
    ENUMERATORS, EnumeratorRow, FIELDS, Field, FieldRow, Reading, SLOTS, Slot, SlotRow,
};

use super::btf::{Btf, BtfError};

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

/// Which programs take something for granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NeededBy {
    /// All: they read segments.
    All,
    /// Those that trace overflows alone.
    Drops,
}

/// Everything the eBPF side and the decoder need to know of this kernel.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// (name of the global, value) for every constant.
    pub constants: Vec<(&'static str, Constant)>,
    /// Fields this kernel does not have, as `structure.path`: a loss to be shown.
    pub missing: Vec<String>,
    /// Fields that are not of the size that the eBPF side takes for granted, or without which its
    /// proofs fail: (which programs, `structure.path`).
    pub unfit: Vec<(NeededBy, String)>,
    /// `enum skb_drop_reason`, by value, without the `SKB_DROP_REASON_` prefix.
    pub drop_reasons: Vec<(u32, String)>,
    /// `enum sk_rst_reason`, by value, without the `SK_RST_REASON_` prefix.
    pub reset_reasons: Vec<(u32, String)>,
}

impl Facts {
    /// Resolves the whole list. A missing field is noted; ambiguity and damage are errors.
    pub fn resolve(btf: &Btf) -> Result<Self, BtfError> {
        let mut facts = Self::default();
        FIELDS.iter().try_for_each(|row| facts.field(btf, row))?;
        SLOTS.iter().try_for_each(|row| facts.slot(btf, row))?;
        ENUMERATORS.iter().try_for_each(|row| facts.enumerator(btf, row))?;
        facts.drop_reasons = reasons(btf, "skb_drop_reason", "SKB_DROP_REASON_")?;
        facts.reset_reasons = reasons(btf, "sk_rst_reason", "SK_RST_REASON_")?;
        Ok(facts)
    }

    fn field(&mut self, btf: &Btf, row: &FieldRow) -> Result<(), BtfError> {
        let mut field = first(row.paths, |path| btf.field(row.structure, path))?;
        if let (Reading::Bit(mask), Some(bit)) = (row.reading, field) {
            let (byte, value) = byte_of(bit);
            field = Some(byte);
            self.constants.push((mask, Constant::Value(value)));
        }
        let name = format!("{}.{}", row.structure, row.paths.join(" or "));
        if field.is_none() && row.reading != Reading::Optional {
            self.missing.push(name.clone());
        }
        if row.reading.exact().is_some_and(|size| !is_exactly(field, size)) {
            let by = match row.reading {
                Reading::ExactInAll(_) => NeededBy::All,
                Reading::BySize | Reading::Optional | Reading::Exact(_) | Reading::Bit(_) => {
                    NeededBy::Drops
                }
            };
            self.unfit.push((by, name));
        }
        self.constants.push((row.global, Constant::Field(field.unwrap_or(Field::MISSING))));
        Ok(())
    }

    fn slot(&mut self, btf: &Btf, row: &SlotRow) -> Result<(), BtfError> {
        let slot = first(row.functions, |function| {
            Ok(Some(btf.slot(function, row.what)?).filter(|slot| slot.exists()))
        })?;
        self.constants.push((row.global, Constant::Slot(slot.unwrap_or(Slot::MISSING))));
        Ok(())
    }

    fn enumerator(&mut self, btf: &Btf, row: &EnumeratorRow) -> Result<(), BtfError> {
        let value = first(row.names, |name| enumerator(btf, row.of, name))?;
        let next = row.counter.and_then(|counter| counter.next);
        let next = next.map(|next| enumerator(btf, row.of, next)).transpose()?;
        let in_order = next.is_none_or(|next| next.is_some() && next == value.map(|v| v + 1));
        let Some(value) = value.filter(|_| in_order).and_then(|value| u8::try_from(value).ok())
        else {
            let name = row.names.join(" or ");
            self.missing.push(name.clone());
            if row.counter.is_some() {
                self.unfit.push((NeededBy::Drops, name));
            }
            return Ok(());
        };
        self.constants.push((row.global, Constant::Value(value)));
        Ok(())
    }
}

/// What the first of `names` that this kernel has gives.
fn first<T>(
    names: &[&str],
    find: impl Fn(&str) -> Result<Option<T>, BtfError>,
) -> Result<Option<T>, BtfError> {
    names.iter().find_map(|name| find(name).transpose()).transpose()
}

/// An enumerator's value; `of` is its enum, if that has a name.
fn enumerator(btf: &Btf, of: Option<&str>, name: &str) -> Result<Option<i64>, BtfError> {
    let Some(of) = of else { return btf.anonymous_enumerator(name) };
    let found = btf.enumerators(of)?.into_iter().find(|(enumerator, _)| enumerator == name);
    Ok(found.map(|(_, value)| value))
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

#[cfg(test)]
mod tests {
    use overflow_common::Counter;

    use super::*;

    /// BTF of `struct s { u32 old; u32 low:3; u32 flag:1; }`, `enum { TCP_A = 1,
    /// NEXT = 2, FAR = 9 }`, `enum e { OLD = 4 }` and `void f(void)`.
    fn btf() -> Btf {
        const INT: u32 = 1 << 24;
        const STRUCT: u32 = 4 << 24;
        const ENUM: u32 = 6 << 24;
        const FUNC: u32 = 12 << 24;
        const FUNC_PROTO: u32 = 13 << 24;
        const BITFIELDS: u32 = 1 << 31;
        let mut strings = vec![0];
        let mut name = |s: &str| {
            let at = u32::try_from(strings.len()).unwrap();
            strings.extend(s.bytes().chain([0]));
            at
        };
        let bits = |width: u32, at: u32| width << 24 | at;
        let words = [
            vec![name("u32"), INT, 4, 32],
            vec![name("s"), BITFIELDS | STRUCT | 3, 8],
            vec![name("old"), 1, 0, name("low"), 1, bits(3, 32), name("flag"), 1, bits(1, 35)],
            vec![0, ENUM | 3, 4, name("TCP_A"), 1, name("NEXT"), 2, name("FAR"), 9],
            vec![name("e"), ENUM | 1, 4, name("OLD"), 4],
            vec![0, FUNC_PROTO, 1],
            vec![name("f"), FUNC, 5],
        ];
        let types: Vec<u8> = words.iter().flatten().flat_map(|word| word.to_le_bytes()).collect();
        let (types_len, strings_len) = (types.len(), strings.len());
        let [types_len, strings_len] = [types_len, strings_len].map(|n| u32::try_from(n).unwrap());
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        for word in [24, 0, types_len, types_len, strings_len] {
            bytes.extend(u32::to_le_bytes(word));
        }
        bytes.extend(types);
        bytes.extend(strings);
        Btf::parse(bytes).unwrap()
    }

    fn field(paths: &'static [&'static str], reading: Reading) -> Facts {
        let mut facts = Facts::default();
        facts.field(&btf(), &FieldRow { global: "G", structure: "s", paths, reading }).unwrap();
        facts
    }

    #[test]
    fn the_first_path_that_the_kernel_has_is_taken() {
        let old = ("G", Constant::Field(Field::whole(0, 4)));
        for paths in [&["old"][..], &["new", "old"], &["new.inner", "old", "low"]] {
            let facts = field(paths, Reading::Exact(4));
            assert_eq!(facts.constants, [old], "{paths:?}");
            assert!(facts.missing.is_empty() && facts.unfit.is_empty(), "{paths:?}");
        }
        let low = field(&["low", "old"], Reading::BySize);
        assert_eq!(low.constants, [("G", Constant::Field(Field::bits(4, 1, 0, 3)))]);
    }

    #[test]
    fn a_field_under_no_known_name_is_missing_by_all_of_them() {
        let facts = field(&["new", "newer"], Reading::BySize);
        assert_eq!(facts.constants, [("G", Constant::Field(Field::MISSING))]);
        assert_eq!((facts.missing, facts.unfit), (vec!["s.new or newer".to_owned()], vec![]));
        let optional = field(&["new"], Reading::Optional);
        assert!(optional.missing.is_empty() && optional.unfit.is_empty());
    }

    #[test]
    fn what_is_read_without_asking_must_have_its_size() {
        let unfit = |path: &'static [&'static str], reading| field(path, reading).unfit;
        let old = |by| vec![(by, "s.old".to_owned())];
        assert_eq!(unfit(&["old"], Reading::Exact(4)), []);
        // Of a longer integer, its low byte.
        assert_eq!(unfit(&["old"], Reading::Exact(1)), []);
        assert_eq!(unfit(&["old"], Reading::Exact(8)), old(NeededBy::Drops));
        assert_eq!(unfit(&["old"], Reading::ExactInAll(8)), old(NeededBy::All));
        assert_eq!(unfit(&["low"], Reading::Exact(1)).len(), 1);
        assert_eq!(unfit(&["new"], Reading::ExactInAll(8)).len(), 1);
    }

    #[test]
    fn a_bit_is_given_as_its_byte_and_a_mask() {
        let facts = field(&["flag"], Reading::Bit("MASK"));
        let byte = Constant::Field(Field::whole(4, 1));
        assert_eq!(facts.constants, [("MASK", Constant::Value(1 << 3)), ("G", byte)]);
        assert!(facts.unfit.is_empty());
        assert_eq!(field(&["new"], Reading::Bit("MASK")).unfit.len(), 1);
    }

    #[test]
    fn slots_and_enumerators_have_alternatives_too() {
        let mut facts = Facts::default();
        let slot = |functions| SlotRow { global: "S", functions, what: "return" };
        facts.slot(&btf(), &slot(&["g", "f"])).unwrap();
        facts.slot(&btf(), &slot(&["g"])).unwrap();
        let row = |of, names| EnumeratorRow { global: "E", of, names, counter: None };
        facts.enumerator(&btf(), &row(None, &["TCP_B", "TCP_A"])).unwrap();
        facts.enumerator(&btf(), &row(Some("e"), &["NEW", "OLD"])).unwrap();
        facts.enumerator(&btf(), &row(Some("e"), &["TCP_A", "NEW"])).unwrap();
        let slots = [Slot(0), Slot::MISSING].map(|slot| ("S", Constant::Slot(slot)));
        let values = [1, 4].map(|value| ("E", Constant::Value(value)));
        assert_eq!(facts.constants, [slots, values].concat());
        assert_eq!((facts.missing, facts.unfit), (vec!["TCP_A or NEW".to_owned()], vec![]));
    }

    #[test]
    fn counters_that_are_read_together_must_be_neighbours() {
        let counter = |name, next| {
            let (names, counter) = (name, Some(Counter { next }));
            let mut facts = Facts::default();
            let row = EnumeratorRow { global: "C", of: None, names, counter };
            facts.enumerator(&btf(), &row).unwrap();
            facts
        };
        let known = [("C", Constant::Value(1))];
        assert_eq!(counter(&["TCP_A"], Some("NEXT")).constants, known);
        assert_eq!(counter(&["TCP_A"], None).constants, known);
        for (names, next) in
            [(&["TCP_A"], Some("FAR")), (&["TCP_A"], Some("NONE")), (&["NONE"], Some("NEXT"))]
        {
            let facts = counter(names, next);
            assert!(facts.constants.is_empty());
            assert_eq!(facts.unfit, [(NeededBy::Drops, names[0].to_owned())]);
            assert_eq!(facts.missing, [names[0]]);
        }
        assert_eq!(counter(&["NONE"], None).unfit.len(), 1);
    }
}
