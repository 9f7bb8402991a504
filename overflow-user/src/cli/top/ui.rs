//! The thread that draws and reads keys. It has nothing to do with tracing: a terminal that does
//! not take its output, as over a bad line, holds up nothing else.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Error, Result, anyhow, bail};
use ratatui::crossterm::event::{self, Event};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Signal, getpid, kill_process},
};
use tokio::sync::oneshot;

use super::{
    keys::{Asked, asked},
    screen::{self, Screen},
};
use overflow::sink::top::Shared;

/// The screen follows what is known so often; keys are followed at once.
const DRAW_EVERY: Duration = Duration::from_millis(250);
/// Signals and a changed size are followed within this time.
const POLL: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
/// A thread that has not ended by then hangs on a terminal that is gone or takes nothing.
const PATIENCE: Duration = Duration::from_secs(1);
const NO_KEYS: &str = "cannot read the keyboard";

/// The thread, as others see it.
#[derive(Clone)]
pub(super) struct Ui {
    asked: Arc<Asks>,
    thread: Arc<Mutex<Option<JoinHandle<Result<()>>>>>,
    failure: Arc<Mutex<Option<Error>>>,
}

/// What others ask of it.
#[derive(Default)]
struct Asks {
    stop: AtomicBool,
    suspend: AtomicBool,
    resume: AtomicBool,
}

impl Ui {
    /// Takes the terminal and begins to draw; `quit` is sent or dropped when the user has enough.
    pub(super) fn start(view: Shared, quit: oneshot::Sender<()>) -> Result<Self> {
        let asks = Arc::new(Asks::default());
        let screen = Screen::take()?;
        let theirs = Arc::clone(&asks);
        let thread = thread::Builder::new()
            .name("view".to_owned())
            .spawn(move || {
                // Dropped at the end of this thread, whatever ends it.
                let _quit = quit;
                draw(screen, &view, &theirs)
            })
            .context("cannot start the thread that draws")?;
        Ok(Self {
            asked: asks,
            thread: Arc::new(Mutex::new(Some(thread))),
            failure: Arc::default(),
        })
    }

    /// Ends it; returns when the terminal is given back. Nothing if it is over.
    pub(super) fn stop(&self) {
        self.asked.stop.store(true, Ordering::SeqCst);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return };
        let since = Instant::now();
        while !thread.is_finished() && since.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(5));
        }
        if !thread.is_finished() {
            screen::give_back();
            return;
        }
        let failure = match thread.join() {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error,
            // The panic has said what it is.
            Err(_) => anyhow!("the view failed; use `overflow trace` meanwhile"),
        };
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
    }

    /// What ended it, if it was an error.
    pub(super) fn failure(&self) -> Option<Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Gives the terminal back and stops the process.
    pub(super) fn suspend(&self) {
        self.asked.suspend.store(true, Ordering::SeqCst);
    }

    /// The process goes on: takes the terminal again.
    pub(super) fn resume(&self) {
        self.asked.resume.store(true, Ordering::SeqCst);
    }
}

impl Drop for Ui {
    /// The last of them, on an early error too, gives the terminal back.
    fn drop(&mut self) {
        if Arc::strong_count(&self.thread) == 1 {
            self.stop();
        }
    }
}

fn draw(mut screen: Screen, view: &Shared, asks: &Asks) -> Result<()> {
    let mut drawn: Option<Instant> = None;
    let mut at_once = true;
    while !asks.stop.load(Ordering::SeqCst) {
        if asks.suspend.swap(false, Ordering::SeqCst) {
            suspend()?;
        }
        if asks.resume.swap(false, Ordering::SeqCst) {
            screen.retake()?;
            at_once = true;
        }
        let due = drawn.is_none_or(|at| at.elapsed() >= DRAW_EVERY);
        let stale = (at_once || due) && view.lock().take_stale();
        if at_once || stale {
            screen.draw(|buffer| view.lock().draw(buffer))?;
            (drawn, at_once) = (Some(Instant::now()), false);
        }
        await_keys()?;
        if !event::poll(Duration::ZERO).context(NO_KEYS)? {
            continue;
        }
        match event::read().context(NO_KEYS)? {
            Event::Key(key) => match asked(key) {
                Asked::View(action) => {
                    if view.lock().act(action) {
                        return Ok(());
                    }
                    at_once = true;
                }
                Asked::Suspend => suspend()?,
                Asked::Redraw => {
                    screen.redraw()?;
                    at_once = true;
                }
                Asked::Nothing => {}
            },
            Event::Resize(..) => at_once = true,
            _ => {}
        }
    }
    Ok(())
}

/// Waits a little for a key. A terminal that is gone is an error here: crossterm would read its end
/// for ever.
fn await_keys() -> Result<()> {
    let stdin = io::stdin();
    let mut keyboard = [PollFd::new(&stdin, PollFlags::IN)];
    match poll(&mut keyboard, Some(&POLL)) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error).context(NO_KEYS),
    }
    if keyboard[0].revents().intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) {
        bail!("{NO_KEYS}: the terminal is gone");
    }
    Ok(())
}

/// Stops this process as the shell's job control would; SIGCONT brings it back.
fn suspend() -> Result<()> {
    screen::give_back();
    kill_process(getpid(), Signal::STOP).context("cannot suspend")
}
