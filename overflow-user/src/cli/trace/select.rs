//! The options that choose listeners, shared by `trace`, `listeners` and `replay`.

use std::{net::IpAddr, path::Path};

use anyhow::{Context, Result};
use clap::{Args, value_parser};

use overflow::pipeline::Filter;
use overflow_core::listeners::Inventory;
use overflow_host::{netns, process_exists};

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
    /// What it means on this host.
    pub(crate) fn resolve(&self) -> Result<Filter> {
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

/// What of the filter nobody on this host fits: a sentence each. `traced`: listeners that are opened
/// later are shown too.
pub(crate) fn unmatched(filter: &Filter, inventory: &Inventory, traced: bool) -> Vec<String> {
    let later = if traced { "; those that are opened from now on are traced" } else { "" };
    let pids = filter.without_listener(&inventory.listeners);
    let pids = pids.into_iter().map(|pid| {
        if process_exists(pid) {
            format!("process {pid} holds no TCP listener{later}")
        } else {
            format!(
                "there is no process {pid}, so -p {pid} matches nothing: has its service been \
                 restarted?"
            )
        }
    });
    let cgroup = filter.unknown_cgroup(&inventory.listeners);
    let cgroup =
        cgroup.map(|asked| format!("control group `{asked}` holds no TCP listener{later}"));
    pids.chain(cgroup).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_by_number_path_and_name() {
        assert_eq!(inum("4026531840").unwrap(), 4_026_531_840);
        assert_eq!(inum("self").unwrap(), inum("/proc/self/ns/net").unwrap());
        let error = format!("{:#}", inum("no-such-name").unwrap_err());
        assert!(error.contains("/run/netns/no-such-name"), "{error}");
    }
}
