//! The JSON lines of `overflow lab`, as far as they are judged here.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// A line of any type; what its type does not have is absent.
#[derive(Debug, Default, Deserialize)]
pub struct Line {
    /// `connection`, `scenario`, `listener` and so on.
    pub r#type: String,
    /// The cell's name.
    pub run: Option<String>,
    /// `prefill` or `burst`.
    pub phase: Option<String>,
    /// The client's address and port.
    pub client: Option<String>,
    /// A connection's stages, in order of time.
    #[serde(default)]
    pub stages: Vec<Stage>,
    /// What became of a connection.
    pub outcome: Option<String>,
    /// Its segments on the wire.
    pub witnesses: Option<Witnesses>,
    /// Whether the witnesses agree.
    pub agree: Option<bool>,
    /// Why they do not.
    pub disagreement: Option<String>,
    /// A run's hooks.
    #[serde(default)]
    pub hooks: Vec<Hook>,
    /// A listener's counters: how much each rose.
    #[serde(default)]
    pub counters: BTreeMap<String, u64>,
    /// A scenario's name.
    pub scenario: Option<String>,
    /// What a scenario shows.
    pub shows: Option<String>,
    /// Whether a scenario came out as foretold; `None` if it could not run.
    pub holds: Option<bool>,
    /// A scenario's connections, each by its stages.
    #[serde(default)]
    pub stories: Vec<String>,
    /// What differs from what was foretold.
    #[serde(default)]
    pub differences: Vec<String>,
    /// Why a scenario could not run.
    pub unavailable: Option<String>,
}

/// A stage of a connection.
#[derive(Debug, Default, Deserialize)]
pub struct Stage {
    /// What happened.
    pub id: String,
    /// `traced` or `inferred`.
    pub known: String,
    /// From what it was inferred.
    pub why: Option<String>,
    /// What the kernel read.
    #[serde(default)]
    pub values: Values,
}

/// What the kernel read at a stage.
#[derive(Debug, Default, Deserialize)]
pub struct Values {
    /// Whether the path reads `tcp_abort_on_overflow`.
    pub abort_on_overflow_read: Option<bool>,
}

/// A hook in use.
#[derive(Debug, Deserialize)]
pub struct Hook {
    /// What it observes.
    pub moment: String,
    /// How it is attached, and to what: `fexit:tcp_check_req`.
    pub hook: String,
}

/// The witnesses' words.
#[derive(Debug, Deserialize)]
pub struct Witnesses {
    /// Segments, if there was a capture.
    pub wire: Option<Wire>,
}

/// Segments of one connection on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Wire {
    /// SYNs from the client.
    pub syn: u64,
    /// SYN-ACKs from the server.
    pub synack: u64,
}

/// Every line of an output. Fails on a line that is none.
pub fn read(stdout: &[u8]) -> Result<Vec<Line>> {
    let text = String::from_utf8_lossy(stdout);
    let line = |line| serde_json::from_str(line).context("a line is not as documented");
    text.lines().map(line).collect()
}

impl Line {
    /// The stages up to the verdict on the handshake.
    pub fn handshake(&self) -> impl Iterator<Item = &Stage> {
        self.stages.iter().filter(|stage| !under(&stage.id, "later"))
    }

    /// `syn.cookie > ack.drop.overflow.cookie > later.phantom`.
    pub fn story(&self) -> String {
        let stages = self.stages.iter().map(|stage| stage.id.as_str());
        let outcome = self.outcome.as_deref().filter(|o| stages.clone().next_back() != Some(*o));
        stages.chain(outcome).collect::<Vec<_>>().join(" > ")
    }
}

/// `a.b` is under `a`, `a.bc` is not.
pub fn under(id: &str, prefix: &str) -> bool {
    id.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stories_read_well() {
        let line = r#"{"type":"connection","stages":[{"id":"syn.cookie","known":"traced"},
            {"id":"ack.drop.overflow.cookie","known":"traced"}],"outcome":"later.phantom"}"#;
        let lines = read(line.replace('\n', "").as_bytes());
        let story = "syn.cookie > ack.drop.overflow.cookie > later.phantom";
        assert_eq!(lines.unwrap()[0].story(), story);
    }

    #[test]
    fn what_is_no_line_is_an_error() {
        assert!(read(b"{\"type\":\"run\"}\npanicked\n").is_err());
    }
}
