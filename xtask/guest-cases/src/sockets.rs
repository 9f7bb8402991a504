//! The server's end: listeners, and the connections they gave.

use std::{
    collections::BTreeMap,
    io::Result as IoResult,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use guest_cases::{
    action::Listen,
    job::{Listener, Reply},
};
use rustix::{
    fs::fstat,
    io::{Errno, ioctl_fionbio},
    net::{
        AddressFamily, RecvFlags, SocketFlags, SocketType, accept_with, bind, connect, getsockname,
        listen, recv, socket_with,
        sockopt::{set_ipv6_v6only, set_socket_linger, set_socket_reuseaddr, set_socket_reuseport},
    },
};

use crate::sys;

/// How long a connection may take to come up from the accept queue, or its data to arrive.
const PATIENCE: Duration = Duration::from_millis(10);
/// `IPPROTO_MPTCP` of include/uapi/linux/in.h.
const MPTCP: u32 = 262;
/// `AF_SMC` of include/linux/socket.h.
const SMC: AddressFamily = AddressFamily::from_raw(43);
/// By which an SMC listener looks at its own queue before TCP makes a child.
const SMC_CHECK: &str = "smc_tcp_syn_recv_sock";

/// An actor's sockets.
#[derive(Default)]
pub struct Sockets {
    listeners: BTreeMap<String, Arc<OwnedFd>>,
    accepted: BTreeMap<String, Vec<OwnedFd>>,
}

impl Sockets {
    /// Opens a listener.
    pub fn listen(&mut self, wanted: &Listen) -> Result<Reply> {
        let family = match (wanted.smc, wanted.v6) {
            (true, _) => SMC,
            (false, true) => AddressFamily::INET6,
            (false, false) => AddressFamily::INET,
        };
        let protocol = if wanted.mptcp {
            Some(rustix::net::Protocol::from_raw(
                std::num::NonZero::new(MPTCP).context("a protocol has a number")?,
            ))
        } else {
            None
        };
        let socket = match socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, protocol) {
            Err(Errno::PROTONOSUPPORT | Errno::NOPROTOOPT | Errno::INVAL) if wanted.mptcp => {
                return Ok(Reply::Lacks("MPTCP".to_owned()));
            }
            Err(Errno::AFNOSUPPORT) if wanted.smc => {
                return Ok(Reply::Lacks(SMC_CHECK.to_owned()));
            }
            other => other.context("cannot make a socket")?,
        };
        if wanted.smc && !has_function(SMC_CHECK)? {
            return Ok(Reply::Lacks(SMC_CHECK.to_owned()));
        }
        set_socket_reuseaddr(&socket, true)?;
        if wanted.reuseport {
            set_socket_reuseport(&socket, true)?;
        }
        if wanted.v6 {
            set_ipv6_v6only(&socket, wanted.v6only)?;
        }
        if wanted.transparent {
            sys::set_option(&socket, libc::IPPROTO_IP, libc::IP_TRANSPARENT, 1)?;
        }
        if wanted.md5 && !sys::md5_key(&socket, crate::wire::CLIENT)? {
            return Ok(Reply::Lacks("TCP_MD5SIG".to_owned()));
        }
        if let Some(bytes) = wanted.rcvbuf {
            sys::set_option(&socket, libc::SOL_SOCKET, libc::SO_RCVBUF, bytes)?;
        }
        if let Some(seconds) = wanted.defer {
            sys::set_option(&socket, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, seconds)?;
        }
        let any = if wanted.v6 {
            Ipv6Addr::UNSPECIFIED.into()
        } else {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED)
        };
        let address = SocketAddr::new(wanted.ip.unwrap_or(any), wanted.port);
        bind(&socket, &address).with_context(|| format!("cannot bind {address}"))?;
        if let Some(length) = wanted.fastopen {
            sys::set_option(&socket, libc::IPPROTO_TCP, libc::TCP_FASTOPEN, length)?;
        }
        listen(&socket, wanted.backlog).with_context(|| format!("cannot listen at {address}"))?;
        let mut described = describe(&socket)?;
        if wanted.smc {
            // What TCP knows is the socket below it.
            described.inode = 0;
        }
        self.listeners.insert(wanted.name.clone(), Arc::new(socket));
        Ok(Reply::Listening(vec![(wanted.name.clone(), described)]))
    }

    /// Clients of a server elsewhere, one after the other, that stay open.
    pub fn connect(&mut self, to: SocketAddr, count: u16) -> Result<()> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        for _ in 0..count {
            let socket = socket_with(
                if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 },
                SocketType::STREAM,
                flags,
                None,
            )?;
            match connect(&socket, &to) {
                Ok(()) | Err(Errno::INPROGRESS) => {}
                Err(e) => return Err(e).with_context(|| format!("cannot connect to {to}")),
            }
            self.accepted.entry(to.to_string()).or_default().push(socket);
            thread::sleep(PATIENCE);
        }
        Ok(())
    }

    /// Calls listen() on a listener again.
    pub fn relisten(&self, name: &str, backlog: i32) -> Result<()> {
        listen(self.get(name)?, backlog).with_context(|| format!("cannot listen again on {name}"))
    }

    /// Closes a listener; all whose names begin so if it ends with `*`.
    pub fn close(&mut self, name: &str) -> Result<()> {
        let before = self.listeners.len();
        match name.strip_suffix('*') {
            Some(first) => self.listeners.retain(|other, _| !other.starts_with(first)),
            None => drop(self.listeners.remove(name)),
        }
        ensure!(self.listeners.len() < before, "{name} is not open");
        Ok(())
    }

    /// Takes so many connections, which must be there; then none must be left if `all`.
    pub fn accept(&mut self, name: &str, count: usize, all: bool) -> Result<Reply> {
        for taken in 0..count {
            if !self.try_accept(name)? {
                return Ok(Reply::Wrong(format!("{name} had {taken} of {count} to accept")));
            }
        }
        if all && self.try_accept(name)? {
            return Ok(Reply::Wrong(format!("{name} had more than {count} to accept")));
        }
        Ok(Reply::Done)
    }

    /// Takes a connection if there is one.
    pub fn try_accept(&mut self, name: &str) -> Result<bool> {
        let listener = self.get(name)?;
        ioctl_fionbio(listener, true)?;
        match accept_with(listener, SocketFlags::CLOEXEC) {
            Ok(socket) => {
                self.accepted.entry(name.to_owned()).or_default().push(socket);
                Ok(true)
            }
            Err(Errno::AGAIN) => Ok(false),
            Err(e) => Err(e).with_context(|| format!("cannot accept at {name}")),
        }
    }

    /// Lets threads wait in accept(), keeping what they get.
    pub fn block(&self, name: &str, count: usize) -> Result<()> {
        let listener = self.get(name)?;
        ioctl_fionbio(listener, false)?;
        for _ in 0..count {
            let listener = Arc::clone(listener);
            let wait = move || {
                // Until the process ends.
                let mut kept = Vec::new();
                while let Ok(socket) = accept_with(&*listener, SocketFlags::CLOEXEC) {
                    kept.push(socket);
                }
            };
            thread::Builder::new().stack_size(64 << 10).spawn(wait)?;
        }
        // Until all of them sleep there.
        thread::sleep(Duration::from_millis(300));
        Ok(())
    }

    /// What the last connection accepted at a listener gives: `eof`, `data` or `reset`.
    pub fn read(&self, name: &str) -> Result<&'static str> {
        let last = self.accepted.get(name).and_then(|all| all.last());
        let socket = last.with_context(|| format!("nothing was accepted at {name}"))?;
        thread::sleep(PATIENCE);
        let mut byte = [0u8; 1];
        match recv(socket, &mut byte[..], RecvFlags::DONTWAIT) {
            Ok((0, _)) => Ok("eof"),
            Ok(_) => Ok("data"),
            Err(Errno::CONNRESET) => Ok("reset"),
            Err(Errno::AGAIN) => Ok("nothing"),
            Err(e) => Err(e).context("cannot read"),
        }
    }

    /// Closes what was accepted at a listener, by an RST if `reset`.
    pub fn hang_up(&mut self, name: &str, reset: bool) -> Result<()> {
        for socket in self.accepted.remove(name).unwrap_or_default() {
            if reset {
                set_socket_linger(&socket, Some(Duration::ZERO))?;
            }
        }
        Ok(())
    }

    /// A listener, by its name in the script.
    pub fn get(&self, name: &str) -> Result<&Arc<OwnedFd>> {
        self.listeners.get(name).with_context(|| format!("{name} is not open"))
    }
}

fn describe(socket: &OwnedFd) -> Result<Listener> {
    let address = SocketAddr::try_from(getsockname(socket)?)?;
    Ok(Listener {
        // The coordinator knows.
        actor: String::new(),
        pid: std::process::id(),
        netns: namespace()?,
        inode: inode(socket)?,
        address: address.to_string(),
    })
}

/// Inode number of this process's network namespace.
pub fn namespace() -> Result<u64> {
    let path = "/proc/self/ns/net";
    let file = std::fs::File::open(path).with_context(|| format!("cannot open {path}"))?;
    Ok(inode(&file)?)
}

fn inode(fd: impl AsFd) -> IoResult<u64> {
    Ok(fstat(fd)?.st_ino)
}

/// Whether the kernel or one of its modules has a function of this name.
fn has_function(name: &str) -> Result<bool> {
    let path = "/proc/kallsyms";
    let symbols = std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    Ok(symbols.lines().any(|line| line.split_whitespace().nth(2) == Some(name)))
}
