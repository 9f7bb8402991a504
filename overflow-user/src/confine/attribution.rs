//! Attribution in a process of its own: it alone keeps the rights to look at every process and
//! network namespace of the host, and never sees a packet.
//!
//! It is this program, started again with one end of two pipes. A [`Request`] names the network
//! namespaces that are looked for harder; the answer is an [`Inventory`] or [`Readings`], or why
//! there is none. It ends when the pipes close, however the asking process ended.

use std::{
    collections::BTreeSet,
    io::{self, Read, Write},
    os::fd::OwnedFd,
    process::Child,
};

use rustix::{
    process::{Signal, set_parent_process_death_signal},
    thread::CapabilitySet,
};
use tokio::{
    io::AsyncWriteExt,
    net::unix::pipe::{Receiver, Sender},
};

use super::{ConfineError, caps, ignore_signals, seccomp, second_process, wire};
use overflow_core::{audit::Readings, cause::Evidence, listeners::Inventory};
use overflow_host::{Looker, causes::Socket};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The hidden command that [`serve`]s.
pub const COMMAND: &str = "attribution";

/// What finding owners takes: reading `/proc/PID/fd` and `/proc/PID/ns/net` of other users'
/// processes, and entering their network namespaces.
const RIGHTS: CapabilitySet =
    CapabilitySet::SYS_PTRACE.union(CapabilitySet::DAC_READ_SEARCH).union(CapabilitySet::SYS_ADMIN);

/// A request is at most so long, bytes: the asking process may be compromised.
const MAX_REQUEST: u32 = 64 << 10;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Request {
    /// All listeners; these namespaces are looked for harder.
    Listeners(BTreeSet<u32>),
    /// The counters of all namespaces that were found before, and of these; of all that there are
    /// if the second says so.
    Counters(BTreeSet<u32>, bool),
    /// What holds up these listeners: the inode numbers of their network namespaces and sockets. If
    /// none is named, those that are full now, and who accepts from the others is remembered.
    Causes(Vec<Socket>),
}

type Answer<T> = Result<T, String>;

/// The process that looks at listeners, from the asking side.
#[derive(Debug)]
pub struct Attribution {
    process: Child,
    requests: Sender,
    answers: Receiver,
}

impl Attribution {
    /// Starts it, from inside a runtime and before this process is confined.
    pub fn start(confined: bool) -> io::Result<Self> {
        let (process, requests, answers) = second_process::start(COMMAND, confined)?;
        Ok(Self {
            process,
            requests: Sender::from_owned_fd(OwnedFd::from(requests))?,
            answers: Receiver::from_owned_fd(OwnedFd::from(answers))?,
        })
    }

    /// The listeners of this host now; `wanted` network namespaces are looked for harder. To be
    /// awaited to its end, or the next answer is this one.
    pub(crate) async fn inventory(&mut self, wanted: &BTreeSet<u32>) -> io::Result<Inventory> {
        self.ask(wanted).await?;
        self.answer().await
    }

    /// Asks; it looks meanwhile. [`Self::answer`] must follow.
    pub async fn ask(&mut self, wanted: &BTreeSet<u32>) -> io::Result<()> {
        self.request(&Request::Listeners(wanted.clone())).await
    }

    /// What it found.
    pub async fn answer(&mut self) -> io::Result<Inventory> {
        Ok(self.received::<Inventory>().await?.indexed())
    }

    /// The counters of all network namespaces now; where namespaces are is found out `anew`, or
    /// known from the last look. To be awaited to its end, as [`Self::inventory`] is.
    pub async fn counters(&mut self, wanted: &BTreeSet<u32>, anew: bool) -> io::Result<Readings> {
        self.request(&Request::Counters(wanted.clone(), anew)).await?;
        self.received().await
    }

    /// What the holders of these listeners do; of those that are full now if none is named. To be
    /// awaited to its end, as [`Self::inventory`] is.
    pub(crate) async fn causes(&mut self, sockets: &[Socket]) -> io::Result<Vec<Evidence>> {
        self.request(&Request::Causes(sockets.to_vec())).await?;
        self.received().await
    }

    async fn request(&mut self, request: &Request) -> io::Result<()> {
        let asked = self.requests.write_all(&wire::pack(request)?).await;
        asked.map_err(|error| self.gone(&error))
    }

