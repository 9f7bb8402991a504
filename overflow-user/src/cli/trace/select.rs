//! The options that choose listeners, shared by `trace`, `listeners` and `replay`.

use std::{net::IpAddr, path::Path};

use anyhow::{Context, Result, ensure};
use clap::{Args, value_parser};

use overflow::pipeline::Filter;
use overflow_core::listeners::{Inventory, Namespace};
use overflow_host::{cgroup, netns};

/// Which listeners.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Selection {
    /// Only these local ports
    #[arg(short = 'P', long, value_name = "PORT", value_delimiter = ',', value_parser = value_parser!(u16).range(1..))]
    port: Vec<u16>,
    /// Only listeners held by this process
    #[arg(short, long, value_name = "PID", value_delimiter = ',')]
    pid: Vec<u32>,
    /// Only IPv4 connections
    #[arg(short = '4', conflicts_with = "ipv6")]
    ipv4: bool,
    /// Only IPv6 connections
    #[arg(short = '6')]
    ipv6: bool,
    /// Only connections to this local address
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    addr: Vec<IpAddr>,
    /// Only this network namespace: name, path, inode number, or `self`
    #[arg(long, value_name = "NETNS", value_delimiter = ',')]
    netns: Vec<String>,
    /// Only listeners of this control group: path, systemd unit, or container id
    #[arg(long, value_name = "CGROUP")]
    cgroup: Option<String>,
}

impl Selection {
    /// What it means for looking at this host: what is asked for by a name that only something existing
    /// has must be there.
    pub(crate) fn resolve_here(&self) -> Result<Filter> {
        for pid in &self.pid {
            ensure!(
                Path::new(&format!("/proc/{pid}")).exists(),
                "there is no process {pid}; give the pid of one that runs, as `overflow listeners` shows it"
            );
        }
        if let Some(path) = self.cgroup.as_deref().filter(|asked| asked.starts_with('/')) {
            let below = path.strip_prefix(cgroup::MOUNT).unwrap_or(path);
            ensure!(
                cgroup::exists(below) != Some(false),
                "there is no control group `{path}` (looked below {}); give a path as in \
                 /proc/PID/cgroup, a systemd unit, or the id of a container",
                cgroup::MOUNT
            );
        }
        self.resolve()
    }

    /// What it means on this host.
    pub(crate) fn resolve(&self) -> Result<Filter> {
        self.filter(inum)
    }

    /// What it meant on the machine that had these listeners.
    pub(crate) fn resolve_recorded(&self, inventory: &Inventory) -> Result<Filter> {
        self.filter(|asked| recorded_inum(asked, inventory))
    }

    fn filter(&self, inum: impl Fn(&str) -> Result<u32>) -> Result<Filter> {
        Ok(Filter {
            ports: self.port.clone(),
            addresses: self.addr.clone(),
            family: match (self.ipv4, self.ipv6) {
                (true, _) => Some(4),
                (_, true) => Some(6),
                _ => None,
            },
            netns: self.netns.iter().map(|n| inum(n)).collect::<Result<_>>()?,
            pids: self.pid.clone(),
            cgroup: self.cgroup.clone(),
            port_tested: false,
        })
    }
}

/// The inode number of a network namespace.
fn inum(asked: &str) -> Result<u32> {
    if let Ok(inum) = asked.parse() {
        return Ok(inum);
    }
    let path = match asked {
        "self" => "/proc/self/ns/net".to_owned(),
        path if path.contains('/') => path.to_owned(),
        name => format!("/run/netns/{name}"),
    };
    netns::inum(Path::new(&path)).with_context(|| {
        format!(
            "there is no network namespace `{asked}` (looked at {path}); give a name of \
             `ip netns`, a path such as /proc/PID/ns/net, or an inode number"
        )
    })
}

/// The inode number of a network namespace of a recording.
fn recorded_inum(asked: &str, inventory: &Inventory) -> Result<u32> {
    if let Ok(inum) = asked.parse() {
        return Ok(inum);
    }
    let mut known = inventory.namespaces.values().map(|there| &there.namespace);
    let is = |namespace: &&Namespace| match asked {
        "self" => namespace.own,
        name => namespace.name.as_ref().is_some_and(|its| its == name),
    };
    let names: Vec<String> =
        known.clone().filter_map(|one| Some(one.name.as_ref()?.to_string())).collect();
    let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let found = known.find(is).map(|namespace| namespace.inum);
    found.with_context(|| {
        format!(
            "the recording has no network namespace `{asked}`; it has by name: {names}; give one of \
             these or an inode number"
        )
    })
}

#[cfg(test)]
mod tests {
    use overflow_core::listeners::{Surroundings, Sysctls};

    use super::*;

    #[test]
    fn what_is_asked_for_by_path_or_pid_must_be_there() {
        let refused = |selection: Selection| selection.resolve_here().unwrap_err().to_string();
        let of = |path: &str| Selection { cgroup: Some(path.to_owned()), ..Selection::default() };
        if cgroup::exists("/").is_some() {
            let error = refused(of("/no/such-group"));
            assert!(error.starts_with("there is no control group `/no/such-group`"), "{error}");
            assert!(refused(of("/sys/fs/cgroup/no/such")).contains("`/sys/fs/cgroup/no/such`"));
        }
        // Of those that have another name, only listeners tell.
        for there in ["/", "/sys/fs/cgroup", "no-such.service"] {
            of(there).resolve_here().unwrap();
        }
        let by_pid = |pid| Selection { pid: vec![pid], ..Selection::default() };
        assert!(refused(by_pid(u32::MAX)).starts_with("there is no process 4294967295;"));
        by_pid(std::process::id()).resolve_here().unwrap();
        // A recording is of another host.
        of("/no/such-group").resolve().unwrap();
    }

    #[test]
    fn a_recordings_namespaces_have_its_own_names() {
        let there = |inum, name: Option<&str>, own| {
            let namespace = Namespace { inum, name: name.map(Into::into), own };
            (inum, Surroundings { namespace, sysctls: Sysctls::default(), counters: None })
        };
        let namespaces = [there(7, None, true), there(8, Some("web"), false)].into();
        let mut inventory = Inventory::default();
        inventory.namespaces = namespaces;
        let found = |asked| recorded_inum(asked, &inventory);
        assert_eq!((found("web").unwrap(), found("self").unwrap()), (8, 7));
        assert_eq!(found("9").unwrap(), 9);
        let error = found("db").unwrap_err().to_string();
        assert!(error.contains("`db`; it has by name: web"), "{error}");
    }

    #[test]
    fn namespaces_by_number_path_and_name() {
        assert_eq!(inum("4026531840").unwrap(), 4_026_531_840);
        assert_eq!(inum("self").unwrap(), inum("/proc/self/ns/net").unwrap());
        let error = format!("{:#}", inum("no-such-name").unwrap_err());
        assert!(error.contains("/run/netns/no-such-name"), "{error}");
    }
}
