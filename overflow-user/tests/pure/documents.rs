//! What documents say against what is so: JSON lines and their schema, alerts and topics.

use std::process::Command;

use overflow_core::{explain::topics::Topic, verdict::VerdictId};
use serde_json::Value;

use crate::support::schema;

/// What the program prints to stdout; it must succeed.
fn printed(line: &str) -> String {
    let output =
        Command::new(env!("CARGO_BIN_EXE_overflow")).args(line.split(' ')).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Commands that need neither privileges nor a recording; the others are checked where they run.
#[test]
fn every_line_of_commands_that_only_tell_is_in_the_schema() {
    let root = schema::shipped();
    for (line, kinds) in [
        ("predict --kernel centos7", "prediction prediction_summary"),
        ("predict --kernel rocky9 --payload 9 --prefill 1", "prediction prediction_summary"),
        ("predict --compare centos7,ubuntu18.04", "divergence"),
        ("predict --compare 5.10.223,5.4.289", "divergence"),
        ("explain", "topic"),
        ("explain syn.cookie --lang zh", "topic"),
        ("explain syn.drop --lang en", "topic"),
        ("lab --list-scenarios", "scenario"),
    ] {
        let text = printed(&format!("{line} --output json"));
        let mut seen: Vec<String> = Vec::new();
        for line in text.lines() {
            let value: Value = serde_json::from_str(line).expect(line);
            schema::check(&root, &root, &value).unwrap_or_else(|e| panic!("{line}: {e}"));
            let kind = value["type"].as_str().unwrap().to_owned();
            if !seen.contains(&kind) {
                seen.push(kind);
            }
        }
        assert_eq!(seen.join(" "), kinds, "{line}");
    }
}

/// Words in quotes after any of these beginnings.
fn quoted<'a>(text: &'a str, beginning: &str, end: char) -> Vec<&'a str> {
    text.split(beginning).skip(1).filter_map(|rest| rest.split(end).next()).collect()
}

#[test]
fn alerts_name_verdicts_and_topics_that_there_are() {
    let alerts = include_str!("../../../deploy/prometheus-alerts.yaml");
    let mut verdicts = 0;
    for beginning in ["verdict=\"", "verdict=~\""] {
        for id in quoted(alerts, beginning, '"').iter().flat_map(|ids| ids.split('|')) {
            assert!(VerdictId::parse(id).is_some(), "{id}");
            verdicts += 1;
        }
    }
    assert!(verdicts >= 3, "{verdicts}");
    let topics = quoted(alerts, "`overflow explain ", '`');
    assert!(!topics.is_empty());
    let documents = [
        include_str!("../../../README.md"),
        include_str!("../../../README.zh-CN.md"),
        include_str!("../../../docs/metrics.md"),
    ];
    let elsewhere = documents.iter().flat_map(|text| quoted(text, "`overflow explain ", '`'));
    for topic in topics.into_iter().chain(elsewhere) {
        let placeholder =
            topic.starts_with(['[', '-', '{']) || topic.chars().any(char::is_uppercase);
        assert!(placeholder || Topic::find(topic).is_some(), "{topic}");
    }
    // The one that counts as full what explain says is full.
    let kernel = Topic::find("syn-queue-limit").unwrap();
    assert!(kernel.title(overflow_core::explain::Lang::En).contains("SYN queue"));
}

/// Each kind of line has its section, and each field of a kind its row.
#[test]
fn every_kind_of_line_is_documented() {
    let root = schema::shipped();
    let text = include_str!("../../../docs/events.md");
    for kind in root["oneOf"].as_array().unwrap() {
        let kind = kind["$ref"].as_str().unwrap().rsplit('/').next().unwrap();
        let (_, section) = text
            .split_once(&format!("\n## {kind}\n"))
            .unwrap_or_else(|| panic!("docs/events.md has no section {kind}"));
        let section = section.split("\n## ").next().unwrap();
        for field in root["$defs"][kind]["properties"].as_object().unwrap().keys() {
            let common = ["type", "v"].contains(&field.as_str());
            let named = section.contains(&format!("`{field}`"))
                || section.contains(&format!("`{field}."))
                || section.contains(&format!("`{field}["));
            assert!(common || named, "docs/events.md, {kind}: {field}");
        }
    }
}
