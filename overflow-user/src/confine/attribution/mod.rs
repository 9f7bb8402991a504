//! Attribution in a process of its own: it alone keeps the rights to look at every process and
//! network namespace of the host, and never sees a packet.
//!
//! It is this program, started again with one end of two pipes, and looks in a child of its own
//! ([`keeper`]), so that a look that goes wrong is not the last one. A request names the network
//! namespaces that are looked for harder; the answer is an [`Inventory`] or [`Readings`], or why
//! there is none. It ends when the pipes close, however the asking process ended.

mod keeper;
mod looker;
mod message;

use std::{
    collections::BTreeSet,
    io, mem,
    os::fd::OwnedFd,
    process::Child,
    time::{Duration, Instant},
};

use rustix::{
    process::{Signal, getppid, set_parent_process_death_signal},
    thread::CapabilitySet,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::unix::pipe::{Receiver, Sender},
    time::timeout_at,
};

use super::{ConfineError, caps, ignore_signals, seccomp, second_process, wire};
use keeper::Keeper;
use message::{Message, Request};
use overflow_core::{
    audit::Readings, cause::Evidence, listeners::Inventory, owner::Process, text::untrusted::escape,
};
use overflow_host::{Looker, causes::Socket, listeners::SynQueues};

/// The hidden command that [`serve`]s.
pub const COMMAND: &str = "attribution";

/// What finding owners takes: reading `/proc/PID/fd` and `/proc/PID/ns/net` of other users'
/// processes, and entering their network namespaces.
const RIGHTS: CapabilitySet =
    CapabilitySet::SYS_PTRACE.union(CapabilitySet::DAC_READ_SEARCH).union(CapabilitySet::SYS_ADMIN);

/// An answer that takes longer is not waited for before tracing begins.
const FIRST: Duration = Duration::from_secs(30);

/// As much is read at once as a pipe holds, bytes.
const READ: usize = 64 << 10;

/// What an answer has so far.
#[derive(Debug, Default)]
struct Answer {
    listeners: Option<Inventory>,
    counters: Option<Readings>,
    processes: Option<Vec<Process>>,
    causes: Option<Vec<Evidence>>,
    failed: Option<String>,
}

/// The process that looks at listeners, from the asking side.
#[derive(Debug)]
pub struct Attribution {
    process: Child,
    requests: Sender,
    answers: Receiver,
    /// What was read and is no whole message yet.
    unread: Vec<u8>,
    answer: Answer,
    /// The request whose answer is to come. There is never another one: who does not answer is not
    /// asked again.
    asked: Option<Request>,
    /// Whether it did not come in time.
    late: bool,
    /// An answer that takes longer is not waited for, though one about listeners is taken if it comes
    /// later.
    patience: Duration,
    /// All answers must have come by then.
    end: Option<Instant>,
}

impl Attribution {
    /// Starts it, from inside a runtime and before this process is confined.
    pub fn start(confined: bool) -> io::Result<Self> {
        let (process, requests, answers) = second_process::start(COMMAND, confined)?;
        Ok(Self {
            process,
            requests: Sender::from_owned_fd(OwnedFd::from(requests))?,
            answers: Receiver::from_owned_fd(OwnedFd::from(answers))?,
            unread: Vec::new(),
            answer: Answer::default(),
            asked: None,
            late: false,
            patience: FIRST,
            end: None,
        })
    }

    /// From now on an answer is waited for so long at most.
    pub(crate) fn wait_at_most(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// From now on all answers together are waited for until `end` at most.
    pub(crate) fn answer_by(&mut self, end: Instant) {
        self.end = Some(end);
    }

    /// The listeners of this host now; `wanted` network namespaces are looked for harder. Whoever
    /// does not await it to its end may ask again.
    pub(crate) async fn inventory(
        &mut self,
        wanted: &BTreeSet<u32>,
        syn_queues: SynQueues,
    ) -> io::Result<Inventory> {
        self.ask(wanted, syn_queues).await?;
        self.answer().await
    }

    /// Asks; it looks meanwhile. [`Self::answer`] must follow.
    pub async fn ask(&mut self, wanted: &BTreeSet<u32>, syn_queues: SynQueues) -> io::Result<()> {
        if matches!(self.asked, Some(Request::Listeners(..))) {
            // A late answer is as good as a new one.
            return Ok(());
        }
        let counted = syn_queues == SynQueues::Counted;
        self.request(Request::Listeners(wanted.clone(), counted)).await
    }

    /// What it found.
    pub async fn answer(&mut self) -> io::Result<Inventory> {
        match self.answered().await? {
            Answer { listeners: Some(found), .. } => Ok(found.escaped().indexed()),
            other => Err(other.why()),
        }
    }

    /// The counters of all network namespaces now; where namespaces are is found out `anew`, or
    /// known from the last look. Whoever does not await it to its end may ask again.
    pub async fn counters(&mut self, wanted: &BTreeSet<u32>, anew: bool) -> io::Result<Readings> {
        self.request(Request::Counters(wanted.clone(), anew)).await?;
        match self.answered().await? {
            Answer { counters: Some(found), .. } => Ok(found),
            other => Err(other.why()),
        }
    }

    /// What is to be seen of these processes now; those that are gone are left out. Whoever does not
    /// await it to its end may ask again.
    pub(crate) async fn processes(&mut self, pids: BTreeSet<u32>) -> io::Result<Vec<Process>> {
        self.request(Request::Processes(pids)).await?;
        match self.answered().await? {
            Answer { processes: Some(found), .. } => Ok(found),
            other => Err(other.why()),
        }
    }

    /// What the holders of these listeners do; of those that are full now if none is named. Whoever does
    /// not await it to its end may ask again.
    pub(crate) async fn causes(&mut self, sockets: &[Socket]) -> io::Result<Vec<Evidence>> {
        self.request(Request::Causes(sockets.to_vec())).await?;
        match self.answered().await? {
            Answer { causes: Some(found), .. } => Ok(found),
            other => Err(other.why()),
        }
    }

    async fn request(&mut self, request: Request) -> io::Result<()> {
        if self.asked.is_some() {
            // Its answer is too old by now.
            let _ = self.answered().await?;
        }
        let bytes = wire::pack(&request)?;
        // Before it is written: whoever gives up in between must not ask at the same time. All of it
        // finds room, as the pipe is empty.
        self.asked = Some(request);
        let written = timeout_at(self.deadline().into(), self.requests.write_all(&bytes)).await;
        match written {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.gone(&error)),
            Err(_) => Err(self.late()),
        }
    }

