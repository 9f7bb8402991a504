//! Runs one command in a directory of its own and sends what it says and leaves behind.

use std::{
    fs::{self, File},
    io::Read,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    thread,
};

use anyhow::{Context as _, Result};
use guest_init::{
    frame::{Frame, MAX_PAYLOAD},
    plan::{Job, Size},
};
use rustix::{
    pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{OptionalActions, Winsize, tcgetattr, tcsetattr, tcsetwinsize},
};

use crate::line::Line;

/// Runs the job to its end: output as it comes, then its files, then its exit status.
pub fn run(job: &Job, number: usize, line: &Line) -> Result<()> {
    let dir = PathBuf::from(format!("/tmp/job{number}"));
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let code = match execute(job, &dir, line) {
        Ok(status) => exit_code(status),
        Err(e) => {
            line.send(&Frame::Warning(format!("{e:#}")))?;
            127
        }
    };
    send_files(&dir, &dir, line)?;
    line.send(&Frame::Exit(code))
}

fn execute(job: &Job, dir: &Path, line: &Line) -> Result<ExitStatus> {
    let (program, args) = job.argv.split_first().context("a job without a program")?;
    let (out_reader, out) = channel(job.stdout)?;
    let (err_reader, err) = channel(job.stderr)?;
    let mut child = Command::new(Path::new("/bin").join(program))
        .args(args)
        .env_clear()
        .env("PATH", "/bin")
        .env("HOME", dir)
        .envs(job.env.iter().map(|(k, v)| (k, v)))
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .spawn()
        .with_context(|| format!("cannot start {program}"))?;
    // The Command above is gone and with it our copies of the writing ends, so that both readers
    // see the end when the child's copies close.
    thread::scope(|scope| {
        scope.spawn(|| forward(out_reader, Frame::Stdout, line));
        scope.spawn(|| forward(err_reader, Frame::Stderr, line));
    });
    child.wait().with_context(|| format!("cannot wait for {program}"))
}

/// The reading end here and the writing end for the child: a terminal of the given size, or a pipe.
fn channel(terminal: Option<Size>) -> Result<(File, Stdio)> {
    let Some(size) = terminal else {
        let (reader, writer) = std::io::pipe().context("cannot make a pipe")?;
        return Ok((File::from(std::os::fd::OwnedFd::from(reader)), Stdio::from(writer)));
    };
    let context = "cannot make a pseudo-terminal";
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags).context(context)?;
    grantpt(&master).context(context)?;
    unlockpt(&master).context(context)?;
    let slave = ioctl_tiocgptpeer(&master, flags).context(context)?;
    let mut termios = tcgetattr(&slave).context(context)?;
    // The host's own terminal turns newlines into what it needs.
    termios.make_raw();
    tcsetattr(&slave, OptionalActions::Now, &termios).context(context)?;
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&slave, size).context(context)?;
    Ok((File::from(master), Stdio::from(slave)))
}

/// Sends all there is to read. Errors end it: a terminal reports its end as EIO, and a broken line
/// is reported by the next frame sent.
fn forward(mut from: File, frame: impl Fn(Vec<u8>) -> Frame, line: &Line) {
    let mut buffer = vec![0; MAX_PAYLOAD];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        if line.send(&frame(buffer[..n].to_vec())).is_err() {
            break;
        }
    }
}

fn send_files(dir: &Path, root: &Path, line: &Line) -> Result<()> {
    let context = || format!("cannot read {}", dir.display());
    for entry in fs::read_dir(dir).with_context(context)? {
        let path = entry.with_context(context)?.path();
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            send_files(&path, root, line)?;
            continue;
        }
        let name = path.strip_prefix(root)?.to_string_lossy().into_owned();
        line.send(&Frame::File(name))?;
        let mut file = File::open(&path)?;
        let mut buffer = vec![0; MAX_PAYLOAD];
        while let n @ 1.. = file.read(&mut buffer)? {
            line.send(&Frame::FileData(buffer[..n].to_vec()))?;
        }
    }
    Ok(())
}

fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|n| 128 + n)).unwrap_or(255);
    u8::try_from(code).unwrap_or(255)
}
