//! Two scenarios end to end, by the command itself: what must come out, and what the JSON holds.

use std::{
    io::pipe,
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::{
    OVERFLOW,
    harness::tests,
    needs::Need::{Namespaces, Tracing},
};

tests! {
    needs [Tracing, Namespaces] alone: scenarios_end_as_expected_in_every_family;
    needs [Tracing, Namespaces] alone: a_lab_ends_as_ever_if_nobody_reads;
    needs []: an_unknown_scenario_is_bad_usage;
}

/// The JSON lines of `overflow lab ARGS`.
fn lab(args: &[&str]) -> Vec<Value> {
    let output =
        Command::new(OVERFLOW).args(["lab", "--output", "json"]).args(args).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert!(output.status.success(), "{errors}\n{lines:#?}");
    lines
}

fn of_type<'a>(lines: &'a [Value], name: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["type"] == name).collect()
}

fn scenarios_end_as_expected_in_every_family() {
    for family in ["ipv4", "ipv6", "mapped"] {
        let names = "centos7,reset-with-empty-queue,bad-ack";
        let lines = lab(&["--scenario", names, "--family", family]);
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

fn a_lab_ends_as_ever_if_nobody_reads() {
    let (nobody, stdout) = pipe().unwrap();
    drop(nobody);
    let lab = ["lab", "--random", "1", "--seed", "3"];
    let output = Command::new(OVERFLOW)
        .args(lab)
        .stdout(stdout)
        .stderr(Stdio::piped())
        .spawn()
        .and_then(std::process::Child::wait_with_output)
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", output.status);
}

fn an_unknown_scenario_is_bad_usage() {
    let output = Command::new(OVERFLOW).args(["lab", "--scenario", "nonsense"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--list-scenarios"));
}
