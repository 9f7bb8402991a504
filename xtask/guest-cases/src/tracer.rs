//! The tool: started, waited for until it traces, stopped, read.

use std::{
    fs::{self, File},
    io::BufReader,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use guest_cases::said::{self, Said};
use rustix::process::{Pid, Signal, kill_process};

use crate::sys;

/// How long the tool may take to attach, or to end.
const LIMIT: Duration = Duration::from_mins(2);
const POLL: Duration = Duration::from_millis(10);

/// A running tool; killed when dropped.
pub struct Tracer {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Tracer {
    /// Starts it; what it prints goes to files beside each other.
    pub fn start(argv: &[String]) -> Result<Self> {
        let (program, args) = argv.split_first().context("no tool is named")?;
        // Not in the working directory, whose files are sent to the host of a VM.
        let dir = PathBuf::from(if PathBuf::from("/run").is_dir() { "/run" } else { "/tmp" });
        let name = |ending| dir.join(format!("guest-cases-{}.{ending}", std::process::id()));
        let (stdout, stderr) = (name("out"), name("err"));
        let to = |path: &PathBuf| {
            File::create(path).with_context(|| format!("cannot write {}", path.display()))
        };
        let child = Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(to(&stdout)?)
            .stderr(to(&stderr)?)
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        Ok(Self { child, stdout, stderr })
    }

    /// Waits until it says that it traces: the line of type `run`.
    pub fn wait_until_it_traces(&mut self) -> Result<()> {
        let begun = Instant::now();
        while !fs::read_to_string(&self.stdout)?.contains("\"type\":\"run\"") {
            if let Some(status) = self.child.try_wait()? {
                bail!("the tool ended ({status}): {}", self.last_words());
            }
            if begun.elapsed() > LIMIT {
                bail!("the tool does not trace after {LIMIT:?}: {}", self.last_words());
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// From now on it, and the processes that it started, run when nobody else wants to.
    pub fn yield_to_others(&self) -> Result<()> {
        let mut yielding = vec![self.child.id()];
        while let Some(pid) = yielding.pop() {
            sys::idle_only(pid).context("cannot lower its priority")?;
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
            yielding.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
        Ok(())
    }

    /// Asks it to end, as Ctrl-C does, and reads what it said; the end of its standard error, too.
    pub fn stop(mut self) -> Result<(Said, String)> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.context("the tool has no process id")?, Signal::INT)?;
        let begun = Instant::now();
        while self.child.try_wait()?.is_none() {
            if begun.elapsed() > LIMIT {
                bail!("the tool does not end: {}", self.last_words());
            }
            thread::sleep(POLL);
        }
        let stderr = self.last_words();
        let lines = File::open(&self.stdout).context("the tool's output is not there")?;
        let said = said::read(BufReader::new(lines))
            .with_context(|| format!("its standard error ends with: {stderr}"))?;
        Ok((said, stderr))
    }

    fn last_words(&self) -> String {
        let text = fs::read(&self.stderr).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(3)..].join("; ")
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // Already gone if it was stopped.
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Kept for whoever looks into a machine where a case failed.
        if std::env::var_os("GUEST_CASES_KEEP").is_none() {
            let _ = fs::remove_file(&self.stdout);
            let _ = fs::remove_file(&self.stderr);
        }
    }
}
