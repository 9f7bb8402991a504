//! A tool that is measured: started, waited for until it has attached, watched, stopped.

use std::{
    fs::{self, File},
    io::Read as _,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use guest_bench::{job::Tool, memory::Memory, stat::as_f64};
use nix::time::{clock_getcpuclockid, clock_gettime};
use rustix::process::{Pid, Signal, kill_process};

use crate::{bpf, procfs};

/// Where its output goes: not into the job's directory, whose files are sent to the host.
pub const STDOUT: &str = "/run/guest-bench.out";
const STDERR: &str = "/run/guest-bench.err";
const PATH: &str = "/bin:/usr/bin:/usr/sbin";
/// How often it is looked whether something new is attached: dear enough to be felt if it were
/// more often, and the time is exact to this.
const POLL: Duration = Duration::from_millis(1);
/// How long attaching may take.
const LIMIT: Duration = Duration::from_secs(90);
/// How long it is left alone to see what it uses idle.
const IDLE: Duration = Duration::from_millis(1500);

/// A running tool; killed when dropped.
pub struct Running {
    child: Child,
    stdout: File,
    lines: u64,
    /// The word that lines are looked through for, and how many had it.
    expected: String,
    exact: u64,
    tool: Tool,
}

/// What it has used and printed so far.
#[derive(Clone, Copy)]
pub struct Use {
    pub at: Instant,
    pub cpu_ns: u64,
    pub lines: u64,
    pub exact: u64,
}

/// What shows that something new was attached.
enum Sign {
    /// The newest ids: exact, where nobody else attaches anything.
    Ids((u32, u32)),
    /// How many links and programs the process holds.
    Held(usize),
}

impl Running {
    /// Starts a tool and waits until it has attached; `alone` says whether nobody else here uses
    /// BPF.
    pub fn start(argv: &[String], settle: Duration, alone: bool) -> Result<Self> {
        let mut sign = if alone { Sign::Ids(bpf::newest()?) } else { Sign::Held(0) };
        let begun = Instant::now();
        let child = spawn(argv)?;
        let stdout = File::open(STDOUT).with_context(|| format!("cannot open {STDOUT}"))?;
        let mut running = Self {
            child,
            stdout,
            lines: 0,
            expected: String::new(),
            exact: 0,
            tool: Tool::default(),
        };
        let announces = argv.first().is_some_and(|program| program.ends_with("overflow"));
        let mut last = None;
        loop {
            thread::sleep(POLL);
            if let Some(status) = running.child.try_wait()? {
                bail!("{} ended ({status}): {}", argv.join(" "), last_words());
            }
            if running.has_new(&mut sign)? {
                last = Some(Instant::now());
                running.tool.attached_ns = nanos(begun.elapsed());
                running.tool.cpu_ns = running.cpu_ns()?;
            }
            // overflow judges nothing before its first line is out.
            let begun_to_judge =
                !announces || fs::metadata(STDOUT).is_ok_and(|output| output.len() > 0);
            if begun_to_judge && last.is_some_and(|last| last.elapsed() > settle) {
                break;
            }
            if begun.elapsed() > LIMIT {
                bail!("{} had attached nothing after {LIMIT:?}: {}", argv.join(" "), last_words());
            }
        }
        let (before, cpu) = (Instant::now(), running.cpu_ns()?);
        thread::sleep(IDLE);
        let used = as_f64(running.cpu_ns()? - cpu);
        running.tool.idle = used / 1e9 / before.elapsed().as_secs_f64();
        running.tool.rss_kib = running.status("VmRSS:")?;
        running.tool.rss_file_kib = running.status("RssFile:")?;
        Ok(running)
    }

    /// Runs a program to its end.
    pub fn once(argv: &[String]) -> Result<Tool> {
        let begun = Instant::now();
        let mut child = spawn(argv)?;
        let status = child.wait().context("cannot wait for the program")?;
        let wall_ns = nanos(begun.elapsed());
        if !status.success() {
            bail!("{} failed ({status}): {}", argv.join(" "), last_words());
        }
        // Of all children there were: this one.
        let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_CHILDREN)?;
        let ns = |time: nix::sys::time::TimeVal| {
            use nix::sys::time::TimeValLike as _;
            u64::try_from(time.num_nanoseconds()).unwrap_or(0)
        };
        Ok(Tool {
            wall_ns,
            cpu_ns: ns(usage.user_time()) + ns(usage.system_time()),
            rss_most_kib: u64::try_from(usage.max_rss()).unwrap_or(0),
            stderr: last_words(),
            ..Tool::default()
        })
    }

    /// From now on, counts lines with this word.
    pub fn expect(&mut self, word: &str) {
        word.clone_into(&mut self.expected);
    }

    /// Share of a CPU it uses while nothing happens.
    pub fn idle(&self) -> f64 {
        self.tool.idle
    }

    /// What it has used and printed so far.
    pub fn consumed(&mut self) -> Result<Use> {
        let mut text = Vec::new();
        self.stdout.read_to_end(&mut text).with_context(|| format!("cannot read {STDOUT}"))?;
        let text = String::from_utf8_lossy(&text);
        self.lines += text.lines().count() as u64;
        let exact = |line: &&str| line.split_whitespace().any(|word| word == self.expected);
        self.exact += text.lines().filter(exact).count() as u64;
        Ok(Use { at: Instant::now(), cpu_ns: self.cpu_ns()?, lines: self.lines, exact: self.exact })
    }

    /// What it and its children have in memory.
    pub fn memory(&self) -> Result<Memory> {
        procfs::memory(self.child.id())
    }

    /// From now on, the most that was resident is counted anew.
    pub fn forget_peak(&self) -> Result<()> {
        procfs::forget_peak(self.child.id())
    }

    /// Asks it to end, as Ctrl-C would, and says what it took.
    pub fn stop(mut self) -> Result<Tool> {
        self.tool.rss_most_kib = self.status("VmHWM:")?;
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.context("the tool has no process id")?, Signal::INT)?;
        let begun = Instant::now();
        while self.child.try_wait()?.is_none() {
            if begun.elapsed() > Duration::from_secs(30) {
                self.child.kill()?;
                self.child.wait()?;
            }
            thread::sleep(POLL);
        }
        self.tool.stderr = last_words();
        Ok(std::mem::take(&mut self.tool))
    }

    fn has_new(&self, sign: &mut Sign) -> Result<bool> {
        Ok(match sign {
            Sign::Ids(known) => {
                let newest = bpf::newest_after(*known)?;
                std::mem::replace(known, newest) != newest
            }
            Sign::Held(known) => {
                let held = self.held()?;
                std::mem::replace(known, held) != held
            }
        })
    }

    /// Links and programs among its descriptors.
    fn held(&self) -> Result<usize> {
        let dir = format!("/proc/{}/fd", self.child.id());
        let entries = fs::read_dir(&dir).with_context(|| format!("cannot read {dir}"))?;
        let targets = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        let bpf = |target: &std::path::PathBuf| {
            let target = target.to_string_lossy();
            target.starts_with("anon_inode:bpf") && !target.contains("map")
        };
        Ok(targets.filter(bpf).count())
    }

    /// CPU of all its threads, those that have ended counted: the scheduler counts it exactly, where
    /// /proc/PID/stat has ticks.
    fn cpu_ns(&self) -> Result<u64> {
        let pid = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        let time = clock_getcpuclockid(pid).and_then(clock_gettime);
        let time = time.context("cannot read the tool's CPU time")?;
        Ok(nanos(time.into()))
    }

    fn status(&self, name: &str) -> Result<u64> {
        procfs::status(self.child.id(), name)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already gone if it was stopped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(argv: &[String]) -> Result<Child> {
    let (program, args) = argv.split_first().context("no program is named")?;
    let to = |path: &str| File::create(path).with_context(|| format!("cannot write {path}"));
    Command::new(program)
        .args(args)
        .env("PATH", PATH)
        .stdin(Stdio::null())
        .stdout(to(STDOUT)?)
        .stderr(to(STDERR)?)
        .spawn()
        .with_context(|| format!("cannot start {program}"))
}

fn last_words() -> String {
    let text = fs::read(STDERR).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(3)..].join("; ")
}

fn nanos(took: Duration) -> u64 {
    u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)
}
