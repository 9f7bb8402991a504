//! Scenarios as JSON lines in, predictions as JSON lines out.

use serde::Deserialize;
use serde_json::{Map, Value};
use thiserror::Error;

use super::{
    config::{Listener, Sysctls},
    features::Features,
    kernels,
    path::Path,
    scenario::{Burst, Scenario},
    simulate::{Outcome, Simulator},
    time::{MS, Nanos, SEC},
};
use crate::model::scenario::Phase;

/// How long a scenario is watched after its burst began.
pub(crate) const WATCH: Nanos = 8 * SEC;
/// Most clients of one scenario, prefill and burst together: one port each.
const MAX_CLIENTS: u32 = 65_535;

/// Why a scenario has no prediction.
#[derive(Debug, Error)]
pub enum BatchError {
    /// Not a JSON object, or a field is missing or of the wrong type.
    #[error("the line is no scenario: {0}; see `overflow predict --help` for its fields")]
    Syntax(serde_json::Error),
    /// A kernel without a name in the table.
    #[error(transparent)]
    Kernel(#[from] kernels::UnknownKernel),
    /// A field has a value that no kernel or experiment has.
    #[error("{0}")]
    Value(String),
}

impl From<serde_json::Error> for BatchError {
    fn from(error: serde_json::Error) -> Self {
        Self::Syntax(error)
    }
}

/// The fields of a scenario; others are carried through.
#[derive(Deserialize)]
struct Fields<'a> {
    kernel: &'a str,
    #[serde(default, borrow)]
    variant: Option<&'a str>,
    backlog: u32,
    #[serde(default)]
    somaxconn: Option<u32>,
    #[serde(default)]
    max_syn_backlog: Option<u32>,
    syncookies: u8,
    abort: u8,
    #[serde(default)]
    prefill: u32,
    burst: u32,
    #[serde(default = "default_delay_ms")]
    delay_ms: u32,
    #[serde(default)]
    client_bytes: u32,
    #[serde(default, borrow)]
    rx_order: Option<&'a str>,
}

/// As on the command line.
const fn default_delay_ms() -> u32 {
    200
}

/// Predicts one scenario after the other; keeps its memory between them.
#[derive(Debug, Default)]
pub struct Batch {
    simulator: Simulator,
}

impl Batch {
    /// Predicts the scenario of one JSON line: its fields, and for the burst's connections in order
    /// of ports `classes`, what packets and sockets would show after 8 s, and `stages`, the verdict
    /// ids of each.
    ///
    /// Of a kernel that is not known for certain the answer has `doubt`, and `alternative` where the other
    /// kernel that it may be does something else.
    ///
    /// `"undetermined":true` is added where the kernel draws the outcome by lot, see
    /// [`Simulator::depends_on_hash`]; the answer is then the most likely one.
    ///
    /// `rx_order`, where given and not empty, decides in which order the burst's first segments
    /// reach the server; without it they arrive by `delay_ms`.
    pub fn line(&mut self, line: &str) -> Result<String, BatchError> {
        let mut scenario: Map<String, Value> = serde_json::from_str(line)?;
        let mut question = read(&scenario)?;
        let outcome = self.simulator.run(&question);
        let (classes, stages) = answer(&outcome);
        if outcome.hash_mattered && self.simulator.depends_on_hash(&mut question) {
            scenario.insert("undetermined".to_owned(), Value::from(true));
        }
        let name = scenario.get("kernel").and_then(Value::as_str).unwrap_or_default();
        let kernel = kernels::by_name(name)?;
        if let Some(features) = kernel.alternative {
            let mut object = scenario.clone();
            object.retain(|field, _| field != "undetermined");
            let other = self.simulator.run(&read_for(&object, features)?);
            let (others, ways) = answer(&other);
            if (&others, &ways) != (&classes, &stages) {
                let alternative = serde_json::json!({"classes": others, "stages": ways});
                scenario.insert("alternative".to_owned(), alternative);
            }
        }
        if let Some(doubt) = kernel.doubt {
            scenario.insert("doubt".to_owned(), Value::from(doubt));
        }
        scenario.insert("classes".to_owned(), classes);
        scenario.insert("stages".to_owned(), stages);
        Ok(serde_json::to_string(&scenario)?)
    }
}

/// [`Batch::line`] for a single line.
pub fn batch_line(line: &str) -> Result<String, BatchError> {
    Batch::default().line(line)
}

/// The scenario that the fields of a JSON object describe.
pub fn read(object: &Map<String, Value>) -> Result<Scenario, BatchError> {
    let name = Fields::deserialize(object)?.kernel;
    read_for(object, kernels::by_name(name)?.features)
}

/// The same, of a kernel with these features.
fn read_for(object: &Map<String, Value>, features: Features) -> Result<Scenario, BatchError> {
    let fields = Fields::deserialize(object)?;
    let variant = fields.variant.unwrap_or("base");
    let (defer_accept_secs, somaxconn) = variant_settings(variant)?;
    for (name, value, max) in [("syncookies", fields.syncookies, 2), ("abort", fields.abort, 1)] {
        if value > max {
            let text = format!("{name} is {value}; the kernel's sysctl takes 0 to {max}");
            return Err(BatchError::Value(text));
        }
    }
    if fields.prefill.saturating_add(fields.burst) > MAX_CLIENTS {
        let text = format!("prefill and burst together are more than {MAX_CLIENTS} clients");
        return Err(BatchError::Value(text));
    }
    let sysctls = Sysctls {
        syncookies: fields.syncookies,
        abort_on_overflow: fields.abort,
        somaxconn: fields.somaxconn.or(somaxconn),
        max_syn_backlog: fields.max_syn_backlog.unwrap_or(Sysctls::default().max_syn_backlog),
        ..Sysctls::default()
    };
    let burst = Burst {
        prefill: fields.prefill,
        clients: fields.burst,
        delay: Nanos::from(fields.delay_ms) * MS,
        payload: fields.client_bytes,
    };
    let listener = Listener { backlog: fields.backlog, defer_accept_secs };
    let mut scenario = Scenario::burst(features, listener, sysctls, burst, WATCH);
    if let Some(order) = fields.rx_order {
        scenario.arrive_in_order(order).map_err(BatchError::Value)?;
    }
    Ok(scenario)
}

/// `TCP_DEFER_ACCEPT` seconds and `somaxconn` of a variant's name.
fn variant_settings(variant: &str) -> Result<(u32, Option<u32>), BatchError> {
    let number = |prefix| variant.strip_prefix(prefix).and_then(|n: &str| n.parse().ok());
    if matches!(variant, "base" | "ipv6") {
        Ok((0, None))
    } else if let Some(seconds) = number("defer") {
        Ok((seconds, None))
    } else if let Some(somaxconn) = number("somax") {
        Ok((0, Some(somaxconn)))
    } else {
        let known = "known are base, ipv6, deferN (TCP_DEFER_ACCEPT seconds) and somaxN";
        Err(BatchError::Value(format!("the variant `{variant}` is not modelled; {known}")))
    }
}

fn answer(outcome: &Outcome<'_>) -> (Value, Value) {
    let burst = outcome.paths.iter().filter(|p| p.phase == Phase::Burst);
    let classes = burst.clone().map(|p| Value::from(p.class().as_str())).collect();
    let ids = |p: &Path| -> Value { p.stages().map(|d| Value::from(d.id.as_str())).collect() };
    let stages = burst.map(ids).collect();
    (classes, stages)
}
