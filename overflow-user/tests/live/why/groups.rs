//! Servers in groups: of `SO_REUSEPORT`, and control groups of either version.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use super::{
    causes, first,
    server::{Behaviour, Server},
    why,
};

/// One of two workers hangs, the other accepts; the kernel gives both their part.
pub fn uneven() {
    let stuck = Server::start(Behaviour::Futex, 4, 0);
    let healthy = Server::start(Behaviour::Accepts, 4, stuck.1.port());
    let _clients = stuck.connect(40);
    thread::sleep(Duration::from_millis(300));
    let lines = why(&[]);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert_eq!(causes(&lines, &stuck), ["cause.blocked", "cause.uneven_group"], "{lines:#?}");
    assert_eq!(lines[0]["owner"]["pid"], stuck.pid());
    let evidence = lines[0]["causes"][1]["evidence"][0].as_str().unwrap();
    assert!(evidence.contains(&format!("/{} (", healthy.pid())), "{evidence}");
}

/// A control group that is removed when it is dropped; its processes must have ended.
struct Group(PathBuf);

impl Group {
    /// Makes one in the first of these hierarchies that has `file` in its groups.
    fn make(file: &str, hierarchies: &[&str]) -> io::Result<Self> {
        for hierarchy in hierarchies {
            let dir = Path::new(hierarchy).join(format!("overflow-test-{}", std::process::id()));
            if fs::create_dir(&dir).is_ok() {
                let group = Self(dir);
                if group.0.join(file).exists() {
                    return Ok(group);
                }
            }
        }
        Err(io::Error::other(format!("no hierarchy has {file}")))
    }

    fn set(&self, file: &str, value: &str) {
        fs::write(self.0.join(file), value).unwrap();
    }

    fn add(&self, server: &Server) {
        self.set("cgroup.procs", &server.pid().to_string());
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A process that was killed leaves its group a little later.
        for _ in 0..100 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// By the freezer of the second version, or of the first.
pub fn frozen() {
    let second = Group::make("cgroup.freeze", &["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]);
    let first_version = Group::make("freezer.state", &["/sys/fs/cgroup/freezer"]);
    assert!(second.is_ok() || first_version.is_ok(), "this kernel has no freezer");
    for (group, file, freeze, thaw) in
        [(second, "cgroup.freeze", "1", "0"), (first_version, "freezer.state", "FROZEN", "THAWED")]
    {
        let Ok(group) = group else { continue };
        let server = Server::start(Behaviour::Accepts, 4, 0);
        group.add(&server);
        group.set(file, freeze);
        let _clients = server.connect(8);
        let found = first(&server);
        group.set(file, thaw);
        assert_eq!(found, ["cause.stopped"], "{file}");
        drop(server);
    }
}

/// By `cpu.max`, or by `cpu.cfs_quota_us`.
pub fn throttled() {
    let second = Group::make("cpu.max", &["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]);
    let first_version =
        Group::make("cpu.cfs_quota_us", &["/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/cpu"]);
    let (group, file, quota) = match (second, first_version) {
        (Ok(group), _) => (group, "cpu.max", "5000 100000"),
        (Err(_), Ok(group)) => (group, "cpu.cfs_quota_us", "5000"),
        (Err(why), Err(_)) => panic!("this kernel has no CPU quotas: {why}"),
    };
    let server = Server::start(Behaviour::Computes, 4, 0);
    group.add(&server);
    group.set(file, quota);
    let _clients = server.connect(8);
    thread::sleep(Duration::from_millis(300));
    let found = first(&server);
    assert_eq!(found, ["cause.cpu_throttled"]);
    drop(server);
}
