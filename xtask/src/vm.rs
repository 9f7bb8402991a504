//! Boots a kernel in QEMU, runs commands in it and brings back what they printed and left behind.
//!
//! The guest has no network and no disk: everything goes in with the initramfs and comes out over
//! a serial line, whose other end is QEMU's standard output.

use std::{
    collections::BTreeSet,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use guest_init::{
    frame::Frame,
    plan::{Job, MODULES, PLAN, Plan, Shell, Size},
};

use crate::{
    arch::Arch,
    artifacts,
    initramfs::Initramfs,
    kernel_image::KernelImage,
    kernels::Kernels,
    machine::{Machine, Wait},
    modules,
    progress::seconds,
    tools, workspace,
};

/// How a machine is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// What it is a machine of.
    pub arch: Arch,
    /// Tells machines with the same kernel apart, where several run at once.
    pub label: Option<String>,
    /// Virtual processors.
    pub smp: u32,
    /// Memory, MiB.
    pub memory: u32,
    /// Let time pass only as instructions do, and skip idle time: a machine that waits costs
    /// nothing, and what else runs here does not disturb its timing.
    pub virtual_time: bool,
    /// Further arguments for QEMU.
    pub qemu: Vec<String>,
    /// Further words for the kernel's command line.
    pub cmdline: Vec<String>,
    /// Further modules, loaded if this kernel has them.
    pub modules: &'static [&'static str],
    /// Further programs: path in the guest without leading slash, file here.
    pub programs: Vec<(String, PathBuf)>,
    /// How long the kernel may take until init is ready.
    pub boot_limit: Duration,
    /// How long each job may take.
    pub job_limit: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            arch: Arch::HOST,
            label: None,
            smp: 1,
            memory: 512,
            virtual_time: false,
            qemu: Vec::new(),
            cmdline: Vec::new(),
            modules: &[],
            programs: Vec::new(),
            // Seconds where nothing else runs; emulation on a busy machine takes its time.
            boot_limit: Duration::from_mins(2),
            job_limit: Duration::from_mins(10),
        }
    }
}

/// What one job printed and left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobOutput {
    /// Its standard output, unless a sink took it.
    pub stdout: Vec<u8>,
    /// Its standard error, unless a sink took it.
    pub stderr: Vec<u8>,
    /// Exit status as a shell counts.
    pub code: u8,
    /// Files it wrote into its working directory: relative path, content.
    pub files: Vec<(String, Vec<u8>)>,
}

/// Output of a running job, as it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A machine that can be booted any number of times.
pub struct Vm {
    image: KernelImage,
    options: Options,
    /// Programs every machine has: path in the guest, file here.
    programs: Vec<(String, PathBuf)>,
}

impl Vm {
    /// Obtains the kernel (see [`KernelImage::obtain`]) and builds the programs.
    pub fn new(kernel: &str, options: Options) -> Result<Self> {
        let arch = options.arch;
        tools::ensure(&[arch.qemu()])?;
        let image = KernelImage::obtain(kernel, arch)?;
        let programs = vec![
            ("init".to_owned(), artifacts::guest_init(arch)?),
            ("bin/overflow".to_owned(), artifacts::overflow(arch)?),
        ];
        Ok(Self { image, options, programs })
    }

    /// The kernel it boots.
    pub fn image(&self) -> &KernelImage {
        &self.image
    }

    /// One boot that runs the jobs one after the other. Output goes to `sink` as it comes, with
    /// the job's number; what `sink` refuses with `false` is collected in the result.
    ///
    /// Fails if the machine does not come up, hangs or dies; a job that fails is no failure.
    pub fn run(
        &self,
        jobs: &[Job],
        sink: &mut dyn FnMut(usize, Stream, &[u8]) -> bool,
    ) -> Result<Vec<JobOutput>> {
        let mut outputs = Vec::with_capacity(jobs.len());
        self.run_each(jobs, sink, &mut |output| outputs.push(output))?;
        Ok(outputs)
    }

