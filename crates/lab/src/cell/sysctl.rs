//! Sets sysctls below `net.` of the calling thread's network namespace; why one cannot be set.

use std::{fs, io};

use overflow_host::{
    ReadError,
    sysctl::{self, path},
};

use crate::LabError;

/// Reads a number; `key` is the name below `net.`, such as `core.somaxconn`.
pub(crate) fn read(key: &str) -> Result<u32, LabError> {
    sysctl::read(key).map_err(|error| match error {
        ReadError::Io { source, .. } => explain(key, "read".into(), source),
        error @ ReadError::Form { .. } => error.into(),
    })
}

/// Sets a number and reads it back: procfs clamps or ignores some values without an error.
pub(crate) fn set(key: &str, value: u32) -> Result<(), LabError> {
    let action = || format!("set to {value}");
    fs::write(path(key), value.to_string()).map_err(|e| explain(key, action(), e))?;
    let now = read(key)?;
    if now == value {
        return Ok(());
    }
    let cause = io::Error::other(format!("it is {now} afterwards"));
    Err(LabError::Sysctl { key: key.to_owned(), action: action(), cause })
}

fn explain(key: &str, action: String, cause: io::Error) -> LabError {
    // A namespace of its own shows per-namespace sysctls only.
    if cause.kind() == io::ErrorKind::NotFound && path("ipv4").exists() {
        return LabError::SysctlNotPerNamespace { key: key.to_owned() };
    }
    LabError::Sysctl { key: key.to_owned(), action, cause }
}