    /// The whole answer. What has come of it is kept if this is not awaited to its end.
    async fn answered(&mut self) -> io::Result<Answer> {
        let deadline = self.deadline();
        loop {
            while let Some(body) = wire::first_of(&mut self.unread, wire::MAX)? {
                if body.is_empty() {
                    (self.asked, self.late) = (None, false);
                    return Ok(mem::take(&mut self.answer));
                }
                match wire::unpack(&body)? {
                    Message::Listeners(part) => {
                        self.answer.listeners.get_or_insert_default().join(part);
                    }
                    Message::Counters(found) => self.answer.counters = Some(found),
                    Message::Processes(found) => self.answer.processes = Some(found),
                    Message::Causes(found) => self.answer.causes = Some(found),
                    Message::Failed(why) => self.answer.failed = Some(why),
                }
            }
            self.unread.reserve(READ);
            match timeout_at(deadline.into(), self.answers.read_buf(&mut self.unread)).await {
                Ok(Ok(0)) => return Err(self.gone(&io::ErrorKind::UnexpectedEof.into())),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(self.gone(&error)),
                Err(_) => return Err(self.late()),
            }
        }
    }

    fn deadline(&self) -> Instant {
        let now = Instant::now();
        let patient = if self.late { now } else { now + self.patience };
        self.end.map_or(patient, |end| end.min(patient))
    }

    fn late(&mut self) -> io::Error {
        self.late = true;
        let why = "the process that looks for listeners does not answer in time; is it stopped, or the \
                   machine overloaded?";
        io::Error::new(io::ErrorKind::TimedOut, why)
    }

    fn gone(&mut self, error: &io::Error) -> io::Error {
        let how = match self.process.try_wait() {
            Ok(Some(status)) => format!("it ended with {status}"),
            _ => error.to_string(),
        };
        io::Error::new(error.kind(), format!("the process that looks for listeners: {how}"))
    }
}

impl Answer {
    /// Why it is not what was asked for. Half of the listeners are none: the others would seem closed.
    fn why(self) -> io::Error {
        let why = self.failed.unwrap_or_else(|| "it answered something else".to_owned());
        io::Error::other(format!("the process that looks for listeners: {}", escape(&why)))
    }
}

/// Looks at listeners for the process at the other end of stdin and stdout, until it closes them.
///
/// It is not under Landlock: that forbids reading `/proc/PID/fd` and `/proc/PID/ns` of processes
/// that are not (`hook_ptrace_access_check` of security/landlock), which is all it is for.
pub fn serve(confined: bool) -> Result<(), ConfineError> {
    follow_parent()?;
    // A service manager sends SIGTERM to both, and the other end still has a last question.
    ignore_signals()?;
    let looker = Looker::new();
    if confined {
        caps::keep(RIGHTS).map_err(ConfineError::step("cannot drop capabilities"))?;
        seccomp::restrict(seccomp::keeper())
            .map_err(ConfineError::step("cannot filter system calls"))?;
    }
    let kept =
        Keeper::default().keep(io::stdin().lock(), io::stdout().lock(), &|requests, answers| {
            follow_parent().map_err(io::Error::other)?;
            if confined {
                seccomp::restrict(seccomp::looker())?;
            }
            looker::look(looker.anew(), requests, answers)
        });
    kept.map_err(ConfineError::step("cannot answer"))
}

/// Has this process killed when its parent ends. Of use if that is killed while this one is at work;
/// otherwise the pipe's end shows it.
fn follow_parent() -> Result<(), ConfineError> {
    let parent = getppid();
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|e| ConfineError::step("cannot follow the asking process")(e.into()))?;
    // It could have ended before.
    if getppid() == parent {
        return Ok(());
    }
    Err(ConfineError::step("cannot follow the asking process")(io::ErrorKind::BrokenPipe.into()))
}