    /// As [`Self::run`]; gives each job's output to `ended` when it ends, so that those before a
    /// machine's death are not lost.
    pub fn run_each(
        &self,
        jobs: &[Job],
        sink: &mut dyn FnMut(usize, Stream, &[u8]) -> bool,
        ended: &mut dyn FnMut(JobOutput),
    ) -> Result<()> {
        let (dir, _lock) = self.dir()?;
        let frames = self.options.arch.frames();
        let plan =
            Plan { jobs: jobs.to_vec(), frames_tty: frames.tty.to_owned(), ..Plan::default() };
        let console = dir.join("console.log");
        let mut command = self.qemu(&dir, plan, "")?;
        command
            .args(["-chardev", "stdio,id=frames,signal=off", "-serial"])
            .arg(format!("file:{}", console.display()))
            .args(frames.qemu)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = command.spawn().context("cannot start QEMU")?;
        let mut machine = Machine::start(child)?;
        let result = self.collect(&mut machine, jobs.len(), sink, ended);
        let complaints = machine.end();
        result.map_err(|e| {
            let complaints = match complaints.trim() {
                "" => String::new(),
                some => format!(" (QEMU: {some})"),
            };
            let version = self.image.name();
            let (path, end) = (console.display(), tail(&console));
            anyhow!("kernel {version} in QEMU: {e:#}{complaints}; the end of {path}:\n{end}")
        })
    }

    /// A shell on this terminal; needs busybox among the programs of the options.
    pub fn shell(&self) -> Result<()> {
        let (dir, _lock) = self.dir()?;
        let plan = Plan {
            shell: Some(Shell {
                tty: format!("/dev/{}", self.options.arch.console()),
                size: terminal(&io::stdout()).unwrap_or(FALLBACK),
            }),
            ..Plan::default()
        };
        let status = self
            .qemu(&dir, plan, "quiet")?
            .args(["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"])
            .status()
            .context("cannot start QEMU")?;
        if !status.success() {
            bail!("QEMU failed ({status}); its output above says why");
        }
        Ok(())
    }

    fn collect(
        &self,
        machine: &mut Machine,
        jobs: usize,
        sink: &mut dyn FnMut(usize, Stream, &[u8]) -> bool,
        ended: &mut dyn FnMut(JobOutput),
    ) -> Result<()> {
        let mut done = 0;
        let mut current = JobOutput::default();
        let mut limit = (self.options.boot_limit, "to boot".to_owned());
        let mut deadline = after(limit.0);
        loop {
            let frame = match machine.frame(deadline) {
                Ok(Some(frame)) => frame,
                Ok(None) => bail!("the machine ended before its work was done"),
                Err(Wait::Timeout) => {
                    bail!("killed after {}, which is the limit {}", seconds(limit.0), limit.1)
                }
                Err(Wait::Broken(e)) => return Err(e),
            };
            match frame {
                Frame::Warning(text) => eprintln!("warning: kernel {}: {text}", self.image.name()),
                Frame::Stdout(bytes) => {
                    if !sink(done, Stream::Stdout, &bytes) {
                        current.stdout.extend(bytes);
                    }
                }
                Frame::Stderr(bytes) => {
                    if !sink(done, Stream::Stderr, &bytes) {
                        current.stderr.extend(bytes);
                    }
                }
                Frame::File(name) => current.files.push((name, Vec::new())),
                Frame::FileData(bytes) => match current.files.last_mut() {
                    Some((_, content)) => content.extend(bytes),
                    None => bail!("the guest sent the content of no file"),
                },
                Frame::Ready(_) | Frame::Exit(_) => {
                    if let Frame::Exit(code) = frame {
                        current.code = code;
                        ended(std::mem::take(&mut current));
                        done += 1;
                    }
                    limit = (self.options.job_limit, format!("for job {}", done + 1));
                    deadline = after(limit.0);
                }
                Frame::Done if done == jobs => return Ok(()),
                Frame::Done => bail!("the guest ran {done} of {jobs} jobs"),
            }
        }
    }

