//! An actor: a process of its own that does what it is told, line by line.

use std::{
    fs::{self, File},
    io::{Write as _, stdin, stdout},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use guest_cases::{
    action::{Action, Listen, Segment},
    job::{Listener, Reply},
};
use nix::sched::{CloneFlags, setns, unshare};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity, set_name};

use crate::{
    counters, destroy,
    links::Links,
    nft,
    segment::SYN,
    sockets::Sockets,
    steer::{self, Steer},
    storm,
    wire::{self, PATIENCE, Wire},
};

/// Between two handshakes of a load.
const PACE: Duration = Duration::from_millis(2);

/// Sockets that an actor may have open.
const MOST_FILES: u64 = 20_000;

#[derive(Default)]
struct Actor {
    /// Whether it is in the namespace that it is to act in.
    placed: bool,
    wire: Option<Wire>,
    sockets: Sockets,
    steers: Vec<Steer>,
    /// Those of a storm.
    namespaces: Vec<File>,
}

/// Does what each line of standard input says, and answers each with a line.
pub fn play(name: &str) -> Result<()> {
    set_name(&std::ffi::CString::new(name)?).context("cannot take a name")?;
    let many = Rlimit { current: Some(MOST_FILES), maximum: Some(MOST_FILES) };
    setrlimit(Resource::Nofile, many).context("cannot raise the limit of open files")?;
    let mut actor = Actor::default();
    for line in stdin().lines() {
        let reply = match Action::parse(&line?).and_then(|action| actor.act(action)) {
            Ok(reply) => reply,
            Err(e) => Reply::Failed(format!("{e:#}")),
        };
        let mut out = stdout().lock();
        serde_json::to_writer(&mut out, &reply)?;
        out.write_all(b"\n")?;
        out.flush()?;
    }
    Ok(())
}

impl Actor {
    fn act(&mut self, action: Action) -> Result<Reply> {
        if !self.placed && !matches!(action, Action::In(_)) {
            unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
        }
        self.placed = true;
        match action {
            Action::In(place) => enter(&place)?,
            Action::Tun => self.wire = Some(Wire::new(&Links::here()?, false)?),
            Action::Tap => self.wire = Some(Wire::new(&Links::here()?, true)?),
            Action::Route { add, network, length } => {
                Links::here()?.route(add, (network, length), wire::DEVICE)?;
            }
            Action::Veth(process) => Links::here()?.veth(process.parse()?)?,
            Action::Device(kind, place) => {
                let process = if place == "self" { None } else { Some(place.parse()?) };
                if !Links::here()?.device(&kind, process)? {
                    return Ok(Reply::Lacks(kind));
                }
            }
            Action::Up(device, address) => {
                Links::here()?.up(&device, &[(address.into(), 24)])?;
            }
            Action::Counts(name) => {
                if !counters::of(std::process::id())?.contains_key(&name) {
                    return Ok(Reply::Lacks(name));
                }
            }
            Action::Sysctl(name, value) => return sysctl(&name, &value),
            Action::Cpu(cpu) => {
                let mut set = CpuSet::new();
                set.set(cpu);
                sched_setaffinity(None, &set).context("cannot run there")?;
            }
            Action::Rule(rule, from, to) => {
                if !nft::send_to(rule, from, to)? {
                    return Ok(Reply::Lacks(format!("{rule:?}")));
                }
            }
            Action::Destroy(port, client) => {
                let ends = ((wire::SERVER, port).into(), (wire::CLIENT, client).into());
                if !destroy::destroy(ends.0, ends.1)? {
                    return Ok(Reply::Lacks("SOCK_DESTROY".to_owned()));
                }
            }
            Action::Listen(listen) => return self.sockets.listen(&listen),
            Action::Listeners { name, port, count } => return self.listeners(&name, port, count),
            Action::Relisten(name, backlog) => self.sockets.relisten(&name, backlog)?,
            Action::Close(name) => self.sockets.close(&name)?,
            Action::Accept { name, count, all } => return self.sockets.accept(&name, count, all),
            Action::Block(name, count) => self.sockets.block(&name, count)?,
            Action::Read(name, wanted) => {
                let found = self.sockets.read(&name)?;
                if found != wanted {
                    return Ok(Reply::Wrong(format!("{name} gave {found}, not {wanted}")));
                }
            }
            Action::Hangup { name, reset } => self.sockets.hang_up(&name, reset)?,
            Action::Segment(segment) => self.wire()?.send(&segment)?,
            Action::Handshake { segment, any } => self.wire()?.handshake(&segment, any)?,
            Action::Icmp { port, client, v6 } => self.wire()?.unreachable(port, client, v6)?,
            Action::Connect(to, count) => self.sockets.connect(to, count)?,
            Action::Steer(port, name) => {
                self.steers.push(steer::steer(port, self.sockets.get(&name)?)?);
            }
            Action::Storm(namespaces, seed) => {
                let (counted, kept) = storm::storm(namespaces, seed)?;
                self.namespaces.extend(kept);
                return Ok(counted);
            }
            Action::Load { clients, name } => return self.load(&clients, &name),
            Action::Churn(segment) => return self.churn(&segment),
            Action::Flood(port, count) => (port..port + count).try_for_each(|at| self.flood(at))?,
            Action::Brief { name, port, count } => return self.brief(&name, port, count),
            Action::Drain(ms) => self.wire()?.drain(Duration::from_millis(ms))?,
            Action::Got { ports, answers } => {
                let wanted = if answers == ["-"] { Vec::new() } else { answers };
                for port in ports {
                    let got = self.wire()?.answers(port);
                    if got != wanted {
                        let (got, wanted) = (got.join(" "), wanted.join(" "));
                        let why = format!("{port} got \"{got}\", not \"{wanted}\"");
                        return Ok(Reply::Wrong(why));
                    }
                }
            }
        }
        Ok(Reply::Done)
    }

