//! Which listeners are meant: by port, address, family, namespace and owner. Pure.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use crate::probe::TraceConfig;
use overflow_core::{
    listeners::{Inventory, Listener},
    owner::Process,
    text::Untrusted,
};

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

/// Everything, for tests.
#[cfg(test)]
pub(crate) static EVERYTHING: Filter = Filter {
    ports: Vec::new(),
    addresses: Vec::new(),
    family: None,
    netns: Vec::new(),
    pids: Vec::new(),
    cgroup: None,
    port_tested: false,
};

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

    /// Whether connections to `server` are meant: of this listener, or of one of which nothing is known.
    pub fn takes(&self, listener: Option<&Listener>, netns: u32, server: SocketAddr) -> bool {
        match listener {
            Some(listener) => self.connection(listener, server),
            None => self.stranger(netns, server),
        }
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

    /// What of it no listener meets now, as sentences. Of ports and addresses nothing is said: servers
    /// come and go.
    pub fn unmet(&self, found: &Inventory) -> Vec<String> {
        let none = |filter: Self| !found.listeners.iter().any(|l| filter.owns(l));
        let mut unmet = Vec::new();
        for netns in self.netns.iter().filter(|netns| !found.namespaces.contains_key(netns)) {
            unmet.push(format!("no network namespace {netns} is found now"));
        }
        for pid in &self.pids {
            if none(Self { pids: vec![*pid], ..Self::default() }) {
                unmet.push(format!("process {pid} holds no TCP listener now"));
            }
        }
        if let Some(cgroup) = &self.cgroup
            && none(Self { cgroup: Some(cgroup.clone()), ..Self::default() })
        {
            unmet.push(format!(
                "no TCP listener is of control group `{cgroup}` now, by path, systemd unit or container \
                 id"
            ));
        }
        unmet
    }

    /// All of it, for the eBPF side: owners are left to [`Self::excluded`].
    pub fn push_down(&self, config: &mut TraceConfig) {
        config.ports.clone_from(&self.ports);
        config.addresses.clone_from(&self.addresses);
        config.family = self.family;
        config.netns.clone_from(&self.netns);
        config.excluded = self.by_owner();
    }

    /// Listeners whose holders are known and not meant: (inode number of the namespace, of the
    /// socket). One whose opener alone is known may be held by another by now.
    pub(crate) fn excluded(&self, listeners: &[Listener]) -> BTreeSet<(u32, u32)> {
        let held = |l: &Listener| l.owner.as_ref().is_some_and(|owner| !owner.called_listen);
        let others = listeners.iter().filter(|l| held(l) && !self.owns(l));
        others.filter_map(|l| Some((l.netns, u32::try_from(l.inode).ok()?))).collect()
    }

    /// What to say of the ports that are asked for and at which none of these listens; nothing if there
    /// is one at each.
    pub fn unmatched_ports(&self, listeners: &[Listener]) -> Option<String> {
        let there = |port: &u16| {
            listeners.iter().any(|l| {
                l.local.port() == *port && (self.netns.is_empty() || self.netns.contains(&l.netns))
            })
        };
        let none: Vec<String> =
            self.ports.iter().filter(|port| !there(port)).map(u16::to_string).collect();
        (!none.is_empty()).then(|| {
            format!(
                "nobody listens at port {} now; a listener that is opened there later is traced",
                none.join(", ")
            )
        })
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
    let below = cgroup
        .path
        .verbatim()
        .strip_prefix(path)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let by_path = path.starts_with('/') && below;
    let by_unit = cgroup
        .unit
        .as_ref()
        .map(Untrusted::verbatim)
        .is_some_and(|u| u == asked || u.strip_suffix(".service") == Some(asked));
    let by_container = cgroup
        .container
        .as_ref()
        .map(|c| c.id.verbatim())
        .is_some_and(|id| id == asked || (asked.len() >= 8 && id.starts_with(asked)));
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
        let process = Process { pid: 10, ppid: 1, comm: "app".into(), start: 1, cgroup };
        let owner = Owner::new(vec![10, 11], vec![process]);
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
    fn ports_without_a_listener_are_named() {
        let listeners = [listener("0.0.0.0:80")];
        let unmatched = |ports: &[u16], netns: &[u32]| {
            let (ports, netns) = (ports.to_vec(), netns.to_vec());
            Filter { ports, netns, ..Filter::default() }.unmatched_ports(&listeners)
        };
        assert_eq!(unmatched(&[], &[]), None);
        assert_eq!(unmatched(&[80], &[]), None);
        let said = unmatched(&[80, 5555], &[]).unwrap();
        assert!(said.starts_with("nobody listens at port 5555 now"), "{said}");
        assert!(unmatched(&[80], &[99]).unwrap().contains("port 80"));
    }

    #[test]
    fn owners_are_asked_for_by_pid_path_unit_and_container() {
        let unit = owned(Cgroup {
            path: "/system.slice/nginx.service".into(),
            unit: Some("nginx.service".into()),
            ..Cgroup::default()
        });
        let by = |cgroup: &str| Filter { cgroup: Some(cgroup.to_owned()), ..Filter::default() };
        for asked in ["nginx.service", "nginx", "/system.slice", "/sys/fs/cgroup/system.slice/"] {
            assert!(by(asked).listener(&unit), "{asked}");
        }
        for asked in ["/system", "ngin", "/system.slice/nginx", "service"] {
            assert!(!by(asked).listener(&unit), "{asked}");
        }
        let container = Container { runtime: "docker".into(), id: "0123456789abcdef".into() };
        let docker = owned(Cgroup { container: Some(container), ..Cgroup::default() });
        assert!(by("0123456789ab").listener(&docker));
        assert!(!by("0123").listener(&docker));
        let pid = |pid| Filter { pids: vec![pid], ..Filter::default() };
        let mut found = Inventory::default();
        found.listeners = vec![docker.clone(), unit.clone()];
        let unmet = |filter: Filter| filter.unmet(&found).join("; ");
        assert_eq!(unmet(by("nginx")) + &unmet(by("0123456789ab")) + &unmet(pid(11)), "");
        assert!(unmet(by("ngin")).starts_with("no TCP listener is of control group `ngin` now"));
        assert_eq!(unmet(pid(12)), "process 12 holds no TCP listener now");
        let netns = Filter { netns: vec![5], ..Filter::default() };
        assert_eq!(unmet(netns), "no network namespace 5 is found now");
        assert!(pid(11).listener(&docker) && !pid(12).listener(&docker));
        assert!(!pid(11).listener(&listener("0.0.0.0:80")));
    }

    #[test]
    fn a_listener_whose_opener_alone_is_known_may_be_anybodys() {
        let mut opened = Listener { inode: 33, ..owned(Cgroup::default()) };
        let filter = Filter { pids: vec![12], ..Filter::default() };
        assert_eq!(filter.excluded(std::slice::from_ref(&opened)), [(opened.netns, 33)].into());
        opened.owner.as_mut().unwrap().called_listen = true;
        assert!(filter.excluded(std::slice::from_ref(&opened)).is_empty());
        // But whoever opened it is meant.
        assert!(Filter { pids: vec![10], ..filter }.listener(&opened));
    }
}
