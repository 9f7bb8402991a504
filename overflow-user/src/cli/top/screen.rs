//! The terminal, taken and given back: however the view ends, the terminal is as it was.

use std::{
    io::{self, Stdout, Write},
    panic,
    sync::{
        Once,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context, Result};
use ratatui::{
    Terminal, TerminalOptions, Viewport,
    backend::CrosstermBackend,
    buffer::Buffer,
    crossterm::{
        cursor, execute,
        terminal::{
            EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, size,
        },
    },
    layout::Rect,
};

/// Whether the terminal is ours now. One for the process, as its terminal is: a panic of any
/// thread gives it back.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// A serial line knows no size; every terminal has at least this one.
const UNSIZED: Rect = Rect { x: 0, y: 0, width: 80, height: 24 };
static HOOK: Once = Once::new();

/// The terminal; given back when this is dropped.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    /// Takes the terminal.
    pub(super) fn take() -> Result<Self> {
        HOOK.call_once(|| {
            let earlier = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                give_back();
                earlier(info);
            }));
        });
        seize()?;
        let viewport = sized().map_or(Viewport::Fixed(UNSIZED), |_| Viewport::Fullscreen);
        let backend = CrosstermBackend::new(io::stdout());
        let terminal = Terminal::with_options(backend, TerminalOptions { viewport });
        let terminal = terminal.inspect_err(|_| give_back());
        Ok(Self { terminal: terminal.context("cannot draw on the terminal")? })
    }

    /// Takes it once more: after a stop, whoever ran meanwhile may have changed it.
    pub(super) fn retake(&mut self) -> Result<()> {
        give_back();
        seize()?;
        self.redraw()
    }

    /// Forgets what was drawn, so that all of it is drawn again.
    pub(super) fn redraw(&mut self) -> Result<()> {
        // Not `clear`, which asks the terminal where its cursor is and waits for the answer.
        self.terminal.resize(sized().unwrap_or(UNSIZED)).context("cannot clear the terminal")
    }

    /// Draws one frame, as far as it differs from what is there.
    pub(super) fn draw(&mut self, frame: impl FnOnce(&mut Buffer)) -> Result<()> {
        // Given back by a panic elsewhere: what follows is not ours to paint over.
        if TAKEN.load(Ordering::SeqCst) {
            self.terminal.draw(|f| frame(f.buffer_mut())).context("cannot draw on the terminal")?;
        }
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// The terminal's size, if it knows it.
fn sized() -> Option<Rect> {
    let (width, height) = size().ok()?;
    (width > 0 && height > 0).then_some(Rect { x: 0, y: 0, width, height })
}

fn seize() -> Result<()> {
    TAKEN.store(true, Ordering::SeqCst);
    let taken =
        enable_raw_mode().and_then(|()| execute!(io::stdout(), EnterAlternateScreen, cursor::Hide));
    taken.inspect_err(|_| give_back()).context("cannot take over the terminal")
}

/// Gives the terminal back, if it is taken. Errors are of no use here: it is gone then.
pub(super) fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let mut out = io::stdout();
        let _ = execute!(out, LeaveAlternateScreen, cursor::Show);
        let _ = disable_raw_mode();
        let _ = out.flush();
    }
}
