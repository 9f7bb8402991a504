//! Keeps a process that looks at listeners: starts it, hands requests and answers through, and starts
//! another one where it ends.
//!
//! What is looked at is hostile, and memory can run out; the tracing process is confined by then and can
//! start nothing. This one reads of what goes through it only how long it is. Whole messages are handed
//! on, so that one that was cut off by an end confuses nobody.

use std::{
    io::{self, PipeReader, PipeWriter, Read, Write, pipe},
    time::{Duration, Instant},
};

use nix::{
    sys::wait::{WaitStatus, waitpid},
    unistd::{ForkResult, Pid, fork},
};

use super::message::{self, MAX_REQUEST};
use crate::confine::wire;

/// A process that ends at once is not started again and again: so long it is from one start to the next.
const REST: Duration = Duration::from_secs(5);

/// How to answer requests, in a process of its own.
pub(super) type Look<'a> = &'a dyn Fn(PipeReader, PipeWriter) -> io::Result<()>;

/// A process that looks.
struct Looker {
    pid: Pid,
    requests: PipeWriter,
    answers: PipeReader,
}

/// The one that there is, and when it was started.
#[derive(Default)]
pub(super) struct Keeper {
    looker: Option<Looker>,
    started: Option<Instant>,
}

/// Why a request has no whole answer.
enum Trouble {
    /// The looking process ended; its exit status.
    Looker(String),
    /// Nobody waits for the answer any more.
    Asker(io::Error),
}

impl Keeper {
    /// Has requests answered until they end. This process must have no other threads.
    pub(super) fn keep(
        &mut self,
        mut requests: impl Read,
        mut answers: impl Write,
        look: Look<'_>,
    ) -> io::Result<()> {
        while let Some(request) = message::read(&mut requests, MAX_REQUEST)? {
            let answered = match self.hand_through(&request, &mut answers, look) {
                Ok(()) => Ok(()),
                Err(Trouble::Asker(error)) => Err(error),
                Err(Trouble::Looker(why)) => message::fail(&mut answers, why),
            };
            match answered {
                Err(e) if e.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                answered => answered?,
            }
        }
        Ok(())
    }

    fn hand_through(
        &mut self,
        request: &[u8],
        answers: &mut impl Write,
        look: Look<'_>,
    ) -> Result<(), Trouble> {
        let looker = self.looker(look)?;
        let asked = wire::framed(request).and_then(|request| looker.requests.write_all(&request));
        if asked.is_err() {
            return Err(self.ended());
        }
        while let Some(looker) = &mut self.looker {
            let Ok(Some(body)) = message::read(&mut looker.answers, wire::MAX) else {
                return Err(self.ended());
            };
            let part = wire::framed(&body).and_then(|part| answers.write_all(&part));
            part.map_err(Trouble::Asker)?;
            if body.is_empty() {
                break;
            }
        }
        answers.flush().map_err(Trouble::Asker)
    }

    /// The process that looks, started if there is none and the last start is long enough ago.
    fn looker(&mut self, look: Look<'_>) -> Result<&mut Looker, Trouble> {
        if self.looker.is_none() {
            if self.started.is_some_and(|started| started.elapsed() < REST) {
                let why = "it ended, and is started again in a few seconds".to_owned();
                return Err(Trouble::Looker(why));
            }
            self.started = Some(Instant::now());
            let started = start(look);
            self.looker =
                Some(started.map_err(|e| Trouble::Looker(format!("it cannot be started: {e}")))?);
        }
        self.looker.as_mut().ok_or_else(|| Trouble::Looker("it ended".to_owned()))
    }

    /// Lets the process go that does not answer as it should.
    fn ended(&mut self) -> Trouble {
        let Some(Looker { pid, requests, answers }) = self.looker.take() else {
            return Trouble::Looker("it ended".to_owned());
        };
        // Whatever it waits for now fails, so it ends if it has not.
        drop((requests, answers));
        Trouble::Looker(match waitpid(pid, None) {
            Ok(WaitStatus::Exited(_, code)) => format!("it ended with exit status {code}"),
            Ok(WaitStatus::Signaled(_, signal, _)) => format!("it was ended by {signal}"),
            Ok(_) | Err(_) => "it ended".to_owned(),
        })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if self.looker.is_some() {
            self.ended();
        }
    }
}

fn start(look: Look<'_>) -> io::Result<Looker> {
    let (their_requests, requests) = pipe()?;
    let (answers, their_answers) = pipe()?;
    // SAFETY: this process has no other threads (`Keeper::keep`), so nothing that the child's copy of the
    // memory could hold half done or locked.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(Looker { pid: child, requests, answers }),
        ForkResult::Child => {
            drop((requests, answers));
            let looked = look(their_requests, their_answers);
            // Not through what the parent would have done after this.
            std::process::exit(i32::from(looked.is_err()))
        }
    }
}
