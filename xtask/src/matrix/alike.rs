//! Whether fentry and kprobe told the same of the same run: every stage with the functions gone
//! through and the values read, but for times.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::lines;

/// What one rung told: by run, each connection without what names or dates it, sorted. Connections
/// of a burst are interchangeable; which of them comes first is the scheduler's affair.
pub type Told = BTreeMap<String, Vec<Value>>;

/// One run on one kernel, by both rungs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// Kernel, family and run.
    pub what: String,
    /// What differs first, in words; `None` if nothing does.
    pub difference: Option<String>,
}

/// What the connections of an output are, but for times and names.
pub fn told(stdout: &[u8]) -> Result<Told> {
    let mut told = Told::new();
    for line in String::from_utf8_lossy(stdout).lines() {
        let line: Value = serde_json::from_str(line).context("a line is not JSON")?;
        if line["type"] == "connection" {
            let run = line["run"].as_str().context("a connection of no run")?;
            told.entry(run.to_owned()).or_default().push(bare(&line));
        }
    }
    for connections in told.values_mut() {
        leave_race_out(connections);
        connections.sort_by_cached_key(Value::to_string);
    }
    Ok(told)
}

/// Every run that one of them told of; `place` says where it was run.
pub fn compare(place: &str, fentry: &Told, kprobe: &Told) -> Vec<Compared> {
    let mut runs: Vec<_> = fentry.keys().chain(kprobe.keys()).collect();
    runs.sort();
    runs.dedup();
    let one = |run: &String| Compared {
        what: format!("{place}, {run}"),
        difference: match (fentry.get(run), kprobe.get(run)) {
            (Some(a), Some(b)) => difference(a, b),
            (Some(_), None) => Some("only fentry told of it".to_owned()),
            _ => Some("only kprobe told of it".to_owned()),
        },
    };
    runs.into_iter().map(one).collect()
}

/// Stages, their order, paths and values, and how often each came again.
fn bare(connection: &Value) -> Value {
    let count = |times: &Value| times.as_array().map_or(0, Vec::len);
    let stages = connection["stages"].as_array().map_or(&[][..], Vec::as_slice);
    let stages: Vec<_> = stages
        .iter()
        .map(|stage| {
            let mut stage = stage.clone();
            stage["repeats"] = json!(count(&stage["repeats_ns"]));
            let untimed = |value: &mut Value| {
                if let Some(fields) = value.as_object_mut() {
                    fields.retain(|name, _| !name.ends_with("_ns"));
                }
            };
            untimed(&mut stage);
            untimed(&mut stage["values"]);
            stage
        })
        .collect();
    json!({
        "phase": connection["phase"],
        "stages": stages,
        "synack_retransmits": count(&connection["synack_retransmits_ns"]),
        "outcome": connection["outcome"],
    })
}

/// Where the application accepts meanwhile, the length of the queue that a child finds is a race
/// between `accept()` and the next segment, which has nothing to do with the rung.
fn leave_race_out(connections: &mut [Value]) {
    let stages = |c: &Value| c["stages"].as_array().cloned().unwrap_or_default();
    let taken = |stage: &Value| stage["id"] == "later.accepted_by_app";
    if !connections.iter().any(|c| stages(c).iter().any(taken)) {
        return;
    }
    for stage in connections.iter_mut().filter_map(|c| c["stages"].as_array_mut()).flatten() {
        let child = stage["id"].as_str().is_some_and(|id| lines::under(id, "ack.accepted"));
        if let Some(values) = stage["values"].as_object_mut().filter(|_| child) {
            values.remove("sk_ack_backlog");
        }
    }
}

fn difference(fentry: &[Value], kprobe: &[Value]) -> Option<String> {
    if fentry == kprobe {
        return None;
    }
    if fentry.len() != kprobe.len() {
        let (a, b) = (fentry.len(), kprobe.len());
        return Some(format!("{a} connections by fentry, {b} by kprobe"));
    }
    let only = |one: &[Value], other: &[Value]| {
        let mut left = other.to_vec();
        let unmatched = |c: &&Value| match left.iter().position(|o| o == *c) {
            Some(at) => {
                left.swap_remove(at);
                false
            }
            None => true,
        };
        one.iter().filter(unmatched).cloned().collect::<Vec<_>>()
    };
    let (a, b) = (only(fentry, kprobe), only(kprobe, fentry));
    let first = a.iter().zip(&b).find_map(|(a, b)| first_difference("", a, b));
    Some(format!("{} connections differ: {}", a.len(), first.unwrap_or_default()))
}

