//! What is resolved from real kernels' BTF, against what another reader says of the same types.
//!
//! `data/btf/KERNEL.btf.gz` is an excerpt of that kernel's BTF, `KERNEL.json` what must come out. Both
//! are written by `cargo xtask btf-excerpt`, the second without overflow: from bpftool's list of the
//! whole BTF.
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "a test may read files")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
};

use flate2::read::GzDecoder;
use overflow_common::{Field, Slot};
use overflow_core::kernel::{Btf, Constant, Facts};
use serde::Deserialize;

/// What kernels lack: built without what it belongs to, or older than it.
const OPTIONAL: &[&str] =
    &["TCP_IS_MPTCP", "TCP_SYN_SMC", "MSK_FIRST", "REQ_TSVAL_FIRST", "REQ_TSVAL_LAST"];

#[derive(Deserialize)]
struct Expected {
    fields: BTreeMap<String, Option<Place>>,
    slots: BTreeMap<String, Option<u8>>,
    enumerators: BTreeMap<String, Option<u8>>,
    reasons: BTreeMap<String, BTreeMap<String, u32>>,
}

/// Where a member lies in its structure.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Place {
    first_bit: u32,
    /// Bits of a number or a pointer; of anything else the address is meant.
    bits: Option<u32>,
}

impl Place {
    /// Whether a field is this place. What is meant by its address counts as 8 bytes.
    fn is(self, field: Field) -> bool {
        let shift = u64::from(field.shift());
        field.exists()
            && field.shift() + field.width() <= 8 * field.size()
            && field.offset() * 8 + shift == u64::from(self.first_bit)
            && u32::from(field.width()) == self.bits.unwrap_or(64)
    }
}

/// The kernels there are excerpts of, such as `6.12.118-arm64`.
fn kernels() -> Vec<(String, PathBuf)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/btf");
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut kernels: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
        .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), path))
        .collect();
    kernels.sort();
    kernels
}

fn expected(path: &Path) -> Expected {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn facts(path: &Path) -> Facts {
    let mut blob = Vec::new();
    let file = File::open(path.with_extension("btf.gz")).unwrap();
    GzDecoder::new(file).read_to_end(&mut blob).unwrap();
    Facts::resolve(&Btf::parse(blob).unwrap()).unwrap()
}

/// Every kernel's differences, of which there must be none.
fn check(differences: impl Fn(&Expected, &Facts) -> Vec<String>) {
    let mut all = Vec::new();
    for (kernel, path) in kernels() {
        let found = differences(&expected(&path), &facts(&path));
        all.extend(found.into_iter().map(|difference| format!("{kernel}: {difference}")));
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
}

#[test]
fn old_and_new_kernels_of_both_architectures_are_there() {
    let kernels = kernels();
    for kernel in ["5.10.", "6.1.", "6.12.", "7.3."] {
        let of_series =
            |arch| move |(name, _): &(String, _)| name.starts_with(kernel) && name.ends_with(arch);
        assert!(kernels.iter().any(of_series("-amd64")), "{kernel}");
    }
    for kernel in ["5.10.", "6.12."] {
        let arm = |(name, _): &(String, _)| name.starts_with(kernel) && name.ends_with("-arm64");
        assert!(kernels.iter().any(arm), "{kernel}");
    }
}

#[test]
fn fields_lie_where_bpftool_sees_them() {
    check(|expected, facts| {
        let mut differences = Vec::new();
        for (name, constant) in &facts.constants {
            let Constant::Field(field) = *constant else { continue };
            let Some(place) = expected.fields.get(*name) else { continue };
            let right = match place {
                None => !field.exists(),
                // Given as its byte; the bit is another constant.
                Some(place) if *name == "REQ_ACKED" => {
                    let mask = Constant::Value(1 << (place.first_bit % 8));
                    place.bits == Some(1)
                        && field == Field::whole(place.first_bit / 8, 1)
                        && facts.constants.contains(&("REQ_ACKED_MASK", mask))
                }
                Some(place) => place.is(field),
            };
            if !right {
                differences.push(format!("{name} is {field:?}, expected {place:?}"));
            }
        }
        differences
    });
}

#[test]
fn slots_and_enumerators_are_those_of_the_kernel() {
    check(|expected, facts| {
        let mut differences = Vec::new();
        for (name, constant) in &facts.constants {
            let wanted = match constant {
                Constant::Field(_) => continue,
                Constant::Slot(_) => {
                    let slot = expected.slots.get(*name);
                    slot.map(|slot| Constant::Slot(slot.map_or(Slot::MISSING, Slot)))
                }
                Constant::Value(_) => {
                    let value = expected.enumerators.get(*name).copied().flatten();
                    value.map(Constant::Value)
                }
            };
            if wanted.is_some_and(|wanted| wanted != *constant) {
                differences.push(format!("{name} is {constant:?}, expected {wanted:?}"));
            }
        }
        differences
    });
}

#[test]
fn reasons_have_the_kernels_names() {
    check(|expected, facts| {
        let resolved =
            [("skb_drop_reason", &facts.drop_reasons), ("sk_rst_reason", &facts.reset_reasons)];
        let mut differences = Vec::new();
        for (name, reasons) in resolved {
            let reasons: BTreeMap<_, _> =
                reasons.iter().map(|(value, name)| (name.clone(), *value)).collect();
            let expected = &expected.reasons[name];
            let odd = reasons.iter().filter(|(name, value)| expected.get(*name) != Some(*value));
            differences.extend(odd.map(|(reason, value)| format!("{name} has {reason} = {value}")));
            if reasons.len() != expected.len() {
                differences.push(format!("{name} has {} of {}", reasons.len(), expected.len()));
            }
        }
        differences
    });
}

#[test]
fn what_is_missing_is_named_and_nothing_is_unfit() {
    check(|expected, facts| {
        let fields = expected.fields.iter().filter(|(_, place)| place.is_none());
        let fields = fields.filter(|(name, _)| !OPTIONAL.contains(&name.as_str()));
        let enumerators = expected.enumerators.values().filter(|value| value.is_none());
        let missing = fields.count() + enumerators.count();
        let mut differences: Vec<_> =
            facts.unfit.iter().map(|(_, name)| format!("{name} is unfit")).collect();
        if facts.missing.len() != missing {
            differences.push(format!("{missing} are missing, not {:?}", facts.missing));
        }
        differences
    });
}

#[test]
fn the_expectations_are_of_what_is_asked_for() {
    check(|expected, facts| {
        let asked: BTreeSet<&str> = facts.constants.iter().map(|(name, _)| *name).collect();
        let names = expected.fields.keys().chain(expected.slots.keys());
        let mut known: BTreeSet<&str> =
            names.chain(expected.enumerators.keys()).map(String::as_str).collect();
        known.insert("REQ_ACKED_MASK");
        let again = "run `cargo xtask btf-excerpt` again";
        let unknown = asked.difference(&known).map(|name| format!("{name} is new: {again}"));
        unknown
            .chain(known.difference(&asked).map(|name| format!("{name} is gone: {again}")))
            .collect()
    });
}
