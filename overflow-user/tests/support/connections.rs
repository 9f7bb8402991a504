//! What JSON lines report of connections, against the report of a trace that saw all of them.

use std::collections::BTreeMap;

use overflow_core::verdict::VerdictId;
use serde_json::Value;

/// What is reported of one connection.
pub struct Reported {
    /// The id and time of each stage, CLOCK_MONOTONIC nanoseconds.
    pub stages: Vec<(VerdictId, u64)>,
    /// What became of it.
    pub outcome: Option<VerdictId>,
    line: Value,
}

/// Connections by both ends, which no two of them share.
pub fn connections(lines: &[Value]) -> BTreeMap<(String, String), Reported> {
    let id = |value: &Value| value.as_str().map(|id| VerdictId::parse(id).expect(id));
    let reported = |line: &Value| {
        let begun = line["t0_ns"].as_u64().unwrap();
        let stages = line["stages"].as_array().unwrap().iter();
        let stage = |s: &Value| (id(&s["id"]).unwrap(), begun + s["t_ns"].as_u64().unwrap());
        Reported {
            stages: stages.map(stage).collect(),
            outcome: id(&line["outcome"]),
            line: line.clone(),
        }
    };
    let end = |line: &Value, name: &str| line[name].as_str().unwrap().to_owned();
    let lines = lines.iter().filter(|line| line["type"] == "connection");
    lines.map(|line| ((end(line, "client"), end(line, "server")), reported(line))).collect()
}

/// Whether `id` may be reported of a connection of which these are the stages, where some of its records
/// are missing: one of them, or the rest of a family of one of them. Without what was before, an RST
/// to late data is an RST to an ACK.
fn admitted(id: VerdictId, stages: &[(VerdictId, u64)]) -> bool {
    let family = id.as_str().strip_suffix(".other");
    stages.iter().any(|(stage, _)| {
        *stage == id
            || family.is_some_and(|family| stage.is_under(family))
            || (*stage == VerdictId::LaterResetNoSocket && id.is_under("ack.reset"))
    })
}

/// Fails if something is reported that does not follow from the whole.
pub fn assert_consistent(part: &[Value], whole: &BTreeMap<(String, String), Reported>, at: &str) {
    for (key, reported) in connections(part) {
        let Some(truth) = whole.get(&key) else { panic!("{at}: made up: {}", reported.line) };
        let context = || format!("{at}: {}\nof: {}", reported.line, truth.line);
        for (i, &(id, t_ns)) in reported.stages.iter().enumerate() {
            assert!(admitted(id, &truth.stages), "{id}: {}", context());
            let same = truth.stages.iter().position(|stage| *stage == (id, t_ns));
            if let Some(same) = same {
                let (a, b) = (&reported.line["stages"][i], &truth.line["stages"][same]);
                // How long a child waited is known only if both ends of it are.
                let mut values = b["values"].clone();
                if a["values"]["queue_wait_ns"].is_null()
                    && let Some(values) = values.as_object_mut()
                {
                    values.remove("queue_wait_ns");
                }
                let empty = values.as_object().is_some_and(serde_json::Map::is_empty);
                let values = if empty { Value::Null } else { values };
                assert_eq!((&a["path"], &a["values"]), (&b["path"], &values), "{}", context());
            }
        }
        let outcome = reported.outcome;
        let followed =
            outcome.is_none_or(|o| Some(o) == truth.outcome || admitted(o, &truth.stages));
        assert!(followed, "{outcome:?}: {}", context());
    }
}
