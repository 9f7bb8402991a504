//! `cargo xtask run` and `cargo xtask vm`: the tool, here or in a VM, as if it had been installed.

use std::{
    env, fs,
    io::{self, Write as _},
    os::unix::process::CommandExt as _,
    path::{Component, Path},
    process::{Command, ExitCode},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use guest_init::plan::Job;

use crate::{
    arch::Arch,
    artifacts, kernel_image, kernels, progress, setup,
    vm::{Options, Stream, Vm, terminal},
};

/// Variables that decide how output looks; a VM gets them from here.
const PASSED_ON: &[&str] = &[
    "CLICOLOR",
    "CLICOLOR_FORCE",
    "COLORTERM",
    "COLUMNS",
    "LANG",
    "LC_ALL",
    "NO_COLOR",
    "RUST_BACKTRACE",
    "RUST_LOG",
    "TERM",
];

/// Arguments of `cargo xtask run`.
#[derive(Args)]
pub struct RunArgs {
    /// Run it in QEMU on a Debian kernel: a series such as 6.1 or an exact version such as
    /// 5.10.223-1; 6.12 if none is named
    #[arg(long, value_name = "KERNEL", num_args = 0..=1, default_missing_value = kernels::DEFAULT)]
    vm: Option<String>,
    /// Architecture of the VM
    #[arg(long, value_name = "ARCH", default_value_t = Arch::HOST, value_enum, requires = "vm")]
    arch: Arch,
    /// Longest time the command may take in the VM, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 600, requires = "vm")]
    timeout: u64,
    /// Let time pass in the VM only as instructions do: what waits costs nothing, and what else
    /// runs on this machine does not disturb it
    #[arg(long, requires = "vm")]
    virtual_time: bool,
    /// Arguments of `overflow lab`
    #[arg(last = true)]
    args: Vec<String>,
}

/// Builds and runs `overflow lab`; the exit status is its own.
pub fn run(args: &RunArgs) -> Result<ExitCode> {
    setup::build_tools()?;
    let argv: Vec<String> =
        ["overflow", "lab"].map(str::to_owned).into_iter().chain(args.args.clone()).collect();
    match &args.vm {
        None => native(&argv[1..]),
        Some(kernel) => {
            let job_limit = Duration::from_secs(args.timeout);
            let virtual_time = args.virtual_time;
            let options =
                Options { arch: args.arch, virtual_time, job_limit, ..Options::default() };
            through(&Vm::new(kernel, options)?, argv)
        }
    }
}

/// Boots a kernel with a shell on this terminal, or with one command of busybox or overflow.
pub fn shell(kernel: &str, arch: Arch, command: &[String]) -> Result<ExitCode> {
    setup::build_tools()?;
    let busybox = ("bin/busybox".to_owned(), kernel_image::busybox(arch)?);
    let options = Options {
        arch,
        label: Some("shell".into()),
        programs: vec![busybox],
        job_limit: Duration::MAX,
        ..Options::default()
    };
    let vm = Vm::new(kernel, options)?;
    if command.is_empty() {
        progress::note("starting a shell in the VM; leave it with `exit`");
        vm.shell()?;
        return Ok(ExitCode::SUCCESS);
    }
    let script = "busybox --install -s /bin; exec \"$@\"";
    let argv = ["busybox", "sh", "-c", script, "sh"].map(str::to_owned).into_iter();
    through(&vm, argv.chain(command.iter().cloned()).collect())
}

fn native(args: &[String]) -> Result<ExitCode> {
    let overflow = artifacts::overflow(Arch::HOST)?;
    // Returns only if it could not be started.
    let e = Command::new(&overflow).args(args).exec();
    bail!("cannot start {}: {e}", overflow.display())
}

/// Boots, runs one command, passes on its output, files and exit status.
fn through(vm: &Vm, argv: Vec<String>) -> Result<ExitCode> {
    progress::note(&format!("booting {}", vm.image().release));
    let job = Job {
        argv,
        env: PASSED_ON
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), env::var(name).ok()?)))
            .collect(),
        stdout: terminal(&io::stdout()),
        stderr: terminal(&io::stderr()),
    };
    let mut broken = None;
    let outputs = vm.run(&[job], &mut |_, stream, bytes| {
        let written = match stream {
            Stream::Stdout => io::stdout().write_all(bytes).and_then(|()| io::stdout().flush()),
            Stream::Stderr => io::stderr().write_all(bytes),
        };
        if let Err(e) = written {
            broken.get_or_insert(e);
        }
        true
    })?;
    match broken {
        // A reader that has seen enough, such as `head`, is no failure.
        Some(e) if e.kind() == io::ErrorKind::BrokenPipe => {}
        Some(e) => return Err(e).context("cannot pass on the output"),
        None => {}
    }
    let Some(output) = outputs.into_iter().next() else { bail!("the VM ran nothing") };
    for (name, content) in &output.files {
        bring_back(name, content)?;
    }
    Ok(ExitCode::from(output.code))
}

/// Writes a file that the command left in the VM to the same place here.
fn bring_back(name: &str, content: &[u8]) -> Result<()> {
    let path = Path::new(name);
    if !path.components().all(|part| matches!(part, Component::Normal(_))) {
        bail!("the VM sent a file with the unusable name {name:?}");
    }
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    fs::write(path, content).with_context(|| format!("cannot write {name}"))?;
    progress::note(&format!("the VM wrote {name} ({} bytes)", content.len()));
    Ok(())
}
