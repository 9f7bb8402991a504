//! Installs Debian packages on this system, and waits while another package manager holds its locks:
//! a fresh machine is often still busy with its own first upgrade.

use std::{
    fmt,
    fs::{self, File},
    io,
    process::Command,
    thread,
    time::Duration,
};

use anyhow::Result;
use rustix::process::{Flock, FlockType, fcntl_getlk};

use crate::{
    exec,
    lock::{LIMIT, PAUSE},
    progress,
};

/// What apt-get and dpkg lock (fcntl) to read indexes, download and install.
const LOCKS: &[&str] = &[
    "/var/lib/dpkg/lock-frontend",
    "/var/lib/dpkg/lock",
    "/var/lib/apt/lists/lock",
    "/var/cache/apt/archives/lock",
];

/// Who is in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Holder {
    lock: String,
    /// Unknown if it runs where this process cannot see it, such as outside a container.
    pid: Option<u32>,
    name: String,
}

/// Somebody held a lock until patience ended.
#[derive(Debug)]
struct InTheWay(Holder, Duration);

impl std::error::Error for InTheWay {}

impl fmt::Display for InTheWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (holder, waited) = (&self.0, progress::seconds(self.1));
        write!(
            f,
            "{holder}, has been in the way for {waited}: end it or let it finish, then try again"
        )
    }
}

/// How an attempt ended, if it did not fail.
enum Attempt<T> {
    Done(T),
    Blocked(Holder),
}

/// Installs packages; this user must be allowed to.
pub fn install(packages: &[&str]) -> Result<()> {
    let install = || apt_get(&[&["install"], packages].concat());
    // A fresh machine has no package lists, an old one has lists that the archive left behind.
    install().or_else(|error| {
        if error.is::<InTheWay>() {
            return Err(error);
        }
        apt_get(&["update"])?;
        install()
    })
}

/// The command that a user would type.
pub fn command(packages: &[&str]) -> String {
    format!("apt-get install -y --no-install-recommends {}", packages.join(" "))
}

fn apt_get(args: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    command.args(["-y", "-q", "--no-install-recommends"]).args(args);
    // The language is that of the messages that are read here.
    command.env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C.UTF-8");
    patiently(LIMIT, || attempt(&mut command), &mut || thread::sleep(PAUSE))
}

fn attempt(command: &mut Command) -> Result<Attempt<()>> {
    if let Some(holder) = LOCKS.iter().find_map(|lock| holder(lock)) {
        return Ok(Attempt::Blocked(holder));
    }
    // Its progress is shown as it comes; its complaints only if they are not about locks.
    let output = exec::capture(command.stdout(io::stderr()))?;
    let complaints = String::from_utf8_lossy(&output.stderr);
    if !output.status.success()
        && let Some(holder) = blocked(&complaints)
    {
        return Ok(Attempt::Blocked(holder));
    }
    eprint!("{complaints}");
    exec::succeeded(command, &output)?;
    Ok(Attempt::Done(()))
}

/// Attempts it again and again while somebody is in the way; says so once, and gives up in the end.
fn patiently<T>(
    limit: Duration,
    mut attempt: impl FnMut() -> Result<Attempt<T>>,
    pause: &mut dyn FnMut(),
) -> Result<T> {
    let mut waited = Duration::ZERO;
    let mut announced = None;
    loop {
        let holder = match attempt()? {
            Attempt::Done(value) => return Ok(value),
            Attempt::Blocked(holder) => holder,
        };
        if waited >= limit {
            return Err(InTheWay(holder, limit).into());
        }
        if announced.is_none_or(|pid| pid != holder.pid) {
            progress::note(&format!("waiting for {holder}, at most {}", progress::seconds(limit)));
            announced = Some(holder.pid);
        }
        pause();
        waited += PAUSE;
    }
}

/// Who holds a lock; `None` if nobody does, or if that is not known.
fn holder(lock: &str) -> Option<Holder> {
    let file = File::open(lock).ok()?;
    let held = fcntl_getlk(&file, &Flock::from(FlockType::WriteLock)).ok()??;
    let pid = held.pid.and_then(|pid| u32::try_from(pid.as_raw_nonzero().get()).ok());
    let name = pid.and_then(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).ok());
    let name = name.map_or_else(|| "unknown here".to_owned(), |name| name.trim().to_owned());
    Some(Holder { lock: lock.to_owned(), pid, name })
}