    /// QEMU with everything but the serial lines.
    fn qemu(&self, dir: &Path, plan: Plan, quiet: &str) -> Result<Command> {
        let initramfs = dir.join("initramfs.cpio");
        self.write_initramfs(&initramfs, plan)
            .with_context(|| format!("cannot make {}", initramfs.display()))?;
        let arch = self.options.arch;
        let mut command = Command::new(arch.qemu().program());
        command
            .args(["-nodefaults", "-nic", "none", "-display", "none", "-no-reboot"])
            .args(["-accel", "tcg"])
            .args(arch.machine())
            .arg("-smp")
            .arg(self.options.smp.to_string())
            .arg("-m")
            .arg(self.options.memory.to_string())
            .arg("-kernel")
            .arg(self.image.vmlinuz()?)
            .arg("-initrd")
            .arg(initramfs)
            .arg("-append")
            // A kernel that is broken must end, not go on: with -no-reboot, QEMU ends too.
            .arg(format!(
                "console={} {quiet} panic=-1 oops=panic {} {}",
                arch.console(),
                arch.cmdline(),
                self.options.cmdline.join(" ")
            ))
            .args(&self.options.qemu);
        if self.options.virtual_time {
            // Four nanoseconds an instruction: about what the emulation takes on a fast machine.
            command.args(["-icount", "shift=2,sleep=off", "-rtc", "clock=vm"]);
        }
        Ok(command)
    }

    fn write_initramfs(&self, path: &Path, mut plan: Plan) -> Result<()> {
        let modules =
            modules::closure(&self.image, &Kernels::load()?.modules, self.options.modules)?;
        plan.modules = modules.iter().map(|module| module.file.clone()).collect();
        let mut archive = Initramfs::create(path)?;
        let own = ["bin", "dev", "proc", "run", "sys", "tmp", MODULES.trim_start_matches('/')];
        let mut dirs: BTreeSet<&Path> = own.into_iter().map(Path::new).collect();
        let programs = self.programs.iter().chain(&self.options.programs);
        dirs.extend(programs.flat_map(|(name, _)| Path::new(name).ancestors().skip(1)));
        // Sorted, so parents come first; the last ancestor of a relative path is empty.
        for dir in dirs.iter().filter_map(|dir| dir.to_str()).filter(|dir| !dir.is_empty()) {
            archive.directory(dir)?;
        }
        archive.console()?;
        for (name, file) in self.programs.iter().chain(&self.options.programs) {
            let bytes =
                fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            archive.executable(name, &bytes)?;
        }
        archive.symlink("overflow", "bin/overflow")?;
        for module in modules {
            archive.file(
                &format!("{}/{}", MODULES.trim_start_matches('/'), module.file),
                &module.bytes,
            )?;
        }
        archive.file(PLAN.trim_start_matches('/'), &serde_json::to_vec(&plan)?)?;
        archive.finish()?;
        Ok(())
    }

    /// A directory for one boot, which other boots leave alone while the file returned is open.
    fn dir(&self) -> Result<(PathBuf, File)> {
        let label = self.options.label.as_ref().map(|l| format!("-{l}")).unwrap_or_default();
        let name = format!("{}{label}", self.image.name());
        for number in 1.. {
            let name = if number == 1 { name.clone() } else { format!("{name}-{number}") };
            let dir = workspace::target().join("vm").join(name);
            fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
            let lock = dir.join("lock");
            let file =
                File::create(&lock).with_context(|| format!("cannot write {}", lock.display()))?;
            match file.try_lock() {
                Ok(()) => return Ok((dir, file)),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(e)) => {
                    return Err(e).with_context(|| format!("cannot lock {}", lock.display()));
                }
            }
        }
        bail!("every directory for kernel {} is in use", self.image.name())
    }
}

/// A terminal's size when nothing says it.
const FALLBACK: Size = Size { columns: 80, rows: 24 };

/// The size of the terminal behind a stream; `None` if it is no terminal.
pub fn terminal(stream: &impl std::os::fd::AsFd) -> Option<Size> {
    let size = rustix::termios::tcgetwinsize(stream).ok()?;
    if size.ws_col == 0 || size.ws_row == 0 {
        return Some(FALLBACK);
    }
    Some(Size { columns: size.ws_col, rows: size.ws_row })
}

/// The end of a time limit; `None` if it is too far away.
fn after(limit: Duration) -> Option<Instant> {
    Instant::now().checked_add(limit)
}

/// The last lines of the console, after the first that reports a crash.
fn tail(console: &Path) -> String {
    let text = fs::read(console).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().map(str::trim_end).filter(|l| !l.is_empty()).collect();
    let end = lines.len().saturating_sub(15);
    let crash = |line: &&&str| line.contains("Kernel panic") || line.contains("BUG:");
    let crash = lines[..end].iter().find(crash).map(|line| format!("    {line}\n    …"));
    let shown = lines[end..].iter().map(|line| format!("    {line}"));
    crash.into_iter().chain(shown).collect::<Vec<_>>().join("\n")
}
