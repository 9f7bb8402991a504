//! A terminal of a given size with a program in it: what it shows is what the program wrote, as a
//! terminal would show it.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::OwnedFd,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{Mode, OFlags, open},
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Termios, Winsize, tcgetattr, tcsetwinsize},
};

/// Everything waits at most so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// The terminal.
pub struct Terminal {
    child: Child,
    keyboard: Option<File>,
    reader: Option<JoinHandle<()>>,
    /// Tells the reader that the terminal goes away.
    closed: Arc<AtomicBool>,
    /// The program's side, for its settings.
    side: OwnedFd,
    before: Termios,
    shown: Arc<Mutex<vt100::Parser>>,
}

impl Terminal {
    /// Starts `program` with its arguments, in a session of its own whose terminal this is.
    pub fn start(program: &[&str], env: &[(&str, &str)], (rows, cols): (u16, u16)) -> Self {
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let side =
            open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        resize(&master, rows, cols);
        let before = tcgetattr(&side).unwrap();
        let stdio = || Stdio::from(side.try_clone().unwrap());
        let child = Command::new("setsid")
            .arg("--ctty")
            .args(program)
            .env("TERM", "xterm-256color")
            .env("LC_ALL", "C.UTF-8")
            .env_remove("NO_COLOR")
            .envs(env.iter().copied())
            .stdin(stdio())
            .stdout(stdio())
            .stderr(stdio())
            .spawn()
            .unwrap();
        let (rows, cols) = (rows.try_into().unwrap(), cols.try_into().unwrap());
        let shown = Arc::new(Mutex::new(vt100::Parser::new(rows, cols, 0)));
        let mut output = File::from(master.try_clone().unwrap());
        let (writing, closed) = (Arc::clone(&shown), Arc::new(AtomicBool::new(false)));
        let closing = Arc::clone(&closed);
        let reader = thread::spawn(move || {
            let mut bytes = [0; 4096];
            while !closing.load(Ordering::SeqCst) {
                let mut wait = [PollFd::new(&output, PollFlags::IN)];
                if poll(&mut wait, Some(&Timespec { tv_sec: 0, tv_nsec: 20_000_000 })) == Ok(0) {
                    continue;
                }
                // When the program's side is closed this is an error on Linux.
                let Ok(n @ 1..) = output.read(&mut bytes) else { return };
                writing.lock().unwrap().process(&bytes[..n]);
            }
        });
        let (keyboard, reader) = (Some(File::from(master)), Some(reader));
        Self { child, keyboard, reader, closed, side, before, shown }
    }

    /// What is on the screen.
    pub fn text(&self) -> String {
        self.shown.lock().unwrap().screen().contents()
    }

    /// Asks something of the screen.
    pub fn screen<T>(&self, ask: impl FnOnce(&vt100::Screen) -> T) -> T {
        ask(self.shown.lock().unwrap().screen())
    }

    /// Types.
    pub fn keys(&mut self, keys: &str) {
        self.keyboard.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until the screen is as wanted, and returns its text.
    pub fn wait(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let since = Instant::now();
        loop {
            let text = self.text();
            if wanted(&text) {
                return text;
            }
            assert!(since.elapsed() < PATIENCE, "in vain for {what}:\n{text}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the screen, not its text alone, is as wanted.
    pub fn wait_for(&mut self, what: &str, wanted: impl Fn(&vt100::Screen) -> bool) {
        let since = Instant::now();
        while !self.screen(&wanted) {
            assert!(since.elapsed() < PATIENCE, "in vain for {what}:\n{}", self.text());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether the program ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for the program's end.
    pub fn end(&mut self) -> ExitStatus {
        let since = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                // What it wrote last is still on its way to the screen.
                thread::sleep(Duration::from_millis(100));
                return status;
            }
            assert!(since.elapsed() < PATIENCE, "it does not end:\n{}", self.text());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Takes the terminal away, as a broken connection does; how the program ended, if it did.
    pub fn hang_up(mut self) -> Option<ExitStatus> {
        self.closed.store(true, Ordering::SeqCst);
        self.reader.take().unwrap().join().unwrap();
        self.keyboard = None;
        let since = Instant::now();
        while since.elapsed() < PATIENCE {
            if let Some(status) = self.ended() {
                return Some(status);
            }
            thread::sleep(Duration::from_millis(20));
        }
        None
    }

    /// Sends the program a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// State of the program, as in `/proc/PID/stat`: `T` is stopped.
    pub fn state(&self) -> char {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        stat.rsplit(") ").next().unwrap().chars().next().unwrap()
    }

    /// Changes its size.
    pub fn resize(&self, rows: u16, cols: u16) {
        let (r, c) = (rows.try_into().unwrap(), cols.try_into().unwrap());
        self.shown.lock().unwrap().screen_mut().set_size(r, c);
        resize(self.keyboard.as_ref().unwrap(), rows, cols);
    }

    /// Asserts that it is as it was before the program began.
    pub fn assert_restored(&self) {
        let now = tcgetattr(&self.side).unwrap();
        let modes = |t: &Termios| (t.input_modes, t.output_modes, t.control_modes, t.local_modes);
        assert_eq!(modes(&now), modes(&self.before), "the terminal's modes");
        self.screen(|screen| {
            assert!(!screen.alternate_screen(), "still on the alternate screen");
            assert!(!screen.hide_cursor(), "the cursor is still hidden");
        });
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn resize(master: impl std::os::fd::AsFd, rows: u16, cols: u16) {
    let size = Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(master, size).unwrap();
}