/// Reads of apt-get's or dpkg's complaints who held a lock that it could not get.
fn blocked(complaints: &str) -> Option<Holder> {
    complaints.lines().find_map(|line| {
        let unknown = || "unknown here".to_owned();
        // apt: "E: Could not get lock FILE. It is held by process PID (NAME)", or
        // "E: Could not get lock FILE - open (11: Resource temporarily unavailable)".
        if let Some(rest) = line.strip_prefix("E: Could not get lock ") {
            let (lock, rest) = rest.split_once(['.', ' ']).unwrap_or((rest, ""));
            let by = rest.trim_start().strip_prefix("It is held by process ");
            let pid = by.and_then(|by| by.split(' ').next()?.parse().ok());
            let name = by.and_then(|by| Some(by.split_once('(')?.1.strip_suffix(')')?.to_owned()));
            return Some(Holder { lock: lock.to_owned(), pid, name: name.unwrap_or_else(unknown) });
        }
        // dpkg: "dpkg: error: dpkg frontend lock was locked by another process with pid PID".
        let (before, pid) = line.split_once(" was locked by another process with pid ")?;
        let lock = before.rsplit_once(": ").map_or(before, |(_, lock)| lock).to_owned();
        Some(Holder { lock, pid: pid.split_whitespace().next()?.parse().ok(), name: unknown() })
    })
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lock, pid, name } = self;
        match pid {
            Some(pid) => {
                write!(f, "another package manager (PID {pid}, {name}), which holds {lock}")
            }
            None => write!(f, "another package manager ({name}), which holds {lock}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(lock: &str, pid: Option<u32>, name: &str) -> Holder {
        Holder { lock: lock.to_owned(), pid, name: name.to_owned() }
    }

    #[test]
    fn the_holder_is_read_from_complaints() {
        let apt = "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 12989 \
                   (apt-get)\nE: Unable to acquire the dpkg frontend lock \
                   (/var/lib/dpkg/lock-frontend), is another process using it?\n";
        let expected = by("/var/lib/dpkg/lock-frontend", Some(12989), "apt-get");
        assert_eq!(blocked(apt), Some(expected));
        let old = "Reading package lists...\nE: Could not get lock /var/lib/apt/lists/lock - open \
                   (11: Resource temporarily unavailable)\n";
        assert_eq!(blocked(old), Some(by("/var/lib/apt/lists/lock", None, "unknown here")));
        let dpkg = "dpkg: error: dpkg frontend lock was locked by another process with pid 77\n\
                    Note: removing the lock file is always wrong\n";
        assert_eq!(blocked(dpkg), Some(by("dpkg frontend lock", Some(77), "unknown here")));
        for other in [
            "E: Unable to locate package qemu\n",
            "E: Could not open lock file /var/lib/dpkg/lock-frontend - open (13: Permission denied)\n",
            "",
        ] {
            assert_eq!(blocked(other), None, "{other}");
        }
    }

    #[test]
    fn who_is_in_the_way_is_waited_for() {
        let mut left = 3;
        let mut pauses = 0;
        let attempt = || {
            left -= 1;
            Ok(if left > 0 { Attempt::Blocked(by("/l", Some(1), "apt")) } else { Attempt::Done(7) })
        };
        let done = patiently(Duration::from_mins(1), attempt, &mut || pauses += 1);
        assert_eq!((done.unwrap(), pauses), (7, 2));
    }

    #[test]
    fn waiting_ends_with_one_sentence() {
        let mut pauses = 0;
        let attempt = || Ok(Attempt::<()>::Blocked(by("/var/lib/dpkg/lock", Some(9), "dpkg")));
        let error = patiently(Duration::from_secs(6), attempt, &mut || pauses += 1).unwrap_err();
        assert_eq!(pauses, 3);
        assert_eq!(
            error.to_string(),
            "another package manager (PID 9, dpkg), which holds /var/lib/dpkg/lock, has been in the \
             way for 6.0 s: end it or let it finish, then try again"
        );
    }

    #[test]
    fn another_failure_is_not_waited_for() {
        let attempt = || -> Result<Attempt<()>> { anyhow::bail!("no such package") };
        let error = patiently(LIMIT, attempt, &mut || panic!("it waited")).unwrap_err();
        assert_eq!(error.to_string(), "no such package");
    }

    #[test]
    fn a_lock_that_nobody_holds_has_no_holder() {
        let path = std::env::temp_dir().join(format!("overflow-lock-{}", std::process::id()));
        File::create(&path).unwrap();
        assert_eq!(holder(path.to_str().unwrap()), None);
        fs::remove_file(&path).unwrap();
        assert_eq!(holder(path.to_str().unwrap()), None);
    }
}
