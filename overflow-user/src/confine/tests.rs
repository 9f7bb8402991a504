//! What a confined thread can still do, and what it cannot.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read, Write},
    net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket},
    os::unix::net::UnixDatagram,
    process::Command,
    thread,
    time::Duration,
};

use nix::{
    sched::{CloneFlags, setns, unshare},
    sys::{ptrace, signal},
    unistd::Pid,
};

use super::*;

/// What every test here needs. A kernel without it is so rare that failing is honest enough: all
/// distributions have had seccomp filters since v3.5 (commit e2cfabdfd075).
const FILTERS: &str = "this test needs a kernel with seccomp filters (CONFIG_SECCOMP_FILTER)";

/// Runs `job` in a thread that is confined.
fn confined<T: Send>(needs: &Needs, job: impl FnOnce() -> T + Send) -> T {
    let confined = || {
        assert!(thread_itself(needs).unwrap().seccomp, "{FILTERS}");
        job()
    };
    thread::scope(|scope| scope.spawn(confined).join().unwrap())
}

fn refused<T>(result: io::Result<T>) {
    match result {
        Ok(_) => panic!("it was allowed"),
        Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EPERM), "{error}"),
    }
}

#[test]
fn the_host_is_out_of_reach() {
    let file = File::open("/proc/self/ns/net").unwrap();
    confined(&Needs::default(), || {
        refused(File::options().append(true).open("/etc/shadow"));
        refused(File::open("/etc/hostname"));
        refused(File::create("/tmp/overflow-confined"));
        refused(fs::remove_file("/tmp/overflow-confined"));
        refused(fs::create_dir("/tmp/overflow-confined"));
        refused(fs::read_dir("/proc"));
        refused(UdpSocket::bind("127.0.0.1:0"));
        refused(TcpStream::connect("127.0.0.1:1"));
        refused(Command::new("/bin/true").spawn());
        refused(setns(&file, CloneFlags::CLONE_NEWNET).map_err(io::Error::from));
        refused(unshare(CloneFlags::CLONE_NEWUSER).map_err(io::Error::from));
        refused(ptrace::attach(Pid::parent()).map_err(io::Error::from));
        refused(signal::kill(Pid::this(), None).map_err(io::Error::from));
        // Stands for F_SETOWN: without the filter a file that takes no seals is EINVAL.
        let seal = rustix::fs::SealFlags::SEAL;
        refused(rustix::fs::fcntl_add_seals(&file, seal).map_err(io::Error::from));
        refused(
            rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::Dumpable)
                .map_err(io::Error::from),
        );
        assert!(thread::Builder::new().spawn(|| ()).is_err());
        assert_eq!(effective().unwrap_err().raw_os_error(), Some(libc::EPERM));
    });
}

#[test]
fn what_is_open_stays_usable() {
    let mut file = tempfile("usable");
    let read = confined(&Needs::default(), || {
        file.write_all(b"kept").unwrap();
        rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0)).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        thread::sleep(Duration::from_millis(1));
        (text, vec![1_u8; 4 << 20].len())
    });
    assert_eq!(read, ("kept".to_owned(), 4 << 20));
}

#[test]
fn a_socket_that_listens_answers_if_that_is_needed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = listener.local_addr().unwrap();
    let mut client = TcpStream::connect(server).unwrap();
    client.write_all(b"ping").unwrap();
    let needs = Needs { network: true, ..Needs::default() };
    confined(&needs, || {
        let (mut peer, _) = listener.accept().unwrap();
        let mut request = [0; 4];
        peer.read_exact(&mut request).unwrap();
        peer.write_all(&request).unwrap();
        refused(TcpListener::bind("127.0.0.1:0"));
    });
    let mut answer = [0; 4];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"ping");
    confined(&Needs::default(), || refused(listener.accept()));
}

#[test]
fn only_the_child_can_be_killed() {
    let sleeper = || Command::new("sleep").arg("60").spawn().unwrap();
    let (mut mine, mut other) = (sleeper(), sleeper());
    let needs = Needs { ends: Some(rustix::process::Pid::from_child(&mine)), ..Needs::default() };
    let status = confined(&needs, || {
        refused(other.kill());
        mine.kill().unwrap();
        mine.wait().unwrap()
    });
    other.kill().unwrap();
    other.wait().unwrap();
    assert!(!status.success());
}

