//! Landlock: no file, directory or TCP port can be opened any more.

use std::io;

use ::landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, NetPort, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, Scope, path_beneath_rules,
};

/// Rights up to this version are refused; of an older kernel's, those that it knows.
const RIGHTS: ABI = ABI::V6;

/// Refuses the calling thread every file and TCP port; descriptors that are open stay usable. The
/// version in use, or `None` on a kernel without Landlock: before v5.13 (commit 17ae69aba89d), or
/// not in its `lsm=` list.
///
/// Signals are not scoped (version 6): the command of `--cmd` must be ended.
pub fn restrict() -> io::Result<Option<i32>> {
    refuse(Scope::AbstractUnixSocket.into(), Ok)
}

/// What libc reads to find a host by its name.
const NAMES: [&str; 5] =
    ["/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf"];

/// Refuses the calling thread every file but those that name resolution needs, and TCP but to
/// these ports, which takes version 4, of v6.7 (commit fff69fb03dde). UDP is not refused.
pub(super) fn restrict_sender(ports: &[u16]) -> io::Result<Option<i32>> {
    refuse(Scope::AbstractUnixSocket | Scope::Signal, |rules| {
        let to = |port: &u16| Ok::<_, RulesetError>(NetPort::new(*port, AccessNet::ConnectTcp));
        // A file that is replaced later is another one, and is refused.
        rules
            .add_rules(path_beneath_rules(NAMES, AccessFs::ReadFile))?
            .add_rules(ports.iter().map(to))
    })
}

/// Refuses everything there are rights for, but for what `but` adds.
fn refuse(
    scope: BitFlags<Scope>,
    but: impl FnOnce(RulesetCreated) -> Result<RulesetCreated, RulesetError>,
) -> io::Result<Option<i32>> {
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(RIGHTS))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(RIGHTS)))
        .and_then(|rules| rules.scope(scope))
        .and_then(Ruleset::create)
        .and_then(but)
        .and_then(RulesetCreated::restrict_self)
        // It names its causes itself.
        .map_err(|e| io::Error::other(e.to_string()))?;
    Ok(match status.landlock {
        LandlockStatus::Available { effective_abi, .. } => Some(effective_abi as i32),
        LandlockStatus::NotEnabled | LandlockStatus::NotImplemented => None,
    })
}
