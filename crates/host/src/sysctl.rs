//! Sysctls below `net.` of the calling thread's network namespace, which is how procfs resolves
//! `/proc/sys/net` (`net_ctl_set` in net/sysctl_net.c looks at `current`).

use std::{fs, path::PathBuf, str::FromStr};

use crate::ReadError;

/// The file of a sysctl; `key` is its name below `net.`, such as `core.somaxconn`.
pub fn path(key: &str) -> PathBuf {
    PathBuf::from("/proc/sys/net").join(key.replace('.', "/"))
}

/// Reads a number.
pub fn read<T: FromStr>(key: &str) -> Result<T, ReadError> {
    let path = path(key);
    let text = fs::read_to_string(&path).map_err(ReadError::io(&path.to_string_lossy()))?;
    text.trim().parse().map_err(|_| {
        let why = format!("net.{key} is {:?}, not a number", text.trim());
        ReadError::form("a sysctl", why)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_namespace_has_them() {
        assert!(read::<u32>("core.somaxconn").is_ok());
        assert!(read::<u8>("ipv4.tcp_syncookies").is_ok());
        let error = read::<u32>("ipv4.tcp_no_such_sysctl").unwrap_err();
        assert_eq!(error.to_string(), "reading /proc/sys/net/ipv4/tcp_no_such_sysctl failed");
    }
}
