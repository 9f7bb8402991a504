//! Which listeners are meant: by port, address, family, namespace and owner. Pure.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use crate::probe::TraceConfig;
use overflow_core::{listeners::Listener, owner::Process};

/// What was asked for; empty lists mean everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Local ports.
    pub ports: Vec<u16>,
    /// Local addresses.
    pub addresses: Vec<IpAddr>,
    /// 4 or 6: the version of the connections' IP headers.
    pub family: Option<u8>,
    /// Network namespaces, by inode number.
    pub netns: Vec<u32>,
    /// Processes that hold the listener.
    pub pids: Vec<u32>,
    /// Control group path, systemd unit or container id of the owner.
    pub cgroup: Option<String>,
    /// Whether the eBPF side tests the listener's own port. Then a segment's port, which can be
    /// another one where a program steers (`sk_lookup`, TPROXY), is no reason to leave it out.
    pub port_tested: bool,
}

impl Filter {
    /// Whether connections to `server` in `netns` are meant, as far as the address tells.
    pub(crate) fn address(&self, netns: u32, server: SocketAddr) -> bool {
        wants(&self.ports, &server.port()) && self.but_for_port(netns, server)
    }

    fn but_for_port(&self, netns: u32, server: SocketAddr) -> bool {
        wants(&self.addresses, &server.ip())
            && wants(&self.netns, &netns)
            && self.family.is_none_or(|f| (f == 4) == server.is_ipv4())
    }

    /// Whether connections to `server` are meant that are this listener's.
    pub(crate) fn connection(&self, listener: &Listener, server: SocketAddr) -> bool {
        let own = SocketAddr::new(server.ip(), listener.local.port());
        self.address(listener.netns, own) && self.owner(&[listener])
    }

    /// Whether connections to `server` are meant that belong to a listener of which nothing is known
    /// but that it is there.
    pub(crate) fn stranger(&self, netns: u32, server: SocketAddr) -> bool {
        let port = if self.port_tested { &[] } else { &*self.ports };
        !self.by_owner() && wants(port, &server.port()) && self.but_for_port(netns, server)
    }

    /// Whether the owner decides too.
    pub(crate) fn by_owner(&self) -> bool {
        !self.pids.is_empty() || self.cgroup.is_some()
    }

    /// Whether one of these listeners, which share an address, has an owner that is meant.
    pub(crate) fn owner(&self, group: &[&Listener]) -> bool {
        !self.by_owner() || group.iter().any(|l| self.owns(l))
    }

    /// Whether this listener is meant: it can take connections that are.
    pub fn listener(&self, listener: &Listener) -> bool {
        self.listens(listener) && self.owner(&[listener])
    }

    /// The same, whoever its owner is.
    pub fn listens(&self, listener: &Listener) -> bool {
        let port = listener.local.port();
        let takes = |ip: &IpAddr| listener.matches(SocketAddr::new(*ip, port)).is_some();
        let family = match self.family {
            Some(4) => listener.local.is_ipv4() || takes(&IpAddr::from([127, 0, 0, 1])),
            Some(_) => listener.local.is_ipv6(),
            None => true,
        };
        family
            && wants(&self.ports, &port)
            && wants(&self.netns, &listener.netns)
            && (self.addresses.is_empty() || self.addresses.iter().any(takes))
    }

    fn owns(&self, listener: &Listener) -> bool {
        let Some(owner) = &listener.owner else { return false };
        let pid = self.pids.is_empty() || self.pids.iter().any(|pid| owner.pids.contains(pid));
        let group = self.cgroup.as_ref();
        pid && group.is_none_or(|g| owner.processes.iter().any(|p| in_cgroup(p, g)))
    }

    /// All of it, for the eBPF side: owners are left to [`Self::excluded`].
    pub fn push_down(&self, config: &mut TraceConfig) {
        config.ports.clone_from(&self.ports);
        config.addresses.clone_from(&self.addresses);
        config.family = self.family;
        config.netns.clone_from(&self.netns);
        config.excluded = self.by_owner();
    }

    /// Listeners whose owner is known and not meant: (inode number of the namespace, of the
    /// socket).
    pub(crate) fn excluded(&self, listeners: &[Listener]) -> BTreeSet<(u32, u32)> {
        let others = listeners.iter().filter(|l| l.owner.is_some() && !self.owns(l));
        others.filter_map(|l| Some((l.netns, u32::try_from(l.inode).ok()?))).collect()
    }

    /// In words, for the header; empty if everything is meant.
    pub fn in_words(&self) -> String {
        let list = |what: &str, items: &[String]| {
            (!items.is_empty()).then(|| format!("{what} {}", items.join(",")))
        };
        [
            list("port", &texts(&self.ports)),
            list("address", &texts(&self.addresses)),
            self.family.map(|f| format!("IPv{f}")),
            list("netns", &texts(&self.netns)),
            list("pid", &texts(&self.pids)),
            self.cgroup.as_ref().map(|g| format!("cgroup {g}")),
        ]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(", ")
    }
}

