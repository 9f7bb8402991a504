//! Plays scripts: the tool and the actors, step by step.

use std::{
    collections::{BTreeMap, VecDeque},
    env, fs,
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

/// A script that is being played.
#[derive(Default)]
struct Play {
    actors: BTreeMap<String, Actor>,
    /// What each actor's namespace had counted when the trace began.
    before: BTreeMap<String, Counters>,
    report: Report,
}

/// Plays the scripts to their ends, or to the step that cannot be done here.
pub fn play(job: &Job) -> Result<Vec<Report>> {
    let mut plays = Vec::new();
    for script in &job.scripts {
        let mut steps = script::parse(script)?;
        let begin = steps.iter().position(|step| matches!(step, Step::Trace | Step::TraceSoon));
        let after = steps.split_off(begin.context("a script does not trace")?);
        let mut play = Play::default();
        play.steps(steps);
        plays.push((play, after));
    }
    let mut tracer = None;
    if let [(play, after)] = &mut plays[..] {
        play.alone(std::mem::take(after), &job.tool, &mut tracer)?;
    } else {
        let mut running = Tracer::start(&job.tool)?;
        running.wait_until_it_traces()?;
        thread::sleep(SETTLE);
        tracer = Some(running);
        for (play, after) in &mut plays {
            play.before = play.counters()?;
            play.steps(after.drain(..).skip(1).collect());
            play.wait_for_all();
        }
    }
    if let Some(tracer) = tracer {
        let plays = plays.iter_mut().map(|(play, _)| play);
        stop(tracer, &mut plays.collect::<Vec<_>>())?;
    }
    Ok(plays.into_iter().map(|(play, _)| play.report).collect())
}

/// Stops the tool, and gives each script what was said of its namespaces.
fn stop(tracer: Tracer, plays: &mut [&mut Play]) -> Result<()> {
    thread::sleep(SETTLE);
    plays.iter_mut().try_for_each(|play| play.count())?;
    let (said, stderr) = tracer.stop()?;
    for play in plays {
        let storm = play.report.storm.keys();
        let namespaces = play.report.namespaces.values().chain(storm).copied();
        let namespaces: Vec<_> = namespaces.collect();
        play.report.said = said.of(&namespaces);
        play.report.stderr.clone_from(&stderr);
    }
    Ok(())
}

impl Play {
    /// From the step on that starts the tool.
    fn alone(
        &mut self,
        steps: Vec<Step>,
        tool: &[String],
        tracer: &mut Option<Tracer>,
    ) -> Result<()> {
        if self.over() {
            return Ok(());
        }
        for step in steps {
            match step {
                Step::Trace => {
                    let mut running = Tracer::start(&self.tool(tool)?)?;
                    running.wait_until_it_traces()?;
                    *tracer = Some(running);
                    thread::sleep(SETTLE);
                    self.before = self.counters()?;
                }
                Step::TraceSoon => {
                    self.before = self.counters()?;
                    *tracer = Some(Tracer::start(&self.tool(tool)?)?);
                }
                Step::Wait(who) if who == "trace" => {
                    tracer.as_mut().context("nothing traces")?.wait_until_it_traces()?;
                }
                Step::Stop => stop(tracer.take().context("nothing traces")?, &mut [self])?,
                other => self.steps(vec![other]),
            }
        }
        self.wait_for_all();
        Ok(())
    }

    /// Until one cannot be done; what fails is reported.
    fn steps(&mut self, steps: Vec<Step>) {
        for step in steps {
            if self.over() {
                return;
            }
            if let Err(e) = self.step(step) {
                self.report.failed = Some(format!("{e:#}"));
            }
        }
    }

    /// Whether nothing more is to be played.
    fn over(&self) -> bool {
        self.report.lacks.is_some() || self.report.failed.is_some()
    }

    fn step(&mut self, step: Step) -> Result<()> {
        match step {
            Step::Trace | Step::TraceSoon | Step::Stop => {
                bail!("only a script that is played alone starts and stops the tool")
            }
            Step::Sleep(ms) => {
                thread::sleep(Duration::from_millis(ms));
                Ok(())
            }
            Step::Wait(who) => self.wait_for(&who),
            Step::Kill(who) => {
                self.note_namespace(&who)?;
                drop(self.actors.remove(&who));
                Ok(())
            }
            Step::Do { actor, wait, action } => {
                let action = self.with_process(&action)?;
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

    /// An action whose last word names an actor, with its process instead.
    fn with_process(&self, action: &str) -> Result<String> {
        let names_one = ["in ", "veth ", "device "].iter().any(|verb| action.starts_with(verb));
        let (rest, name) = action.rsplit_once(' ').unwrap_or((action, ""));
        if !names_one || ["host", "self"].contains(&name) {
            return Ok(action.to_owned());
        }
        let actor = self.actors.get(name).with_context(|| format!("{name} is not there"))?;
        Ok(format!("{rest} {}", actor.child.id()))
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

    /// How far the counters rose, and where.
    fn count(&mut self) -> Result<()> {
        for (name, after) in self.counters()? {
            let risen = counters::risen(self.before.get(&name).unwrap_or(&Counters::new()), after);
            self.report.counters.insert(name, risen);
        }
        let names: Vec<_> = self.actors.keys().cloned().collect();
        names.iter().try_for_each(|name| self.note_namespace(name))
    }

    fn note_namespace(&mut self, name: &str) -> Result<()> {
        let path = format!("/proc/{}/ns/net", self.actor(name)?.child.id());
        let meta = fs::metadata(&path).with_context(|| format!("cannot look at {path}"))?;
        self.report.namespaces.insert(name.to_owned(), meta.ino());
        Ok(())
    }

    fn wait_for_all(&mut self) {
        let names: Vec<_> = self.actors.keys().cloned().collect();
        for name in names {
            if let Err(e) = self.wait_for(&name) {
                self.report.failed = Some(format!("{e:#}"));
            }
        }
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
                Reply::Counted(counted) => self.report.storm.extend(counted),
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