    async fn received<T: DeserializeOwned>(&mut self) -> io::Result<T> {
        match wire::receive::<Answer<T>>(&mut self.answers, wire::MAX).await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(why)) => Err(io::Error::other(why)),
            Err(error) => Err(self.gone(&error)),
        }
    }

    fn gone(&mut self, error: &io::Error) -> io::Error {
        let how = match self.process.try_wait() {
            Ok(Some(status)) => format!("it ended with {status}"),
            _ => error.to_string(),
        };
        io::Error::new(error.kind(), format!("the process that looks for listeners: {how}"))
    }
}

/// Looks at listeners for the process at the other end of stdin and stdout, until it closes them.
///
/// It is not under Landlock: that forbids reading `/proc/PID/fd` and `/proc/PID/ns` of processes
/// that are not (`hook_ptrace_access_check` of security/landlock), which is all it is for.
pub fn serve(confined: bool) -> Result<(), ConfineError> {
    // Of use if the other end is killed while this one looks; otherwise the pipe's end shows it.
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|e| ConfineError::step("cannot follow the asking process")(e.into()))?;
    // A service manager sends SIGTERM to both, and the other end still has a last question.
    ignore_signals()?;
    let mut looker = Looker::new();
    if confined {
        caps::keep(RIGHTS).map_err(ConfineError::step("cannot drop capabilities"))?;
        seccomp::restrict(seccomp::looker())
            .map_err(ConfineError::step("cannot filter system calls"))?;
    }
    answer(io::stdin().lock(), io::stdout().lock(), |request| match request {
        Request::Listeners(wanted) => packed(looker.listeners(&wanted)),
        Request::Counters(wanted, anew) => packed(looker.counters(&wanted, anew)),
        Request::Causes(sockets) if sockets.is_empty() => packed(looker.first_causes()),
        Request::Causes(sockets) => packed(looker.causes(&sockets)),
    })
    .map_err(ConfineError::step("cannot answer"))
}

fn packed<T: Serialize>(found: io::Result<T>) -> io::Result<Vec<u8>> {
    let found: Answer<T> = found.map_err(|e| e.to_string());
    // One that is too long costs this answer, and no more.
    wire::pack(&found).or_else(|e| wire::pack(&Answer::<()>::Err(e.to_string())))
}

/// Answers until the requests end.
fn answer(
    mut requests: impl Read,
    mut answers: impl Write,
    mut look: impl FnMut(Request) -> io::Result<Vec<u8>>,
) -> io::Result<()> {
    loop {
        let mut head = [0; 4];
        match requests.read_exact(&mut head) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            read => read?,
        }
        let mut body = vec![0; wire::announced(head, MAX_REQUEST)?];
        requests.read_exact(&mut body)?;
        let written = answers.write_all(&look(wire::unpack(&body)?)?);
        match written.and_then(|()| answers.flush()) {
            // Nobody waits for it any more.
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            written => written?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(
        requests: &[u8],
        look: impl FnMut(Request) -> io::Result<Vec<u8>>,
    ) -> (io::Result<()>, Vec<u8>) {
        let mut answers = Vec::new();
        (answer(requests, &mut answers, look), answers)
    }

    #[test]
    fn each_request_has_its_answer() {
        let wanted = |one: u32| BTreeSet::from([one]);
        let requests = [
            wire::pack(&Request::Listeners(wanted(3))).unwrap(),
            wire::pack(&Request::Counters(wanted(4), true)).unwrap(),
        ];
        let look = |request: Request| match request {
            Request::Listeners(wanted) => packed(Ok({
                let mut inventory = Inventory::default();
                inventory.notes.extend(wanted.iter().map(u32::to_string));
                inventory
            })),
            Request::Counters(_, true) => packed::<Readings>(Err(io::Error::other("no procfs"))),
            Request::Counters(_, false) | Request::Causes(_) => unreachable!(),
        };
        let (ended, answers) = asked(&requests.concat(), look);
        ended.unwrap();
        let (head, rest) = answers.split_first_chunk().unwrap();
        let (first, second) = rest.split_at(wire::announced(*head, wire::MAX).unwrap());
        let first: Answer<Inventory> = wire::unpack(first).unwrap();
        assert_eq!(first.unwrap().notes, ["3"]);
        let second: Answer<Readings> = wire::unpack(&second[4..]).unwrap();
        assert_eq!(second.unwrap_err(), "no procfs");
    }

    #[test]
    fn a_request_that_is_none_ends_it() {
        let look = |_| packed(Ok(Inventory::default()));
        for nonsense in [&b"\xff\xff\xff\xff"[..], b"\x02\0\0\0{}", b"\x09\0\0\0[1"] {
            let (ended, answers) = asked(nonsense, look);
            assert!(ended.is_err() && answers.is_empty());
        }
        assert!(asked(b"\x01", look).0.is_ok());
    }
}
