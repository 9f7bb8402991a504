//! Sysctls that are the whole host's, as `tcp_syncookies` before v4.6 and `tcp_abort_on_overflow` before
//! v4.15: set for a run and put back, whatever ends it.
//!
//! A process of its own does it, for the one that runs the lab may be killed. It sets what it reads, and
//! when there is nothing more to read, because whoever wrote is gone, it puts back what it found.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, BufRead, BufReader, Write},
    os::{
        linux::net::SocketAddrExt,
        unix::{
            net::{SocketAddr, UnixListener},
            process::CommandExt,
        },
    },
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use nix::sys::signal::SigSet;

use crate::{LabError, error::During};

/// The hidden command of the program that is this process.
pub const COMMAND: &str = "keep-sysctls";
/// Where network sysctls are.
const SYSCTLS: &str = "/proc/sys/net";
/// Held while sysctls are set: an abstract socket, which the kernel closes with its process.
const LOCK: &str = "overflow-lab-sysctls";
/// The answer to a setting that was made.
const DONE: &str = "done";

/// Sysctls, by their names below `net.`, and their values.
pub(crate) type Settings = BTreeMap<String, u32>;

/// The process that sets global sysctls, seen from the lab.
pub(crate) struct Keeper {
    process: Child,
    /// Closing it puts everything back.
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Keeper {
    /// Starts it: this program again, by its hidden command [`COMMAND`].
    pub(crate) fn start() -> Result<Self, LabError> {
        let start = || -> io::Result<Self> {
            let mut process = Command::new("/proc/self/exe")
                .arg0("overflow")
                .arg(COMMAND)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                // What ends the lab from a terminal must not end it.
                .process_group(0)
                .spawn()?;
            match (process.stdin.take(), process.stdout.take()) {
                (Some(requests), Some(answers)) => {
                    let answers = BufReader::new(answers);
                    Ok(Self { process, requests: Some(requests), answers })
                }
                _ => Err(io::Error::other("it has no pipes")),
            }
        };
        start().during("starting the process that puts sysctls back")
    }

    /// Sets all of these for the whole host.
    pub(crate) fn set(&mut self, settings: &Settings) -> Result<(), LabError> {
        for (key, value) in settings {
            let answer = self.ask(key, *value).during("setting a sysctl of the whole host")?;
            if answer.trim_end() != DONE {
                let cause = io::Error::other(answer.trim_end().to_owned());
                let action = format!("set to {value}");
                return Err(LabError::Sysctl { key: key.clone(), action, cause });
            }
        }
        Ok(())
    }

    fn ask(&mut self, key: &str, value: u32) -> io::Result<String> {
        if let Some(requests) = &mut self.requests {
            writeln!(requests, "{key} {value}")?;
        }
        let mut answer = String::new();
        if self.answers.read_line(&mut answer)? == 0 {
            return Err(io::Error::other("its process ended"));
        }
        Ok(answer)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.requests = None;
        let _ = self.process.wait();
    }
}

/// Does what the hidden command does: sets what is asked for on standard input until that ends, then puts
/// back what there was.
pub fn keep() -> io::Result<()> {
    // It ends when its work is done.
    SigSet::all().thread_block()?;
    let name = SocketAddr::from_abstract_name(LOCK)?;
    let lock = UnixListener::bind_addr(&name);
    let mut kept = Kept { root: SYSCTLS.into(), found: BTreeMap::new() };
    match lock {
        Ok(_held) => kept.serve(io::stdin().lock(), io::stdout().lock()),
        Err(e) if e.kind() == io::ErrorKind::AddrInUse => {
            let why = "another overflow lab has set it for the whole host; run one after the other";
            writeln!(io::stdout(), "{why}")
        }
        Err(e) => Err(e),
    }
}

/// What was found before it was set.
struct Kept {
    root: PathBuf,
    found: BTreeMap<PathBuf, String>,
}

impl Kept {
    fn serve(&mut self, requests: impl BufRead, mut answers: impl Write) -> io::Result<()> {
        for request in requests.lines() {
            let answer = match self.set(&request?) {
                Ok(()) => DONE.to_owned(),
                Err(e) => e.to_string(),
            };
            // Whoever asked may be gone already.
            if writeln!(answers, "{answer}").and_then(|()| answers.flush()).is_err() {
                break;
            }
        }
        Ok(())
    }

    fn set(&mut self, request: &str) -> io::Result<()> {
        let (key, value) =
            request.split_once(' ').ok_or_else(|| io::Error::other("no key and value"))?;
        let path = self.root.join(key.replace('.', "/"));
        if !self.found.contains_key(&path) {
            self.found.insert(path.clone(), fs::read_to_string(&path)?);
        }
        write(&path, value)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        for (path, value) in &self.found {
            if let Err(e) = write(path, value) {
                let _ = writeln!(
                    io::stderr(),
                    "overflow: {} could not be put back to {}: {e}; set it yourself",
                    path.display(),
                    value.trim()
                );
            }
        }
    }
}

fn write(path: &Path, value: &str) -> io::Result<()> {
    fs::write(path, value)?;
    let now = fs::read_to_string(path)?;
    if now.trim() == value.trim() {
        return Ok(());
    }
    Err(io::Error::other(format!("it is {} afterwards", now.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory with two sysctls, of this test alone.
    fn sysctls(name: &str) -> PathBuf {
        let root = std::env::temp_dir().join(format!("overflow-{name}-{}", std::process::id()));
        fs::create_dir_all(root.join("ipv4")).unwrap();
        fs::write(root.join("ipv4/tcp_syncookies"), "1\n").unwrap();
        fs::write(root.join("ipv4/tcp_abort_on_overflow"), "0\n").unwrap();
        root
    }

    fn served(root: &Path, requests: &str) -> String {
        let mut kept = Kept { root: root.to_owned(), found: BTreeMap::new() };
        let mut answers = Vec::new();
        kept.serve(requests.as_bytes(), &mut answers).unwrap();
        let now = ["ipv4/tcp_syncookies", "ipv4/tcp_abort_on_overflow"]
            .map(|name| fs::read_to_string(root.join(name)).unwrap().trim().to_owned());
        format!("{}{}", String::from_utf8(answers).unwrap(), now.join(" "))
    }

    #[test]
    fn what_was_set_is_put_back_when_nothing_more_is_asked() {
        let root = sysctls("put-back");
        let requests =
            "ipv4.tcp_syncookies 0\nipv4.tcp_syncookies 2\nipv4.tcp_abort_on_overflow 1\n";
        assert_eq!(served(&root, requests), "done\ndone\ndone\n2 1");
        let now = ["ipv4/tcp_syncookies", "ipv4/tcp_abort_on_overflow"]
            .map(|name| fs::read_to_string(root.join(name)).unwrap());
        assert_eq!(now, ["1\n", "0\n"]);
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn what_cannot_be_set_says_why() {
        let root = sysctls("says-why");
        let said = served(&root, "ipv4.tcp_no_such 1\nnonsense\n");
        assert_eq!(said, "No such file or directory (os error 2)\nno key and value\n1 0");
        fs::remove_dir_all(root).unwrap();
    }
}
