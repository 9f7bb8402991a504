//! Scripts: a step a line. `ACTOR ACTION…` lets a process of that name do something and waits for
//! it; `ACTOR& ACTION…` does not wait.

use anyhow::{Context as _, Result};

use crate::{action::Action, words::Words};

/// A line of a script.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// `trace`: the tool is started, and waited for until it says that it traces.
    Trace,
    /// `trace&`: the tool is started.
    TraceSoon,
    /// `stop`: the tool is asked to end, as Ctrl-C does, and waited for.
    Stop,
    /// `sleep MS`
    Sleep(u64),
    /// `wait ACTOR`: until what it was last asked to do is done.
    Wait(String),
    /// `kill ACTOR`: its process dies.
    Kill(String),
    /// What an actor does.
    Do {
        /// The name of its process.
        actor: String,
        /// Whether the next step waits for it.
        wait: bool,
        /// The action's words.
        action: String,
    },
}

/// The steps of a script; empty lines and what follows `#` are left out.
pub fn parse(script: &str) -> Result<Vec<Step>> {
    let lines = script.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    lines.filter(|line| !line.is_empty()).map(step).collect()
}

fn step(line: &str) -> Result<Step> {
    let (first, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    let mut words = Words::of(rest);
    let step = match first {
        "trace" => Step::Trace,
        "trace&" => Step::TraceSoon,
        "stop" => Step::Stop,
        "sleep" => Step::Sleep(words.parse("milliseconds")?),
        "wait" => Step::Wait(words.next("actor")?.to_owned()),
        "kill" => Step::Kill(words.next("actor")?.to_owned()),
        actor => {
            Action::parse(rest).with_context(|| format!("in `{line}`"))?;
            let name = actor.strip_suffix('&');
            return Ok(Step::Do {
                actor: name.unwrap_or(actor).to_owned(),
                wait: name.is_none(),
                action: rest.to_owned(),
            });
        }
    };
    words.end()?;
    Ok(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_steps() {
        let steps =
            parse("# a case\n\n s tun\ntrace\n s& drain 50  # a while\nwait s\nstop\n").unwrap();
        let action = |wait, action: &str| Step::Do {
            actor: "s".to_owned(),
            wait,
            action: action.to_owned(),
        };
        let wait = Step::Wait("s".to_owned());
        assert_eq!(
            steps,
            [action(true, "tun"), Step::Trace, action(false, "drain 50"), wait, Step::Stop]
        );
        assert!(parse("s dance").is_err() && parse("sleep").is_err() && parse("stop it").is_err());
    }
}
