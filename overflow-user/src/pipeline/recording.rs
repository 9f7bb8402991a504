//! The recording of a live trace: everything that is shown is in the file before.

use std::{
    cell::RefCell,
    fs::File,
    io::{self, Write},
    rc::Rc,
    time::{Duration, Instant},
};

use overflow_core::{
    recording::{Frame, Recorder},
    text::duration::{count, period},
};

use super::flight::{Done, Flight};

/// Waiting for the disk may take one part in so many of the time: the ring is not emptied meanwhile.
const SHARE: u32 = 20;

/// A file of flights takes no more of them once it is as large, bytes.
const MOST_OF_FLIGHTS: u64 = 256 << 20;

/// A recording under way. Its clones are the same one.
#[derive(Clone)]
pub struct LiveRecording(Rc<RefCell<Inner>>);

struct Inner {
    recorder: Recorder<File>,
    /// Only what came before something went wrong, and a while after.
    flight: Option<Flight>,
    begun: Instant,
    /// How long the disk was waited for.
    waited: Duration,
    /// Whether anything was written since.
    unsynced: bool,
}

impl LiveRecording {
    /// Writes with this one: everything, or, of a `flight`, only what came so long before something went
    /// wrong, and after.
    pub fn new(recorder: Recorder<File>, flight: Option<Duration>) -> Self {
        let (begun, waited) = (Instant::now(), Duration::ZERO);
        let keep = |keep: Duration| Flight::new(u64::try_from(keep.as_nanos()).unwrap_or(u64::MAX));
        let flight = flight.map(keep);
        Self(Rc::new(RefCell::new(Inner { recorder, flight, begun, waited, unsynced: true })))
    }

    /// Output that is written only when all that was recorded before is in the file: whatever ends this
    /// process, what was shown was recorded.
    pub fn before<W: Write>(&self, out: W) -> impl Write + use<W> {
        Recorded { recording: self.clone(), out }
    }

    /// Adds a frame.
    pub(crate) fn write(&self, frame: &Frame) -> io::Result<()> {
        let Inner { recorder, flight, unsynced, .. } = &mut *self.0.borrow_mut();
        let mut write = |frame: &Frame| {
            *unsynced = true;
            recorder.write(frame)
        };
        match flight {
            Some(flight) => flight.frame(frame, &mut write),
            None => write(frame),
        }
    }

    /// Something went wrong with the last frame.
    pub(crate) fn alarm(&self) -> io::Result<()> {
        let Inner { recorder, flight, unsynced, .. } = &mut *self.0.borrow_mut();
        let Some(flight) = flight else { return Ok(()) };
        let room = recorder.written() < MOST_OF_FLIGHTS;
        flight.alarm(room, &mut |frame| {
            *unsynced = true;
            recorder.write(frame)
        })
    }

    /// What came of it, of flights.
    pub(crate) fn in_words(&self) -> Option<String> {
        Some(in_words(self.0.borrow().flight.as_ref()?.done))
    }

    /// Hands everything to the kernel.
    fn flush(&self) -> io::Result<()> {
        self.0.borrow_mut().recorder.flush()
    }

    /// Has the disk take what was written, as far as that may take its time: then it outlives a failure of
    /// the power too. Nothing is said of what is no file on a disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let mut inner = self.0.borrow_mut();
        inner.recorder.flush()?;
        if inner.unsynced && inner.waited <= inner.begun.elapsed() / SHARE {
            inner.unsynced = false;
            let asked = Instant::now();
            let _ = inner.recorder.get_ref().sync_data();
            inner.waited += asked.elapsed();
        }
        Ok(())
    }
}

fn in_words(done: Done) -> String {
    let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    if (done.flights, done.refused) == (0, 0) {
        return "nothing went wrong, so nothing was recorded".to_owned();
    }
    let cut = done.least_ns.map_or_else(String::new, |least| {
        format!(", of one only the last {} before it: more did not fit", period(least))
    });
    let refused = match done.refused {
        0 => String::new(),
        n => format!("; {n} more not, because the file has {} MiB", MOST_OF_FLIGHTS >> 20),
    };
    format!("{} recorded{cut}{refused}", count(number(done.flights), "episode"))
}

struct Recorded<W> {
    recording: LiveRecording,
    out: W,
}

impl<W: Write> Write for Recorded<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.recording.flush()?;
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::{env, fs, io::BufWriter, process};

    use overflow_core::recording::{Header, Recording};

    use super::*;

    /// Asks what is in the file when it is written to.
    struct Shown<'a>(&'a dyn Fn() -> Option<usize>, &'a mut Vec<Option<usize>>);
    impl Write for Shown<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1.push(self.0());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_shown_is_in_the_file_before() {
        let path = env::temp_dir().join(format!("overflow-shown-{}", process::id()));
        let file = File::create(&path).unwrap();
        let recorder = Recorder::new(file, &Header::default()).unwrap();
        let recording = LiveRecording::new(recorder, None);
        let frames = || {
            let mut found = Recording::read(&path, File::open(&path).unwrap()).ok()?;
            Some(std::iter::from_fn(|| found.next_frame().ok().flatten()).count())
        };
        let mut seen = Vec::new();
        let mut out = BufWriter::with_capacity(8, recording.before(Shown(&frames, &mut seen)));
        for t_ns in 1..=3 {
            recording.write(&Frame::Tick(t_ns)).unwrap();
            // The second does not fit beside the first: it is written before anybody flushes.
            out.write_all(b"line\n").unwrap();
        }
        recording.sync().unwrap();
        out.flush().unwrap();
        drop(out);
        fs::remove_file(&path).unwrap();
        assert_eq!(seen, [Some(2), Some(3), Some(3)]);
    }

    #[test]
    fn what_came_of_flights_is_said() {
        let said = |flights, refused, least_ns| in_words(Done { flights, refused, least_ns });
        assert_eq!(said(0, 0, None), "nothing went wrong, so nothing was recorded");
        assert_eq!(said(1, 0, None), "1 episode recorded");
        let all = said(2, 3, Some(1_200_000_000));
        assert_eq!(
            all,
            "2 episodes recorded, of one only the last 1.2\u{a0}s before it: more did not fit; 3 more not, \
             because the file has 256 MiB"
        );
    }
}
