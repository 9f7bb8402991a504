//! What must come out, from another reader of BTF: bpftool lists the types of the whole BTF, and the
//! members, arguments and enumerators are looked up in its list.
//!
//! Not by the C that it makes of them: before libbpf 1.2 padding at the end of a structure is lost
//! there, such as that of `struct ns_common` in Linux 7.3.

use std::{collections::BTreeMap, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use serde_json::Value;

use super::wanted;
use crate::{exec, tools::BPFTOOL};

/// What overflow-core must resolve; `null` is what this kernel does not have.
#[derive(Serialize)]
pub struct Expected {
    /// `uname -r`.
    kernel: String,
    fields: BTreeMap<&'static str, Option<Place>>,
    /// Places of arguments; a return value is after the last.
    slots: BTreeMap<&'static str, Option<usize>>,
    enumerators: BTreeMap<&'static str, Option<i64>>,
    /// By enum: every enumerator without its prefix.
    reasons: BTreeMap<&'static str, BTreeMap<String, i64>>,
}

/// Where a member lies in its structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Bits before it: 8 for each byte, but for a bitfield.
    first_bit: u64,
    /// Bits of an integer, an enum, a bool or a pointer; `null` of anything else, of which the address
    /// is meant.
    bits: Option<u64>,
}

/// Of the BTF in `file`.
pub fn of(release: &str, file: &Path) -> Result<Expected> {
    let json = exec::output(dump(file).arg("-j"))?;
    let json: Value = serde_json::from_str(&json).context("bpftool's JSON is not JSON")?;
    let types = json["types"].as_array().context("bpftool's JSON has no types")?;
    // Numbers are places in the list, which begins with 1.
    ensure!(types.iter().zip(1..).all(|(ty, id)| ty["id"] == id), "bpftool left types out");
    let types = Types(types);
    let mut fields = BTreeMap::new();
    for (constant, structure, paths) in wanted::FIELDS {
        let mut place = None;
        for path in *paths {
            if place.is_none() {
                place =
                    types.field(structure, path).with_context(|| format!("struct {structure}"))?;
            }
        }
        fields.insert(*constant, place);
    }
    let slot = |functions: &[&str], what| functions.iter().find_map(|f| types.slot(f, what));
    let slots = wanted::SLOTS.iter();
    let enumerators = wanted::ENUMERATORS.iter();
    let reasons = wanted::REASONS.iter();
    Ok(Expected {
        kernel: release.to_owned(),
        fields,
        slots: slots.map(|(name, functions, what)| (*name, slot(functions, what))).collect(),
        enumerators: enumerators.map(|(name, e)| (*name, types.enumerator(e))).collect(),
        reasons: reasons.map(|(name, prefix)| (*name, types.reasons(name, prefix))).collect(),
    })
}

/// Whether bpftool, too, takes a file for BTF.
pub fn is_btf(file: &Path) -> Result<()> {
    exec::output(dump(file).args(["format", "c"])).map(drop)
}

fn dump(btf: &Path) -> Command {
    let mut command = Command::new(BPFTOOL.program());
    command.args(["btf", "dump", "file"]).arg(btf);
    command
}

/// bpftool's list.
struct Types<'a>(&'a [Value]);

impl<'a> Types<'a> {
    fn named(&self, kind: &str, name: &str) -> impl Iterator<Item = &'a Value> {
        self.0.iter().filter(move |ty| ty["kind"] == kind && ty["name"] == name)
    }

    fn by_id(&self, id: &Value) -> Option<&'a Value> {
        self.0.get(usize::try_from(id.as_u64()?).ok()?.checked_sub(1)?)
    }

    /// Without typedefs and qualifiers.
    fn plain(&self, id: &Value) -> Option<&'a Value> {
        let mut ty = self.by_id(id)?;
        while let "TYPEDEF" | "CONST" | "VOLATILE" | "RESTRICT" | "TYPE_TAG" =
            ty["kind"].as_str()?
        {
            ty = self.by_id(&ty["type_id"])?;
        }
        Some(ty)
    }

    /// Structures of one name must agree.
    fn field(&self, structure: &str, path: &str) -> Result<Option<Place>> {
        let mut places = self.named("STRUCT", structure).map(|ty| self.place(ty, path));
        let first = places.next().flatten();
        ensure!(places.all(|place| place == first), "there are several that disagree about {path}");
        Ok(first)
    }

    fn place(&self, mut ty: &'a Value, path: &str) -> Option<Place> {
        let mut first_bit = 0;
        let mut width = 0;
        for name in path.split('.') {
            let (before, member) = self.member(ty, name)?;
            first_bit += before;
            width = member["bitfield_size"].as_u64().unwrap_or(0);
            ty = self.plain(&member["type_id"])?;
        }
        let bits = match ty["kind"].as_str()? {
            _ if width > 0 => Some(width),
            "PTR" => Some(64),
            "INT" | "ENUM" | "ENUM64" => Some(8 * ty["size"].as_u64()?),
            _ => None,
        };
        Some(Place { first_bit, bits })
    }

    /// A member and the bits before it, in anonymous members too.
    fn member(&self, ty: &'a Value, name: &str) -> Option<(u64, &'a Value)> {
        ty["members"].as_array()?.iter().find_map(|member| {
            let before = member["bits_offset"].as_u64()?;
            if member["name"] == name {
                return Some((before, member));
            }
            let inner = self.plain(&member["type_id"]).filter(|_| member["name"] == "(anon)")?;
            let (inside, found) = self.member(inner, name)?;
            Some((before + inside, found))
        })
    }

    /// Among the arguments of a function, or of a tracepoint without its first, its own data.
    fn slot(&self, function: &str, what: &str) -> Option<usize> {
        let (prototype, own) = if function.starts_with("btf_trace_") {
            let pointer = self.plain(&self.named("TYPEDEF", function).next()?["type_id"])?;
            (self.plain(&pointer["type_id"])?, 1)
        } else {
            (self.plain(&self.named("FUNC", function).next()?["type_id"])?, 0)
        };
        let arguments = prototype["params"].as_array()?.get(own..)?;
        if what == "return" {
            return Some(arguments.len());
        }
        arguments.iter().position(|argument| {
            self.plain(&argument["type_id"]).and_then(|ty| self.spelled(ty)).as_deref()
                == Some(what)
        })
    }

    fn spelled(&self, ty: &Value) -> Option<String> {
        match ty["kind"].as_str()? {
            "ENUM" | "ENUM64" => Some(format!("enum {}", ty["name"].as_str()?)),
            "PTR" => {
                let to = self.plain(&ty["type_id"]).filter(|to| to["kind"] == "STRUCT")?;
                Some(format!("struct {} *", to["name"].as_str()?))
            }
            _ => None,
        }
    }

    /// Of any enum.
    fn enumerator(&self, name: &str) -> Option<i64> {
        let mut values = self.0.iter().flat_map(|ty| values(ty).map(move |value| (ty, value)));
        let (ty, value) = values.find(|(_, value)| value["name"] == name)?;
        number(ty, value)
    }

    fn reasons(&self, name: &str, prefix: &str) -> BTreeMap<String, i64> {
        let ty = self.named("ENUM", name).chain(self.named("ENUM64", name)).next();
        let each = ty.into_iter().flat_map(|ty| values(ty).map(move |value| (ty, value)));
        let each = each.filter_map(|(ty, value)| {
            let name = value["name"].as_str()?;
            Some((name.strip_prefix(prefix).unwrap_or(name).to_owned(), number(ty, value)?))
        });
        each.collect()
    }
}

