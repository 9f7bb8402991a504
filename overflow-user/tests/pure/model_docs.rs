//! docs/why-distributions-differ.md is what the model says, and the model says what was measured.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use flate2::read::GzDecoder;
use overflow_core::explain::{Lang, docs};
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn the_pages_are_not_stale() {
    for lang in [Lang::En, Lang::Zh] {
        let path = root().join("docs").join(docs::file_name(lang));
        let page = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            page == docs::page(lang),
            "{} is stale; run `cargo run -- explain --write-docs docs`",
            path.display()
        );
    }
}

/// The seed experiment on this kernel, as the measurements have it, in the table's letters.
fn measured(kernel: &str, syncookies: u8, abort: u8) -> Vec<String> {
    let name = format!("tests/data/ground-truth/{kernel}.jsonl.gz");
    let file = File::open(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
    let lines = BufReader::new(GzDecoder::new(file)).lines();
    let scenarios = lines.map(|l| serde_json::from_str::<Value>(&l.unwrap()).unwrap());
    let is = |s: &Value, field: &str, n: u64| s[field].as_u64() == Some(n);
    let seed = scenarios.filter(|s| {
        s["variant"] == "base"
            && is(s, "backlog", 1)
            && is(s, "burst", 5)
            && is(s, "prefill", 0)
            && is(s, "delay_ms", 200)
            && is(s, "client_bytes", 0)
            && is(s, "syncookies", syncookies.into())
            && is(s, "abort", abort.into())
    });
    seed.map(|s| {
        let classes = s["classes"].as_array().unwrap().iter().map(|c| letter(c.as_str().unwrap()));
        classes.collect::<Vec<_>>().join(" ")
    })
    .collect()
}

fn letter(class: &str) -> String {
    let (word, late) = match class.strip_suffix("(syn_rexmit)") {
        Some(word) => (word, "*"),
        None => (class, ""),
    };
    let letter = match word {
        "ACCEPTED" => "A",
        "RST_ON_ACK" | "RST_ON_DATA" => "R",
        "ACK_DROPPED_REXMIT" => "D",
        "ACK_DROPPED_COOKIE" => "C",
        "SYN_DROPPED" => "S",
        other => panic!("unknown class {other}"),
    };
    format!("{letter}{late}")
}

#[test]
fn measured_rows_were_measured() {
    for kernel in docs::measured() {
        for (syncookies, abort) in docs::CELLS {
            let runs = measured(kernel, syncookies, abort);
            assert!(!runs.is_empty(), "{kernel}: the seed experiment was not measured");
            let expected = docs::letters(kernel, syncookies, abort);
            for run in runs {
                assert_eq!(run, expected, "{kernel}, syncookies={syncookies}, abort={abort}");
            }
        }
    }
}
