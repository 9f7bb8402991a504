//! `owner`: who holds a listener, in the lines that name one.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::owner;

/// An owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner<'a> {
    /// The process to name first.
    pub pid: u32,
    /// Its name.
    pub comm: Cow<'a, str>,
    /// Every process that holds the socket.
    pub pids: Cow<'a, [u32]>,
    /// systemd unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Cow<'a, str>>,
    /// Container runtime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<Cow<'a, str>>,
    /// Container id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Cow<'a, str>>,
    /// Kubernetes pod UID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Cow<'a, str>>,
    /// Control group path.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub cgroup: Cow<'a, str>,
    /// Whether pid 1 holds it too or alone: socket activation.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub socket_activated: bool,
    /// Whether no holder was found, and this is who called `listen()`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub called_listen: bool,
}

/// One of several sockets that something can be about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate<'a> {
    /// Its inode number.
    pub inode: u64,
    /// Who holds it, `null` if nobody visible does.
    pub owner: Option<Owner<'a>>,
}

impl<'a> Owner<'a> {
    /// The owner as a line shows it; `None` if nothing is known of it.
    pub fn of(owner: Option<&'a owner::Owner>) -> Option<Self> {
        let owner = owner?;
        let main = owner.main()?;
        let container = owner.container();
        Some(Self {
            pid: main.pid,
            comm: Cow::Borrowed(main.comm.verbatim()),
            pids: Cow::Borrowed(&owner.pids),
            unit: owner.unit().map(|unit| unit.verbatim().into()),
            runtime: container.map(|c| c.runtime.verbatim().into()),
            container: container.map(|c| c.id.verbatim().into()),
            pod: main.cgroup.pod.as_ref().map(|pod| pod.verbatim().into()),
            cgroup: main.cgroup.path.verbatim().into(),
            socket_activated: owner.socket_activated(),
            called_listen: owner.called_listen,
        })
    }
}
