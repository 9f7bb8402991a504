//! Two scenarios end to end, by the command itself: what must come out, and what the JSON says.
//!
//! Needs the privileges of the lab and of a tracer; says so and passes where they are missing.

use std::process::Command;

use serde_json::Value;

/// The JSON lines of `overflow lab ARGS`, or `None` with the reason printed if it cannot run here.
fn lab(args: &[&str]) -> Option<Vec<Value>> {
    let output = Command::new(env!("CARGO_BIN_EXE_overflow"))
        .args(["lab", "--output", "json"])
        .args(args)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    if lines.is_empty() {
        eprintln!("skipped: {errors}");
        return None;
    }
    assert!(output.status.success(), "{errors}\n{lines:#?}");
    Some(lines)
}

fn of_type<'a>(lines: &'a [Value], name: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["type"] == name).collect()
}

#[test]
fn scenarios_come_out_as_foretold_in_every_family() {
    for family in ["ipv4", "ipv6", "mapped"] {
        let names = "centos7,reset-with-empty-queue,bad-ack";
        let Some(lines) = lab(&["--scenario", names, "--family", family]) else { return };
        let ended = of_type(&lines, "scenario");
        assert_eq!(ended.len(), 3, "{family}");
        for scenario in ended {
            assert_eq!(scenario["holds"], true, "{family}: {scenario:#}");
        }
        let resets = of_type(&lines, "connection")
            .iter()
            .filter(|c| c["outcome"].as_str().is_some_and(|o| o.starts_with("ack.reset.")))
            .count();
        assert_eq!(resets, 3 + 2, "{family}: three by overflow, two with an empty queue");
    }
}

#[test]
fn an_unknown_scenario_is_bad_usage() {
    let output = Command::new(env!("CARGO_BIN_EXE_overflow"))
        .args(["lab", "--scenario", "nonsense"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--list-scenarios"));
}
