//! Landlock: no file, directory or TCP port can be opened any more.

use std::io;

use ::landlock::{
    ABI, Access, AccessFs, AccessNet, LandlockStatus, Ruleset, RulesetAttr, RulesetCreated, Scope,
};

/// Rights up to this version are refused; of an older kernel's, those that it knows.
const RIGHTS: ABI = ABI::V6;

/// Refuses the calling thread every file and TCP port; descriptors that are open stay usable. The
/// version in use, or `None` on a kernel without Landlock: before v5.13 (commit 17ae69aba89d), or
/// not in its `lsm=` list.
///
/// Signals are not scoped (version 6): the command of `--cmd` must be ended.
pub(super) fn restrict() -> io::Result<Option<i32>> {
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(RIGHTS))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(RIGHTS)))
        .and_then(|rules| rules.scope(Scope::AbstractUnixSocket))
        .and_then(Ruleset::create)
        .and_then(RulesetCreated::restrict_self)
        .map_err(io::Error::other)?;
    Ok(match status.landlock {
        LandlockStatus::Available { effective_abi, .. } => Some(effective_abi as i32),
        LandlockStatus::NotEnabled | LandlockStatus::NotImplemented => None,
    })
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Read, net::TcpStream, thread};

    use super::*;

    #[test]
    fn files_are_out_of_reach_but_those_open() {
        let mut open = File::open("/proc/self/status").unwrap();
        let confined = thread::spawn(move || {
            let version = restrict_with_privileges_given_up()?;
            for file in ["/proc/self/status", "/etc/passwd", "/"] {
                let refused = File::open(file).unwrap_err();
                assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied, "{file}");
            }
            // Version 4, of v6.7, refuses TCP too.
            if version >= 4 {
                let refused = TcpStream::connect("127.0.0.1:9").unwrap_err();
                assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
            }
            let mut text = String::new();
            open.read_to_string(&mut text).unwrap();
            assert!(text.contains("Threads"));
            Some(version)
        });
        if confined.join().unwrap().is_none() {
            eprintln!("this kernel has no Landlock, nothing is tested");
        }
    }

    fn restrict_with_privileges_given_up() -> Option<i32> {
        rustix::thread::set_no_new_privs(true).unwrap();
        restrict().unwrap()
    }
}
