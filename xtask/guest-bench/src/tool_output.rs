//! Reads the JSON lines of a tool that traced, as far as a storm is judged by them.

use std::{collections::BTreeMap, io::BufRead};

use anyhow::{Context as _, Result};
use guest_bench::storm::ToolOutput;
use serde::Deserialize;

/// The loss that is none: what a limit on events kept from being shown.
const NOT_SHOWN: &str = "moments not shown for a limit on events";

/// A line of any type; what its type does not have is absent.
#[derive(Deserialize)]
struct Line {
    r#type: String,
    id: Option<String>,
    t_ns: Option<u64>,
    #[serde(default)]
    verdicts: BTreeMap<String, u64>,
    #[serde(default)]
    overflows: u64,
    #[serde(default)]
    synack_retransmits: u64,
    what: Option<String>,
    #[serde(default)]
    count: u64,
    #[serde(default)]
    lost: u64,
}

/// Reads a tool's output to its end; fails if the summary is missing.
pub fn read(stdout: impl BufRead) -> Result<ToolOutput> {
    let mut output = ToolOutput::default();
    let mut ended = false;
    for line in stdout.lines() {
        let line = line.context("cannot read the tool's output")?;
        let line: Line = serde_json::from_str(&line)
            .with_context(|| format!("the tool printed what is no line of JSON: {line}"))?;
        match line.r#type.as_str() {
            "event" => *output.events.entry(line.id.unwrap_or_default()).or_default() += 1,
            "listener" => {
                let whole = line.t_ns.is_none();
                if whole {
                    output.overflows += line.overflows;
                    output.synack_retransmits += line.synack_retransmits;
                }
                let sums = if whole { &mut output.verdicts } else { &mut output.intervals };
                for (id, count) in line.verdicts {
                    *sums.entry(id).or_default() += count;
                }
            }
            "loss" if line.what.as_deref() == Some(NOT_SHOWN) => output.not_shown += line.count,
            "loss" => {
                *output.losses.entry(line.what.unwrap_or_default()).or_default() += line.count;
            }
            "summary" => {
                output.lost = line.lost;
                ended = true;
            }
            _ => {}
        }
    }
    anyhow::ensure!(ended, "the tool's output has no summary");
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_added_up() {
        let lines = r#"{"type":"event","id":"syn.cookie"}
{"type":"event","id":"syn.cookie"}
{"type":"listener","t_ns":7,"overflows":1,"verdicts":{"ack.drop.overflow":1}}
{"type":"listener","overflows":2,"verdicts":{"ack.drop.overflow":2}}
{"type":"listener","overflows":3,"verdicts":{"ack.drop.overflow":3}}
{"type":"loss","what":"ebpf ring_full","count":4}
{"type":"loss","what":"moments not shown for a limit on events","count":5}
{"type":"summary","lost":9}
"#;
        let output = read(lines.as_bytes()).unwrap();
        assert_eq!((output.events["syn.cookie"], output.overflows, output.not_shown), (2, 5, 5));
        assert_eq!(output.intervals["ack.drop.overflow"], 1);
        assert_eq!(output.verdicts["ack.drop.overflow"], 5);
        assert_eq!((output.losses["ebpf ring_full"], output.lost), (4, 9));
        assert!(read(&lines.as_bytes()[..100]).is_err());
    }
}
