//! One run of the lab's scenarios as cells of the matrix.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use anyhow::{Result, bail};
use serde::Serialize;

use super::{Family, Tracing};
use crate::{exec, lines, vm::JobOutput};

/// How a cell was run, besides its kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// How it was traced.
    pub rung: Tracing,
    /// Which IP was spoken.
    pub family: Family,
}

/// Connections by their history, the stages they went through.
pub type Histories = BTreeMap<String, usize>;

/// How a scenario ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// As expected, all witnesses agreeing.
    Holds(Histories),
    /// Otherwise; why.
    Differs(Histories, Vec<String>),
    /// This kernel cannot run it; why.
    Unavailable(String),
}

/// What one run of the lab's scenarios printed.
pub struct Read {
    /// Name, what it shows, how it ended.
    pub scenarios: Vec<(String, String, Ended)>,
    /// The hooks in use: hook point, hook.
    pub hooks: BTreeSet<(String, String)>,
}

/// Reads a run. Fails if it did not come to its end.
pub fn read(output: &JobOutput) -> Result<Read> {
    let lines = lines::read(&output.stdout)?;
    let mut objections: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for connection in lines::connections(&lines).filter(|line| line.agree == Some(false)) {
        if let Some(run) = &connection.run {
            let why = connection.disagreement.as_deref().unwrap_or("no reason given");
            objections.entry(run).or_default().push(format!("{}: {why}", connection.client));
        }
    }
    let mut scenarios = Vec::new();
    for line in lines::scenarios(&lines) {
        let name = &line.scenario;
        let Some(ran) = &line.ended else { bail!("scenario {name} is only listed") };
        let mut histories = Histories::new();
        for history in &ran.stories {
            *histories.entry(history.clone()).or_default() += 1;
        }
        let ended = match (ran.holds, &ran.unavailable) {
            (Some(true), _) => Ended::Holds(histories),
            (Some(false), _) => {
                let objections = objections.remove(&*ran.run).unwrap_or_default();
                Ended::Differs(histories, [ran.differences.to_vec(), objections].concat())
            }
            (None, Some(why)) => Ended::Unavailable(why.to_string()),
            (None, None) => bail!("scenario {name} neither ran nor says why not"),
        };
        scenarios.push((name.to_string(), line.shows.to_string(), ended));
    }
    if scenarios.is_empty() {
        bail!("it ran no scenario: {}", exec::complaint(&output.stderr));
    }
    let text = |text: &Cow<'_, str>| text.to_string();
    let hooks = lines::hooks(&lines)
        .map(|hook| (text(&hook.moment), hook.hook.as_ref().map(text).unwrap_or_default()))
        .collect();
    Ok(Read { scenarios, hooks })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(stdout: &str) -> JobOutput {
        JobOutput {
            stdout: stdout.into(),
            stderr: b"overflow: no hook\n".to_vec(),
            ..JobOutput::default()
        }
    }

    #[test]
    fn every_way_to_end_is_distinguished() {
        let read = read(&output(
            r#"{"type":"run","v":1,"tool":"","kernel":"","distro":null,"hooks":[{"moment":"SYN","rung":"fentry","hook":"fexit:a"}],"notes":[]}
{"type":"connection","v":1,"run":"r","client":"10.7.0.2:1","server":"10.7.0.1:80","t0_ns":null,"stages":[],"outcome":null,"agree":false}
{"type":"scenario","v":1,"scenario":"a","shows":"","run":"q","holds":true,"stories":["x","x"],"differences":[],"unavailable":null}
{"type":"scenario","v":1,"scenario":"b","shows":"","run":"r","holds":false,"stories":[],"differences":[],"unavailable":null}
{"type":"scenario","v":1,"scenario":"c","shows":"","run":"s","holds":null,"stories":[],"differences":[],"unavailable":"no"}
"#,
        ))
        .unwrap();
        let ended: Vec<_> = read.scenarios.into_iter().map(|(_, _, ended)| ended).collect();
        assert_eq!(ended[0], Ended::Holds(Histories::from([("x".to_owned(), 2)])));
        let why = vec!["10.7.0.2:1: no reason given".to_owned()];
        assert_eq!(ended[1], Ended::Differs(Histories::new(), why));
        assert_eq!(ended[2], Ended::Unavailable("no".to_owned()));
        assert_eq!(read.hooks, BTreeSet::from([("SYN".to_owned(), "fexit:a".to_owned())]));
    }

    #[test]
    fn a_run_without_scenarios_says_why() {
        let error = read(&output("")).err().unwrap().to_string();
        assert!(error.ends_with("overflow: no hook"), "{error}");
    }
}