fn texts<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

fn wants<T: PartialEq>(list: &[T], value: &T) -> bool {
    list.is_empty() || list.contains(value)
}

/// `asked` can be the path (or one above it), the unit, or the beginning of the container's id.
fn in_cgroup(process: &Process, asked: &str) -> bool {
    let cgroup = &process.cgroup;
    let path = asked.trim_end_matches('/');
    let path = path.strip_prefix("/sys/fs/cgroup").unwrap_or(path);
    let below =
        cgroup.path.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let by_path = path.starts_with('/') && below;
    let by_unit = cgroup
        .unit
        .as_deref()
        .is_some_and(|u| u == asked || u.strip_suffix(".service") == Some(asked));
    let by_container = cgroup
        .container
        .as_ref()
        .is_some_and(|c| c.id == asked || (asked.len() >= 8 && c.id.starts_with(asked)));
    by_path || by_unit || by_container
}

#[cfg(test)]
mod tests {
    use super::*;
    use overflow_core::{
        listeners::sample::listener,
        owner::{Cgroup, Container, Owner},
    };

    fn owned(cgroup: Cgroup) -> Listener {
        let process = Process { pid: 10, ppid: 1, comm: "app".to_owned(), start: 1, cgroup };
        let owner = Owner { processes: vec![process], pids: vec![10, 11] };
        Listener { owner: Some(owner), ..listener("0.0.0.0:80") }
    }

    #[test]
    fn every_part_must_fit() {
        let filter =
            Filter { ports: vec![80, 443], family: Some(4), netns: vec![1], ..Filter::default() };
        let server = |s: &str| s.parse().unwrap();
        assert!(filter.address(1, server("10.0.0.1:443")));
        assert!(!filter.address(1, server("10.0.0.1:8080")));
        assert!(!filter.address(2, server("10.0.0.1:80")));
        assert!(!filter.address(1, server("[::1]:80")));
        assert_eq!(filter.in_words(), "port 80,443, IPv4, netns 1");
        assert!(Filter::default().address(9, server("[::1]:1")));
    }

    #[test]
    fn a_listeners_own_port_counts_and_not_the_segments() {
        let by_port = |port| Filter { ports: vec![port], ..Filter::default() };
        let server = "10.0.0.1:443".parse().unwrap();
        let steered = listener("127.0.0.1:8443");
        assert!(by_port(8443).connection(&steered, server));
        assert!(!by_port(443).connection(&steered, server));
        let by_address = Filter { addresses: vec!["10.0.0.1".parse().unwrap()], ..by_port(8443) };
        assert!(by_address.connection(&steered, server));
        // Of a listener that is not known, only the eBPF side knows the port.
        assert!(!by_port(8443).stranger(1, server) && by_port(443).stranger(1, server));
        let tested = Filter { port_tested: true, ..by_port(8443) };
        assert!(tested.stranger(1, server));
        assert!(!Filter { pids: vec![7], ..tested.clone() }.stranger(1, server));
        assert!(!Filter { netns: vec![2], ..tested }.stranger(1, server));
    }

    #[test]
    fn a_dual_stack_listener_is_of_both_families() {
        let by_family = |family| Filter { family: Some(family), ..Filter::default() };
        let dual = listener("[::]:80");
        assert!(by_family(4).listener(&dual) && by_family(6).listener(&dual));
        let v6only = Listener { v6only: true, ..dual };
        assert!(!by_family(4).listener(&v6only));
        assert!(!by_family(6).listener(&listener("0.0.0.0:80")));
    }

    #[test]
    fn owners_are_asked_for_by_pid_path_unit_and_container() {
        let unit = owned(Cgroup {
            path: "/system.slice/nginx.service".to_owned(),
            unit: Some("nginx.service".to_owned()),
            ..Cgroup::default()
        });
        let by = |cgroup: &str| Filter { cgroup: Some(cgroup.to_owned()), ..Filter::default() };
        for asked in ["nginx.service", "nginx", "/system.slice", "/sys/fs/cgroup/system.slice/"] {
            assert!(by(asked).listener(&unit), "{asked}");
        }
        for asked in ["/system", "ngin", "/system.slice/nginx", "service"] {
            assert!(!by(asked).listener(&unit), "{asked}");
        }
        let container =
            Container { runtime: "docker".to_owned(), id: "0123456789abcdef".to_owned() };
        let docker = owned(Cgroup { container: Some(container), ..Cgroup::default() });
        assert!(by("0123456789ab").listener(&docker));
        assert!(!by("0123").listener(&docker));
        let pid = |pid| Filter { pids: vec![pid], ..Filter::default() };
        assert!(pid(11).listener(&docker) && !pid(12).listener(&docker));
        assert!(!pid(11).listener(&listener("0.0.0.0:80")));
    }
}
