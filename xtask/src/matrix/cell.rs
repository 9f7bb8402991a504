//! One run of the lab's scenarios as cells of the matrix.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use serde::Serialize;

use super::{Family, Rung};
use crate::{exec, lines, vm::JobOutput};

/// How a cell was run, besides its kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// How it was traced.
    pub rung: Rung,
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
    for line in lines.iter().filter(|line| line.agree == Some(false)) {
        if let (Some(run), Some(client)) = (&line.run, &line.client) {
            let why = line.disagreement.as_deref().unwrap_or("no reason given");
            objections.entry(run).or_default().push(format!("{client}: {why}"));
        }
    }
    let mut scenarios = Vec::new();
    for line in lines.iter().filter(|line| line.r#type == "scenario") {
        let Some(name) = line.scenario.clone() else { bail!("a scenario without a name") };
        let mut histories = Histories::new();
        for history in &line.stories {
            *histories.entry(history.clone()).or_default() += 1;
        }
        let ended = match (line.holds, &line.unavailable) {
            (Some(true), _) => Ended::Holds(histories),
            (Some(false), _) => {
                let run = line.run.as_deref().unwrap_or_default();
                let objections = objections.remove(run).unwrap_or_default();
                Ended::Differs(histories, [line.differences.clone(), objections].concat())
            }
            (None, Some(why)) => Ended::Unavailable(why.clone()),
            (None, None) => bail!("scenario {name} neither ran nor says why not"),
        };
        scenarios.push((name, line.shows.clone().unwrap_or_default(), ended));
    }
    if scenarios.is_empty() {
        bail!("it ran no scenario: {}", exec::complaint(&output.stderr));
    }
    let hooks = lines.iter().flat_map(|line| &line.hooks);
    let hooks = hooks.map(|hook| (hook.moment.clone(), hook.hook.clone())).collect();
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
            "{\"type\":\"run\",\"hooks\":[{\"moment\":\"SYN\",\"rung\":\"fentry\",\"hook\":\"fexit:a\"}]}\n\
             {\"type\":\"connection\",\"run\":\"r\",\"client\":\"c\",\"agree\":false}\n\
             {\"type\":\"scenario\",\"scenario\":\"a\",\"holds\":true,\"stories\":[\"x\",\"x\"]}\n\
             {\"type\":\"scenario\",\"scenario\":\"b\",\"holds\":false,\"run\":\"r\"}\n\
             {\"type\":\"scenario\",\"scenario\":\"c\",\"holds\":null,\"unavailable\":\"no\"}\n",
        ))
        .unwrap();
        let ended: Vec<_> = read.scenarios.into_iter().map(|(_, _, ended)| ended).collect();
        assert_eq!(ended[0], Ended::Holds(Histories::from([("x".to_owned(), 2)])));
        let why = vec!["c: no reason given".to_owned()];
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
