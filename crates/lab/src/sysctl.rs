//! Sysctls below `net.` of the calling thread's network namespace, which is how procfs resolves
//! `/proc/sys/net` (`net_ctl_set` in net/sysctl_net.c looks at `current`).

use std::{fs, io, path::PathBuf};

use super::LabError;

/// Reads a number; `key` is the name below `net.`, such as `core.somaxconn`.
pub(super) fn read(key: &str) -> Result<u32, LabError> {
    let text = fs::read_to_string(path(key)).map_err(|e| explain(key, "read".into(), e))?;
    text.trim().parse().map_err(|_| LabError::Parse {
        what: "a sysctl",
        why: format!("net.{key} is {:?}, not a number", text.trim()),
    })
}

/// Sets a number and reads it back: procfs clamps or ignores some values without an error.
pub(super) fn set(key: &str, value: u32) -> Result<(), LabError> {
    let action = || format!("set to {value}");
    fs::write(path(key), value.to_string()).map_err(|e| explain(key, action(), e))?;
    let now = read(key)?;
    if now == value {
        return Ok(());
    }
    let source = io::Error::other(format!("it is {now} afterwards"));
    Err(LabError::Sysctl { key: key.to_owned(), action: action(), source })
}

fn path(key: &str) -> PathBuf {
    PathBuf::from("/proc/sys/net").join(key.replace('.', "/"))
}

fn explain(key: &str, action: String, source: io::Error) -> LabError {
    // A namespace of its own shows per-namespace sysctls only.
    if source.kind() == io::ErrorKind::NotFound && path("ipv4").exists() {
        return LabError::SysctlNotPerNamespace { key: key.to_owned() };
    }
    LabError::Sysctl { key: key.to_owned(), action, source }
}