#[test]
fn a_rehearsal_leaves_the_caller_free() {
    let confinement = rehearse(&Needs::default()).unwrap();
    assert!(confinement.kept.is_empty());
    assert!(File::open("/proc/self/status").is_ok());
    assert!(thread::spawn(|| ()).join().is_ok());
}

#[test]
fn other_threads_are_not_left_out() {
    // The test harness has threads of its own.
    assert!(matches!(confine(&Needs::default()), Err(ConfineError::Threads(n)) if n > 1));
}

#[test]
fn who_looks_at_listeners_can_look_and_no_more() {
    let own = File::open("/proc/thread-self/ns/net").unwrap();
    let uts = File::open("/proc/thread-self/ns/uts").unwrap();
    let admin = effective().unwrap().contains(CapabilitySet::SYS_ADMIN);
    let looked = thread::spawn(move || {
        assert!(seccomp::restrict(seccomp::looker()).unwrap(), "{FILTERS}");
        let inventory = overflow_host::listeners::inventory(&BTreeSet::new()).unwrap();
        refused(File::options().append(true).open("/etc/shadow"));
        refused(File::create("/tmp/overflow-looker"));
        refused(UdpSocket::bind("127.0.0.1:0"));
        refused(Command::new("/bin/true").spawn());
        refused(setns(&uts, CloneFlags::CLONE_NEWUTS).map_err(io::Error::from));
        refused(setns(&uts, CloneFlags::empty()).map_err(io::Error::from));
        refused(ptrace::attach(Pid::parent()).map_err(io::Error::from));
        refused(signal::kill(Pid::this(), None).map_err(io::Error::from));
        let entered = thread::spawn(move || setns(&own, CloneFlags::CLONE_NEWNET));
        assert_eq!(entered.join().unwrap().is_ok(), admin);
        inventory.namespaces.values().any(|n| n.namespace.own)
    });
    assert!(looked.join().unwrap(), "it saw its own namespace");
}

#[test]
fn who_sends_reaches_its_port_and_no_more() {
    let (to, other) = [(), ()].map(|()| TcpListener::bind("127.0.0.1:0").unwrap()).into();
    let (to, other) = (to.local_addr().unwrap(), other.local_addr().unwrap());
    let sent = thread::spawn(move || {
        let confinement = sender_itself(&[to.port()]).unwrap();
        assert!(confinement.kept.is_empty());
        assert!(confinement.seccomp, "{FILTERS}");
        TcpStream::connect(to).unwrap();
        assert!(("localhost", to.port()).to_socket_addrs().unwrap().next().is_some());
        if confinement.landlock.is_some() {
            let denied = |file: &str| File::open(file).unwrap_err().kind();
            assert_eq!(denied("/etc/passwd"), io::ErrorKind::PermissionDenied);
            assert_eq!(denied("/proc/self/environ"), io::ErrorKind::PermissionDenied);
        }
        if confinement.landlock >= Some(4) {
            let refused = TcpStream::connect(other).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
        }
        refused(File::options().append(true).open("/etc/hosts"));
        refused(File::create("/tmp/overflow-sender"));
        refused(UnixDatagram::unbound());
        // By Landlock, or by seccomp when it begins to listen.
        let listening = TcpListener::bind("127.0.0.1:0").unwrap_err();
        assert_eq!(listening.kind(), io::ErrorKind::PermissionDenied);
        refused(Command::new("/bin/true").spawn());
        refused(unshare(CloneFlags::CLONE_NEWUSER).map_err(io::Error::from));
        refused(ptrace::attach(Pid::parent()).map_err(io::Error::from));
        refused(signal::kill(Pid::this(), None).map_err(io::Error::from));
    });
    sent.join().unwrap();
}

fn tempfile(name: &str) -> File {
    let path = std::env::temp_dir().join(format!("overflow-{name}-{}", std::process::id()));
    let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    file
}