/// Where two values differ first, and by what: `/stages/1/values/syn_queue_len is 3 by fentry, 4 by
/// kprobe`.
fn first_difference(at: &str, fentry: &Value, kprobe: &Value) -> Option<String> {
    if fentry == kprobe {
        return None;
    }
    match (fentry, kprobe) {
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let mut each = a.iter().zip(b).enumerate();
            each.find_map(|(i, (a, b))| first_difference(&format!("{at}/{i}"), a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            let mut names = a.keys().chain(b.keys());
            let of = |fields: &serde_json::Map<_, _>, name: &String| {
                fields.get(name).cloned().unwrap_or_default()
            };
            names.find_map(|name| {
                first_difference(&format!("{at}/{name}"), &of(a, name), &of(b, name))
            })
        }
        _ => Some(format!("{at} is {fentry} by fentry, {kprobe} by kprobe")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(client: u16, t_ns: u64, queue: u32, repeats: &[u64]) -> String {
        json!({"type": "connection", "run": "r", "phase": "burst",
            "client": format!("10.7.0.2:{client}"), "t0_ns": t_ns, "synack_retransmits_ns": [t_ns],
            "stages": [{"id": "ack.drop.overflow", "t_ns": t_ns, "known": "traced",
                "path": ["tcp_check_req"], "values": {"syn_queue_len": queue},
                "repeats_ns": repeats}],
            "outcome": null})
        .to_string()
    }

    fn check(fentry: &[String], kprobe: &[String], expect: Option<&str>) {
        let told = |lines: &[String]| told(lines.join("\n").as_bytes()).unwrap();
        let compared = compare("6.1-1, ipv4", &told(fentry), &told(kprobe));
        let [one] = &compared[..] else { panic!("{compared:?}") };
        assert_eq!(one.what, "6.1-1, ipv4, r");
        assert_eq!(one.difference.as_deref(), expect);
    }

    #[test]
    fn times_and_order_are_no_difference() {
        let fentry = [line(1, 10, 2, &[5]), line(2, 20, 3, &[])];
        let kprobe = [line(1, 11, 3, &[]), line(2, 21, 2, &[6])];
        check(&fentry, &kprobe, None);
    }

    #[test]
    fn a_race_with_the_application_is_no_difference() {
        let told = |queue: u32, taken: &str| {
            let stages = json!([{"id": "ack.accepted.cookie", "values": {"sk_ack_backlog": queue}},
                {"id": taken}]);
            [json!({"type": "connection", "run": "r", "stages": stages}).to_string()]
        };
        check(&told(0, "later.accepted_by_app"), &told(1, "later.accepted_by_app"), None);
        let differ = "1 connections differ: /stages/0/values/sk_ack_backlog is 0 by fentry, 1 by \
                      kprobe";
        check(&told(0, "later.listener_closed"), &told(1, "later.listener_closed"), Some(differ));
    }

    #[test]
    fn values_repeats_numbers_and_silence_are() {
        let one = [line(1, 10, 2, &[])];
        let at = |what: &str| format!("1 connections differ: /stages/0/{what}");
        let queue = at("values/syn_queue_len is 2 by fentry, 3 by kprobe");
        check(&one, &[line(1, 10, 3, &[])], Some(&queue));
        check(&one, &[line(1, 10, 2, &[7])], Some(&at("repeats is 0 by fentry, 1 by kprobe")));
        let absent = line(1, 10, 2, &[]).replace("\"syn_queue_len\":2", "");
        let gone = at("values/syn_queue_len is 2 by fentry, null by kprobe");
        check(&one, &[absent], Some(&gone));
        let two = [line(1, 10, 2, &[]), line(2, 10, 2, &[])];
        check(&one, &two, Some("1 connections by fentry, 2 by kprobe"));
        check(&one, &[], Some("only fentry told of it"));
    }
}
