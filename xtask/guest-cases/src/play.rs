//! Plays a script: the tool and the actors, step by step.

use std::{
    collections::{BTreeMap, VecDeque},
    env,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::fs::MetadataExt as _,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use guest_cases::{
    job::{Job, Reply, Report},
    script::{self, Step},
};

use crate::{
    counters::{self, Counters},
    tracer::Tracer,
};

/// Time for the tool to learn which listeners there are, and to read what it traced.
const SETTLE: Duration = Duration::from_millis(300);

/// A process that acts; killed when dropped.
struct Actor {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    /// Actions that are not answered.
    due: VecDeque<String>,
}

#[derive(Default)]
struct Play {
    actors: BTreeMap<String, Actor>,
    /// What each actor's namespace had counted when the trace began.
    before: BTreeMap<String, Counters>,
    tracer: Option<Tracer>,
    report: Report,
}

/// Plays a case to its end, or to the step that cannot be done here.
pub fn play(job: &Job) -> Result<Report> {
    let mut play = Play::default();
    for step in script::parse(&job.script)? {
        play.step(step, &job.tool)?;
        if play.report.lacks.is_some() {
            return Ok(play.report);
        }
    }
    let names: Vec<_> = play.actors.keys().cloned().collect();
    for name in names {
        play.wait_for(&name)?;
    }
    play.stop()?;
    Ok(play.report)
}

impl Play {
    fn step(&mut self, step: Step, tool: &[String]) -> Result<()> {
        match step {
            Step::Trace => {
                self.tracer = Some(Tracer::start(&self.tool(tool)?)?);
                self.traces()
            }
            Step::TraceSoon => {
                self.before = self.counters()?;
                self.tracer = Some(Tracer::start(&self.tool(tool)?)?);
                Ok(())
            }
            Step::Stop => self.stop(),
            Step::Sleep(ms) => {
                thread::sleep(Duration::from_millis(ms));
                Ok(())
            }
            Step::Wait(who) if who == "trace" => {
                self.tracer.as_mut().context("nothing traces")?.wait_until_it_traces()
            }
            Step::Wait(who) => self.wait_for(&who),
            Step::Kill(who) => {
                drop(self.actors.remove(&who).with_context(|| format!("{who} is not there"))?);
                Ok(())
            }
            Step::Do { actor, wait, action } => {
                let action = match action.strip_prefix("in ").map(str::trim) {
                    None | Some("host") => action,
                    Some(other) => {
                        let other = self.actors.get(other);
                        format!("in {}", other.context("no such actor")?.child.id())
                    }
                };
                if !self.actors.contains_key(&actor) {
                    let started = Actor::start(&actor);
                    let started = started.with_context(|| format!("cannot start {actor}"))?;
                    self.actors.insert(actor.clone(), started);
                }
                self.wait_for(&actor)?;
                self.actor(&actor)?.ask(&action)?;
                if wait { self.wait_for(&actor) } else { Ok(()) }
            }
        }
    }

    /// Waits until the tool traces, and reads the counters from which the rise is measured.
    fn traces(&mut self) -> Result<()> {
        self.tracer.as_mut().context("nothing traces")?.wait_until_it_traces()?;
        thread::sleep(SETTLE);
        self.before = self.counters()?;
        Ok(())
    }

    /// The tool's arguments, each actor's process in its place.
    fn tool(&self, tool: &[String]) -> Result<Vec<String>> {
        let word = |word: &String| {
            let Some(actor) = word.strip_prefix("{pid:").and_then(|w| w.strip_suffix('}')) else {
                return Ok(word.clone());
            };
            let actor = self.actors.get(actor).with_context(|| format!("{actor} is not there"))?;
            Ok(actor.child.id().to_string())
        };
        tool.iter().map(word).collect()
    }

    fn counters(&self) -> Result<BTreeMap<String, Counters>> {
        let each = self.actors.iter();
        each.map(|(name, actor)| Ok((name.clone(), counters::of(actor.child.id())?))).collect()
    }

    fn stop(&mut self) -> Result<()> {
        let Some(tracer) = self.tracer.take() else { return Ok(()) };
        thread::sleep(SETTLE);
        for (name, after) in self.counters()? {
            let risen = counters::risen(self.before.get(&name).unwrap_or(&Counters::new()), after);
            self.report.counters.insert(name, risen);
        }
        for (name, actor) in &self.actors {
            let path = format!("/proc/{}/ns/net", actor.child.id());
            let meta =
                std::fs::metadata(&path).with_context(|| format!("cannot look at {path}"))?;
            self.report.namespaces.insert(name.clone(), meta.ino());
        }
        (self.report.said, self.report.stderr) = tracer.stop()?;
        Ok(())
    }

    fn actor(&mut self, name: &str) -> Result<&mut Actor> {
        self.actors.get_mut(name).with_context(|| format!("{name} is not there"))
    }

    fn wait_for(&mut self, name: &str) -> Result<()> {
        while let Some(action) = self.actor(name)?.due.pop_front() {
            match self.actor(name)?.reply().with_context(|| format!("{name} {action}"))? {
                Reply::Done => {}
                Reply::Listening(open) => {
                    for (listener, mut described) in open {
                        name.clone_into(&mut described.actor);
                        self.report.listeners.insert(listener, described);
                    }
                }
                Reply::Wrong(why) => {
                    self.report.wrong.push(format!("{name} {action}: {why}"));
                }
                Reply::Lacks(what) => self.report.lacks = Some(what),
                Reply::Failed(why) => bail!("{name} {action}: {why}"),
            }
        }
        Ok(())
    }
}

impl Actor {
    fn start(name: &str) -> Result<Self> {
        let mut child = Command::new(env::current_exe().context("this program has no path")?)
            .args(["actor", name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let to = child.stdin.take().context("it has no standard input")?;
        let from = BufReader::new(child.stdout.take().context("it has no standard output")?);
        Ok(Self { child, to, from, due: VecDeque::new() })
    }

    fn ask(&mut self, action: &str) -> Result<()> {
        writeln!(self.to, "{action}")?;
        self.to.flush()?;
        self.due.push_back(action.to_owned());
        Ok(())
    }

    fn reply(&mut self) -> Result<Reply> {
        let mut line = String::new();
        self.from.read_line(&mut line)?;
        if line.is_empty() {
            bail!("it ended");
        }
        serde_json::from_str(&line).with_context(|| format!("it answered: {line}"))
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        // Already gone if it failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
