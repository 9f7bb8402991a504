//! What process 1 owes the rest: file systems, modules, a shell, the end.

use std::{
    ffi::CString,
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use guest_init::plan::{MODULES, Shell};
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    mount::{MountFlags, mount},
    system::{RebootCommand, finit_module, reboot},
    termios::{Winsize, tcsetwinsize},
};

/// Type and mount point of what nothing works without. Nothing is mounted on `/tmp`: it is in memory like
/// all of the initramfs, and programs that were built below it keep their place.
const NEEDED: &[(&str, &str)] =
    &[("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev"), ("tmpfs", "/run")];
/// Type and mount point of what some kernels lack and most commands can do without.
const WANTED: &[(&str, &str)] = &[
    ("devpts", "/dev/pts"),
    ("bpf", "/sys/fs/bpf"),
    ("tracefs", "/sys/kernel/tracing"),
    ("cgroup2", "/sys/fs/cgroup"),
];

/// Mounts everything; returns a sentence for each file system the kernel would not mount although
/// it offers the mount point.
pub fn mount_all() -> Result<Vec<String>> {
    for (kind, at) in NEEDED {
        mount_one(kind, at).with_context(|| format!("cannot mount {kind} on {at}"))?;
    }
    fs::create_dir_all("/dev/pts").context("cannot make /dev/pts")?;
    let mut warnings = Vec::new();
    for (kind, at) in WANTED {
        match mount_one(kind, at) {
            Ok(()) => {}
            Err(e) => warnings.push(format!("cannot mount {kind} on {at}: {e}")),
        }
    }
    Ok(warnings)
}

fn mount_one(kind: &str, at: &str) -> rustix::io::Result<()> {
    match mount(kind, at, kind, MountFlags::empty(), None) {
        // devtmpfs: mounted by the kernel itself where CONFIG_DEVTMPFS_MOUNT says so.
        Err(Errno::BUSY) => Ok(()),
        other => other,
    }
}

/// Loads modules in the given order; returns a sentence for each that would not load.
pub fn load_modules(names: &[String]) -> Vec<String> {
    let load = |name: &str| -> Result<()> {
        let file = File::open(Path::new(MODULES).join(name))?;
        match finit_module(&file, &CString::default(), 0) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(e) => bail!("{e}"),
        }
    };
    names
        .iter()
        .filter_map(|name| load(name).err().map(|e| format!("cannot load {name}: {e:#}")))
        .collect()
}

/// `uname -r`.
pub fn release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// Runs a busybox shell on the console until it ends.
pub fn shell(Shell { tty, size }: &Shell) -> Result<()> {
    let context = || format!("cannot open {tty} for the shell");
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let tty = rustix::fs::open(tty.as_str(), flags, Mode::empty()).with_context(context)?;
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&tty, size).with_context(context)?;
    let tty = File::from(tty);
    let busybox = |args: &[&str]| {
        let mut command = Command::new("/bin/busybox");
        command.args(args).env("PATH", "/bin").env("HOME", "/tmp").env("TERM", "linux");
        command
    };
    busybox(&["--install", "-s", "/bin"]).status().context("cannot run busybox")?;
    busybox(&["ip", "link", "set", "lo", "up"]).status().context("cannot run busybox")?;
    busybox(&["setsid", "-c", "sh"])
        .env("PS1", format!("{} # ", release()))
        .current_dir("/tmp")
        .stdin(Stdio::from(tty.try_clone()?))
        .stdout(Stdio::from(tty.try_clone()?))
        .stderr(Stdio::from(tty))
        .status()
        .context("cannot run the shell")?;
    Ok(())
}

/// Ends the machine; returns only if it cannot.
pub fn power_off() -> Result<()> {
    reboot(RebootCommand::PowerOff).context("cannot power off")
}