fn values(ty: &Value) -> impl Iterator<Item = &Value> {
    ty["values"].as_array().into_iter().flatten()
}

/// Before libbpf 1.2 bpftool extends the sign of unsigned enumerators.
fn number(ty: &Value, value: &Value) -> Option<i64> {
    let value = &value["val"];
    let number = value.as_i64().or_else(|| value.as_u64().map(u64::cast_signed))?;
    let unsigned = ty["kind"] == "ENUM" && ty["encoding"] == "UNSIGNED";
    Some(if unsigned { number & i64::from(u32::MAX) } else { number })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types() -> Value {
        serde_json::json!([
            {"kind": "STRUCT", "name": "sock", "members": [
                {"name": "a", "type_id": 3, "bits_offset": 0},
                {"name": "(anon)", "type_id": 10, "bits_offset": 64}]},
            {"kind": "PTR", "type_id": 1},
            {"kind": "INT", "name": "int", "size": 4},
            {"kind": "FUNC_PROTO", "ret_type_id": 0, "params":
                [{"type_id": 3}, {"type_id": 5}, {"type_id": 6}]},
            {"kind": "CONST", "type_id": 2},
            {"kind": "ENUM", "name": "why", "encoding": "UNSIGNED", "values": [
                {"name": "WHY_NOT", "val": 3},
                {"name": "WHY_MASK", "val": 18_446_744_073_709_486_080_u64}]},
            {"kind": "FUNC", "name": "f", "type_id": 4},
            {"kind": "PTR", "type_id": 4},
            {"kind": "TYPEDEF", "name": "btf_trace_t", "type_id": 8},
            {"kind": "UNION", "name": "(anon)", "members": [
                {"name": "b", "type_id": 5, "bits_offset": 0},
                {"name": "c", "type_id": 3, "bits_offset": 4, "bitfield_size": 3},
                {"name": "d", "type_id": 1, "bits_offset": 64}]},
        ])
    }

    #[test]
    fn members_are_found_in_anonymous_ones() {
        let types = types();
        let types = Types(types.as_array().unwrap());
        let place = |path| types.field("sock", path).unwrap().map(|p| (p.first_bit, p.bits));
        assert_eq!(place("a"), Some((0, Some(32))));
        assert_eq!(place("b"), Some((64, Some(64))));
        assert_eq!(place("c"), Some((68, Some(3))));
        assert_eq!(place("d"), Some((128, None)));
        assert_eq!(place("d.b"), Some((192, Some(64))));
        assert_eq!(place("e"), None);
    }

    #[test]
    fn slots_and_enumerators_are_looked_up() {
        let types = types();
        let types = Types(types.as_array().unwrap());
        assert_eq!(types.slot("f", "return"), Some(3));
        assert_eq!(types.slot("f", "struct sock *"), Some(1));
        assert_eq!(types.slot("btf_trace_t", "struct sock *"), Some(0));
        assert_eq!(types.slot("btf_trace_t", "enum why"), Some(1));
        assert_eq!(types.slot("f", "enum other"), None);
        assert_eq!(types.slot("g", "return"), None);
        assert_eq!(types.enumerator("WHY_NOT"), Some(3));
        let reasons = [("NOT".to_owned(), 3), ("MASK".to_owned(), 0xffff_0000)];
        assert_eq!(types.reasons("why", "WHY_"), BTreeMap::from(reasons));
    }
}
