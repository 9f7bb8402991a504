//! The JSON lines of `overflow lab`, as far as they are judged here.

use anyhow::{Context as _, Result};
use overflow_core::{model::scenario::Phase, verdict::VerdictId, wire};

/// A line that was read.
pub type Line = wire::Line<'static>;
/// A `connection` line.
pub type Connection = wire::Connection<'static>;
/// A stage of a connection.
pub type Stage = wire::Stage<'static>;
/// A hook in use.
pub type Hook = wire::Hook<'static>;
/// A `listener` line.
pub type Listener = wire::Listener<'static>;
/// A `scenario` line.
pub type Scenario = wire::Scenario<'static>;

/// Every line of an output. Fails on a line that is none.
pub fn read(stdout: &[u8]) -> Result<Vec<Line>> {
    let text = String::from_utf8_lossy(stdout);
    let line = |line| serde_json::from_str(line).context("a line is not as documented");
    text.lines().map(line).collect()
}

/// Its connections.
pub fn connections(lines: &[Line]) -> impl Iterator<Item = &Connection> {
    lines.iter().filter_map(|line| if let Line::Connection(c) = line { Some(c) } else { None })
}

/// Its scenarios.
pub fn scenarios(lines: &[Line]) -> impl Iterator<Item = &Scenario> {
    lines.iter().filter_map(|line| if let Line::Scenario(s) = line { Some(s) } else { None })
}

/// Its listeners.
pub fn listeners(lines: &[Line]) -> impl Iterator<Item = &Listener> {
    lines.iter().filter_map(|line| if let Line::Listener(l) = line { Some(l) } else { None })
}

/// The hooks of all its runs.
pub fn hooks(lines: &[Line]) -> impl Iterator<Item = &Hook> {
    let runs = lines.iter().filter_map(|line| if let Line::Run(r) = line { Some(r) } else { None });
    runs.flat_map(|run| &run.hooks)
}

/// Whether it is one of the burst.
pub fn in_burst(connection: &Connection) -> bool {
    connection.phase == Some(Phase::Burst)
}

/// The stages up to the verdict on the handshake.
pub fn handshake(connection: &Connection) -> impl Iterator<Item = &Stage> {
    connection.stages.iter().filter(|stage| !stage.id.is_later())
}

/// `syn.cookie > ack.drop.overflow.cookie > later.phantom`.
pub fn history(connection: &Connection) -> String {
    let stages = connection.stages.iter().map(|stage| stage.id);
    let outcome = connection.outcome.filter(|outcome| stages.clone().next_back() != Some(*outcome));
    stages.chain(outcome).map(VerdictId::as_str).collect::<Vec<_>>().join(" > ")
}

/// `a.b` is under `a`, `a.bc` is not.
pub fn under(id: &str, prefix: &str) -> bool {
    id.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histories_read_well() {
        let line = r#"{"type":"connection","v":1,"client":"10.7.0.2:1",
            "server":"10.7.0.1:80","t0_ns":0,"stages":[{"id":"syn.cookie","t_ns":0,"known":"traced"},
            {"id":"ack.drop.overflow.cookie","t_ns":1,"known":"traced"}],
            "outcome":"later.phantom"}"#;
        let lines = read(line.replace('\n', "").as_bytes()).unwrap();
        let histories: Vec<_> = connections(&lines).map(history).collect();
        assert_eq!(histories, ["syn.cookie > ack.drop.overflow.cookie > later.phantom"]);
    }

    #[test]
    fn what_is_no_line_is_an_error() {
        let loss = r#"{"type":"loss","v":1,"what":"records","count":1}"#;
        assert!(read(loss.as_bytes()).is_ok());
        assert!(read(format!("{loss}\npanicked\n").as_bytes()).is_err());
    }
}
