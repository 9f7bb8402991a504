//! What the documents repeat of the catalog: `UPDATE_EXPECT=1` writes it anew.
#![expect(clippy::disallowed_methods, reason = "a test may read files")]

use std::{env, fs, path::PathBuf};

use crate::verdict::{VerdictId, WirePattern};

/// The parts of a document before, in and after what stands between `from` and the `until` that
/// follows it.
fn part<'a>(text: &'a str, from: &str, until: &str) -> [&'a str; 3] {
    let start = text.find(from).expect(from) + from.len();
    let end = start + text[start..].find(until).expect(until);
    [&text[..start], &text[start..end], &text[end..]]
}

/// Compares a part of a file below `docs/`.
fn check(name: &str, from: &str, until: &str, expected: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
    let text = fs::read_to_string(&path).unwrap();
    let [before, found, after] = part(&text, from, until);
    if found != expected && env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, [before, expected, after].concat()).unwrap();
        return;
    }
    assert_eq!(found, expected, "docs/{name}: run again with UPDATE_EXPECT=1 and look at the diff");
}

#[test]
fn the_schema_lists_every_id() {
    let ids: Vec<String> = VerdictId::ALL.iter().map(|id| format!("        \"{id}\"")).collect();
    let from = "\"verdict\": {\n      \"type\": \"string\",\n      \"enum\": [\n";
    check("events.schema.json", from, "\n      ]", &ids.join(",\n"));
}

#[test]
fn the_table_of_wire_patterns_is_the_catalogs() {
    let row = |pattern: &WirePattern| {
        let ids: Vec<String> = pattern.admitted().map(|id| format!("`{id}`")).collect();
        let ids = if ids.is_empty() { "none".to_owned() } else { ids.join(", ") };
        format!("| `{}` | {} | {ids} |\n", pattern.text(), pattern.words())
    };
    let rows: String = WirePattern::ALL.iter().map(row).collect();
    let from = "| `witnesses.packets` | on the wire | verdicts that look so |\n|---|---|---|\n";
    check("events.md", from, "\n## ", &rows);
}
