//! Two network namespaces with a cable between them.

use std::{
    fs,
    process::Command,
    sync::mpsc::{Sender, channel},
    thread,
};

use nix::sched::{CloneFlags, unshare};

/// The server's address.
pub const SERVER: &str = "10.9.0.1";
/// The client's.
pub const CLIENT: &str = "10.9.0.2";
/// The server's IPv6 address.
pub const SERVER_V6: &str = "fd09::1";

type Job = Box<dyn FnOnce() + Send>;

/// A thread in a network namespace of its own; both end together.
pub struct Host {
    jobs: Sender<Job>,
    tid: i32,
}

impl Host {
    fn new() -> Self {
        let (jobs, todo) = channel::<Job>();
        let (ready, made) = channel();
        thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            ready.send(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
            for job in todo {
                job();
            }
        });
        Self { jobs, tid: made.recv().expect("a namespace was made") }
    }

    /// Runs `job` there and waits for it.
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (sender, result) = channel();
        self.jobs.send(Box::new(move || sender.send(job()).unwrap())).unwrap();
        result.recv().expect("the job ended early; its panic says why")
    }

    /// Runs `ip` there.
    pub fn ip(&self, line: &str) {
        let line = line.to_owned();
        self.run(move || {
            let status = Command::new("ip").args(line.split(' ')).status().unwrap();
            assert!(status.success(), "ip {line}");
        });
    }

    /// Sets a sysctl below `net`.
    pub fn sysctl(&self, name: &str, value: &str) {
        let path = format!("/proc/sys/net/{name}");
        let value = value.to_owned();
        self.run(move || fs::write(&path, &value).unwrap_or_else(|e| panic!("{path}: {e}")));
    }

    /// The link address of its end of the cable.
    pub fn cable(&self) -> String {
        let show = || Command::new("ip").args(["-o", "link", "show", "cable"]).output().unwrap();
        let shown = String::from_utf8(self.run(show).stdout).unwrap();
        let mut words = shown.split_whitespace().skip_while(|word| *word != "link/ether");
        words.nth(1).unwrap_or_else(|| panic!("{shown}")).to_owned()
    }
}

/// Server and client, with a cable between them.
pub fn hosts() -> (Host, Host) {
    let (server, client) = (Host::new(), Host::new());
    server.ip(&format!("link add cable type veth peer name cable netns {}", client.tid));
    for (host, number) in [(&server, 1), (&client, 2)] {
        host.ip("link set lo up");
        host.ip("link set cable up");
        host.ip(&format!("addr add 10.9.0.{number}/24 dev cable"));
        host.ip(&format!("addr add fd09::{number}/64 dev cable nodad"));
    }
    (server, client)
}

/// Keeps the SYN-ACKs to clients at the server until [`answered`]: they wait for the client's link
/// address, and so all SYNs come before the first third ACK. The client knows the server's.
pub fn unanswered(server: &Host, client: &Host) {
    held(server, client, SERVER);
}

/// Keeps the clients' SYNs until the server is [`answered`]: then all are sent at once.
pub fn unsent(server: &Host, client: &Host) {
    held(client, server, CLIENT);
}

/// Keeps what goes `from` one host, whose address the other knows, `to` the other.
fn held(from: &Host, to: &Host, address: &str) {
    from.sysctl("ipv4/neigh/cable/retrans_time_ms", "50");
    from.sysctl("ipv4/neigh/cable/mcast_solicit", "200");
    to.sysctl("ipv4/conf/cable/arp_ignore", "8");
    to.ip(&format!("neigh add {address} lladdr {} dev cable nud permanent", from.cable()));
}

/// Lets it go to this host.
pub fn answered(to: &Host) {
    to.sysctl("ipv4/conf/cable/arp_ignore", "0");
}
