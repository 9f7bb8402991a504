//! Servers that do not accept, each for another reason: this program, started again.

use std::{
    env,
    hint::black_box,
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sched::{CpuSet, sched_setaffinity},
    sys::resource::{Resource, getrlimit, setrlimit},
    unistd::Pid,
};
use rustix::event::epoll;

/// Tells this program to be such a server: `ADDRESS BACKLOG BEHAVIOUR`.
const SERVER: &str = "OVERFLOW_TEST_WHY";
/// None of them stays for longer.
const LIFE: Duration = Duration::from_mins(1);

/// What a server does once it listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// It accepts, at once.
    Accepts,
    /// It waits for a futex that nobody wakes.
    Futex,
    /// It sleeps.
    Nanosleep,
    /// It computes.
    Busy,
    /// It accepts, and keeps what it gets until no descriptor is left.
    Descriptors,
    /// A thread of it accepts one and ends; the others wait.
    DeadThread,
    /// It waits by an edge-triggered epoll set, and makes nothing of its edges.
    Edge,
    /// It takes a while for each, asleep.
    Slow,
    /// It takes longer.
    Slower,
    /// It takes a while for each, on the CPU.
    Computes,
    /// The same, on the first CPU, where others are more important.
    Starved,
    /// It uses the first CPU.
    Hog,
}

/// Their names on the command line.
const NAMES: [(&str, Behaviour); 12] = [
    ("accepts", Behaviour::Accepts),
    ("futex", Behaviour::Futex),
    ("nanosleep", Behaviour::Nanosleep),
    ("busy", Behaviour::Busy),
    ("descriptors", Behaviour::Descriptors),
    ("dead-thread", Behaviour::DeadThread),
    ("edge", Behaviour::Edge),
    ("slow", Behaviour::Slow),
    ("slower", Behaviour::Slower),
    ("computes", Behaviour::Computes),
    ("starved", Behaviour::Starved),
    ("hog", Behaviour::Hog),
];

/// A server, ended when it is dropped.
pub struct Server(pub Child, pub SocketAddr);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Server {
    /// Starts one in the calling thread's network namespace; it listens then.
    pub fn start(behaviour: Behaviour, backlog: u32, port: u16) -> Self {
        let (name, _) = NAMES.iter().find(|(_, b)| *b == behaviour).unwrap();
        let mut child = Command::new(env::current_exe().unwrap())
            .env(SERVER, format!("127.0.0.1:{port} {backlog} {name}"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        Self(child, line.trim().parse().unwrap())
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Connects so many times, without waiting for any of it.
    pub fn connect(&self, times: usize) -> Vec<socket2::Socket> {
        (0..times).map(|_| begin(self.1)).collect()
    }

    /// Connects once, and waits until it is established.
    pub fn connected(&self) -> TcpStream {
        TcpStream::connect_timeout(&self.1, Duration::from_secs(5)).unwrap()
    }
}

/// A connection that is under way.
pub fn begin(server: SocketAddr) -> socket2::Socket {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_nonblocking(true).unwrap();
    // It is under way, which is an error for a socket that may not wait.
    let _ = socket.connect(&server.into());
    socket
}

/// Whether this process is such a server.
pub fn is_server() -> bool {
    env::var_os(SERVER).is_some()
}

/// Listens, says so, and does what it is there for.
pub fn serve() {
    thread::spawn(|| {
        thread::sleep(LIFE);
        std::process::exit(1);
    });
    let asked = env::var(SERVER).unwrap();
    let words: Vec<&str> = asked.split(' ').collect();
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.bind(&words[0].parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.listen(words[1].parse().unwrap()).unwrap();
    let listener = TcpListener::from(socket);
    println!("{}", listener.local_addr().unwrap());
    let (_, behaviour) = NAMES.iter().find(|(name, _)| *name == words[2]).unwrap();
    behave(*behaviour, &listener);
}

fn behave(behaviour: Behaviour, listener: &TcpListener) {
    match behaviour {
        Behaviour::Accepts => loop {
            drop(listener.accept());
        },
        Behaviour::Futex => loop {
            thread::park();
        },
        Behaviour::Nanosleep => thread::sleep(LIFE),
        Behaviour::Busy => loop {
            compute(LIFE);
        },
        Behaviour::Descriptors => descriptors(listener),
        Behaviour::DeadThread => {
            thread::scope(|scope| {
                let accepting = scope.spawn(|| listener.accept());
                let waiting = scope.spawn(|| thread::sleep(LIFE));
                let _ = accepting.join();
                let _ = waiting.join();
            });
        }
        Behaviour::Edge => edge(listener),
        Behaviour::Slow => takes(listener, Duration::from_millis(10)),
        Behaviour::Slower => takes(listener, Duration::from_millis(100)),
        Behaviour::Computes => computes(listener),
        Behaviour::Starved => {
            stay_on_the_first_cpu();
            rustix::process::setpriority_process(None, 19).unwrap();
            computes(listener);
        }
        Behaviour::Hog => {
            stay_on_the_first_cpu();
            compute(LIFE);
        }
    }
}

fn stay_on_the_first_cpu() {
    let mut one = CpuSet::new();
    one.set(0).unwrap();
    sched_setaffinity(Pid::from_raw(0), &one).unwrap();
}

fn takes(listener: &TcpListener, time: Duration) {
    loop {
        let accepted = listener.accept();
        thread::sleep(time);
        drop(accepted);
    }
}

fn computes(listener: &TcpListener) {
    loop {
        let accepted = listener.accept();
        compute(Duration::from_millis(20));
        drop(accepted);
    }
}

/// Uses the CPU for so much of its time, or for a minute of the clock's.
fn compute(time: Duration) {
    let began = Instant::now();
    let used = || {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
    };
    let end = used() + time;
    while used() < end && began.elapsed() < LIFE {
        black_box((0..10_000_u64).sum::<u64>());
    }
}

fn descriptors(listener: &TcpListener) {
    let next = u64::try_from(listener.as_raw_fd()).unwrap() + 4;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, next, hard).unwrap();
    let mut kept = Vec::new();
    loop {
        match listener.accept() {
            Ok(accepted) => kept.push(accepted),
            Err(_) => thread::sleep(Duration::from_millis(200)),
        }
    }
}

fn edge(listener: &TcpListener) {
    let set = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    let events = epoll::EventFlags::IN | epoll::EventFlags::ET;
    epoll::add(&set, listener, epoll::EventData::new_u64(0), events).unwrap();
    loop {
        let mut ready = Vec::with_capacity(1);
        let _ = epoll::wait(&set, rustix::buffer::spare_capacity(&mut ready), None);
    }
}