    fn wire(&mut self) -> Result<&mut Wire> {
        self.wire.as_mut().context("it has no `tun`")
    }

    /// Fills the accept queue of a listener with backlog 1, and sends it three SYNs more.
    fn flood(&mut self, port: u16) -> Result<()> {
        let syn = |clients| Segment::bare(port, clients, SYN);
        let wire = self.wire()?;
        wire.handshake(&syn(30_000..30_002), false)?;
        wire.send(&syn(30_002..30_005))?;
        wire.drain(Duration::ZERO)
    }

    /// Listeners one after the other that overflow and are closed at once.
    fn brief(&mut self, name: &str, port: u16, count: u16) -> Result<Reply> {
        let mut opened = Vec::new();
        for number in 0..count {
            let name = format!("{name}{number}");
            opened.extend(self.listener(&name, port + number)?);
            self.flood(port + number)?;
            self.sockets.close(&name)?;
        }
        Ok(Reply::Listening(opened))
    }

    fn listeners(&mut self, name: &str, port: u16, count: u16) -> Result<Reply> {
        let mut open = Vec::new();
        for number in 0..count {
            open.extend(self.listener(&format!("{name}{number}"), port + number)?);
        }
        Ok(Reply::Listening(open))
    }

    /// One with backlog 1: its name, and what it is.
    fn listener(&mut self, name: &str, port: u16) -> Result<Vec<(String, Listener)>> {
        let listen = Listen { name: name.to_owned(), port, backlog: 1, ..Listen::default() };
        match self.sockets.listen(&listen)? {
            Reply::Listening(open) => Ok(open),
            other => bail!("it answered {other:?}"),
        }
    }

    /// Handshakes one after the other, each accepted and reset.
    fn load(&mut self, clients: &Segment, name: &str) -> Result<Reply> {
        let mut answered = 0;
        let all = clients.clients.len();
        for port in clients.clients.clone() {
            let wire = self.wire()?;
            if wire.try_handshake(clients, port, PATIENCE)? {
                answered += 1;
            }
            wire.forget(port);
            while self.sockets.try_accept(name)? {}
            self.sockets.hang_up(name, true)?;
            thread::sleep(PACE);
        }
        if answered == all {
            return Ok(Reply::Done);
        }
        Ok(Reply::Wrong(format!("{answered} of {all} SYNs of a healthy load were answered")))
    }

    /// Listeners that come and go, each with one handshake.
    fn churn(&mut self, clients: &Segment) -> Result<Reply> {
        for (number, port) in clients.clients.clone().enumerate() {
            let at = clients.port + u16::try_from(number)?;
            let listen =
                Listen { name: "churn".to_owned(), port: at, backlog: 4, ..Listen::default() };
            self.sockets.listen(&listen)?;
            let wire = self.wire.as_mut().context("it has no `tun`")?;
            let answered =
                wire.try_handshake(&Segment { port: at, ..clients.clone() }, port, PATIENCE)?;
            wire.forget(port);
            self.sockets.close("churn")?;
            wire.drain(Duration::ZERO)?;
            if !answered {
                return Ok(Reply::Wrong(format!("the SYN to port {at} was not answered")));
            }
        }
        Ok(Reply::Done)
    }
}

/// Into the namespace of a process; `host` is where this one is already.
fn enter(place: &str) -> Result<()> {
    if place == "host" {
        return Ok(());
    }
    let path = format!("/proc/{place}/ns/net");
    let file = File::open(&path).with_context(|| format!("cannot open {path}"))?;
    setns(file, CloneFlags::CLONE_NEWNET).with_context(|| format!("cannot enter {path}"))
}

/// A sysctl by its name with dots; what this kernel does not have is lacking.
fn sysctl(name: &str, value: &str) -> Result<Reply> {
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    if !std::path::Path::new(&path).exists() {
        return Ok(Reply::Lacks(name.to_owned()));
    }
    fs::write(&path, value).with_context(|| format!("cannot set {name}"))?;
    Ok(Reply::Done)
}
