//! What came before: the last seconds of everything that is traced, in memory, and written when
//! something goes wrong.
//!
//! Of frames that hold sums since the trace began only what was lost is kept, as far as it was lost while
//! it was written: a file of parts cannot be compared with the kernel's counters, which the trace itself
//! is.

use std::{collections::VecDeque, io};

use overflow_core::{loss::Loss, recording::Frame};

/// Frames that are kept at most, however many come.
const MOST: usize = 1 << 18;
/// Listeners that no look found, of which is remembered when they were opened.
const OPENED: usize = 4096;

/// A flight under way, or what may become one.
#[derive(Debug)]
pub(super) struct Flight {
    /// So much is kept, and nothing must go wrong for as long before it ends, nanoseconds.
    keep_ns: u64,
    /// The frames of this time, each with when it came.
    kept: VecDeque<(u64, Frame)>,
    /// The listeners as they were before.
    listeners: Vec<Frame>,
    now_ns: u64,
    /// Until when everything is written, if it is.
    until_ns: Option<u64>,
    /// What was lost so far: all, when the last flight ended, and while none was.
    lost: Vec<(Loss, u64)>,
    told: Vec<(Loss, u64)>,
    apart: Vec<(Loss, u64)>,
    /// What came of it.
    pub(super) done: Done,
}

/// What came of flights so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Done {
    /// Written.
    pub flights: u64,
    /// Not written, for want of room.
    pub refused: u64,
    /// The shortest time that was in memory where it was less than it should have been, nanoseconds.
    pub least_ns: Option<u64>,
}

impl Flight {
    pub(super) fn new(keep_ns: u64) -> Self {
        Self {
            keep_ns,
            kept: VecDeque::new(),
            listeners: Vec::new(),
            now_ns: 0,
            until_ns: None,
            lost: Vec::new(),
            told: Vec::new(),
            apart: Vec::new(),
            done: Done::default(),
        }
    }

    /// Takes a frame, and writes it if everything is written now.
    pub(super) fn frame(
        &mut self,
        frame: &Frame,
        write: &mut dyn FnMut(&Frame) -> io::Result<()>,
    ) -> io::Result<()> {
        let t_ns = match frame {
            Frame::Event(event) => event.t_ns,
            Frame::Tick(t_ns) | Frame::End(t_ns) => *t_ns,
            _ => self.now_ns,
        };
        self.now_ns = self.now_ns.max(t_ns);
        if self.until_ns.is_some_and(|until| until < self.now_ns) {
            write(&Frame::Gap(self.now_ns))?;
            self.until_ns = None;
            self.told.clone_from(&self.lost);
        }
        match frame {
            Frame::Look(_) | Frame::Aggregates(..) => Ok(()),
            Frame::Losses(losses) => {
                self.lost.clone_from(losses);
                match self.until_ns {
                    Some(_) => write(&Frame::Losses(beyond(losses, &self.apart))),
                    None => Ok(()),
                }
            }
            // Of a flight that never was there is nothing to say but that it is over.
            Frame::End(_) => write(frame),
            _ if self.until_ns.is_some() => {
                self.note_listeners(frame);
                write(frame)
            }
            _ => {
                self.keep(frame.clone());
                Ok(())
            }
        }
    }

    fn keep(&mut self, frame: Frame) {
        self.kept.push_back((self.now_ns, frame));
        let since = self.now_ns.saturating_sub(self.keep_ns);
        while self.kept.len() > MOST || self.kept.front().is_some_and(|(t, _)| *t < since) {
            if let Some((_, frame)) = self.kept.pop_front() {
                self.note_listeners(&frame);
            }
        }
    }

    /// What is known of listeners when this frame is not kept any more.
    fn note_listeners(&mut self, frame: &Frame) {
        match frame {
            Frame::Inventory(_) => self.listeners = vec![frame.clone()],
            Frame::Opened(_) if self.listeners.len() < OPENED => {
                self.listeners.push(frame.clone());
            }
            _ => {}
        }
    }

    /// Something went wrong just now: what is kept is written, if there is `room`, and everything from
    /// here on.
    pub(super) fn alarm(
        &mut self,
        room: bool,
        write: &mut dyn FnMut(&Frame) -> io::Result<()>,
    ) -> io::Result<()> {
        let until = Some(self.now_ns.saturating_add(self.keep_ns));
        if self.until_ns.is_some() {
            self.until_ns = until;
            return Ok(());
        }
        if !room {
            self.done.refused += 1;
            return Ok(());
        }
        self.until_ns = until;
        self.done.flights += 1;
        let first = self.kept.front().map_or(self.now_ns, |(t, _)| *t);
        let kept = self.now_ns.saturating_sub(first);
        if self.kept.len() == MOST && kept < self.keep_ns {
            self.done.least_ns = Some(self.done.least_ns.map_or(kept, |least| least.min(kept)));
        }
        // What was lost in the meantime is no part of it.
        let meantime = beyond(&self.lost, &self.told);
        add(&mut self.apart, meantime);
        for frame in &self.listeners {
            write(frame)?;
        }
        while let Some((_, frame)) = self.kept.pop_front() {
            write(&frame)?;
            self.note_listeners(&frame);
        }
        Ok(())
    }
}

/// How much more one has than the other, by cause; causes of which it has no more are left out.
fn beyond(all: &[(Loss, u64)], before: &[(Loss, u64)]) -> Vec<(Loss, u64)> {
    let had = |loss: &Loss| before.iter().find(|(other, _)| other == loss).map_or(0, |(_, n)| *n);
    let more = all.iter().map(|(loss, n)| (loss.clone(), n.saturating_sub(had(loss))));
    more.filter(|(_, n)| *n > 0).collect()
}

fn add(all: &mut Vec<(Loss, u64)>, more: Vec<(Loss, u64)>) {
    for (loss, n) in more {
        match all.iter_mut().find(|(other, _)| *other == loss) {
            Some((_, sum)) => *sum += n,
            None => all.push((loss, n)),
        }
    }
}

#[cfg(test)]
mod tests {
    use overflow_common::RawEvent;
    use overflow_core::listeners::Inventory;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn event(second: u64) -> Frame {
        Frame::Event(RawEvent { t_ns: second * SECOND, ..RawEvent::EMPTY })
    }

    /// What was written, in short.
    #[derive(Default)]
    struct File(Vec<String>);

    impl File {
        fn writes(&mut self) -> impl FnMut(&Frame) -> io::Result<()> {
            |frame| {
                self.take(frame);
                Ok(())
            }
        }

        fn take(&mut self, frame: &Frame) {
            self.0.push(match frame {
                Frame::Event(event) => format!("{}", event.t_ns / SECOND),
                Frame::Tick(t_ns) => format!("tick {}", t_ns / SECOND),
                Frame::Gap(t_ns) => format!("gap {}", t_ns / SECOND),
                Frame::End(t_ns) => format!("end {}", t_ns / SECOND),
                Frame::Inventory(inventory) => format!("listeners {}", inventory.notes.len()),
                Frame::Losses(losses) => {
                    format!("lost {}", losses.iter().map(|(_, n)| n).sum::<u64>())
                }
                other => format!("{other:?}"),
            });
        }
    }

    fn fly(frames: Vec<(Frame, bool)>, room: bool) -> (Vec<String>, Done) {
        let (mut flight, mut file) = (Flight::new(10 * SECOND), File::default());
        for (frame, wrong) in frames {
            flight.frame(&frame, &mut file.writes()).unwrap();
            if wrong {
                flight.alarm(room, &mut file.writes()).unwrap();
            }
        }
        (file.0, flight.done)
    }

    fn inventory(notes: usize) -> Frame {
        let mut inventory = Inventory::default();
        inventory.notes.extend((0..notes).map(|n| n.to_string()));
        Frame::Inventory(Box::new(inventory))
    }

    #[test]
    fn what_came_before_is_written_and_what_follows_until_it_is_quiet() {
        let mut frames: Vec<_> = (1..=100).map(|t| (event(t), t == 50 || t == 55)).collect();
        frames.push((Frame::End(101 * SECOND), false));
        let (file, done) = fly(frames, true);
        let expected: Vec<_> = (40..=65).map(|t| t.to_string()).collect();
        assert_eq!(file[..26], expected);
        assert_eq!(file[26..], ["gap 66", "end 101"]);
        assert_eq!(done, Done { flights: 1, ..Done::default() });
    }

    #[test]
    fn listeners_that_were_known_before_are_in_it_once() {
        let mut frames = vec![(inventory(1), false), (inventory(2), false)];
        frames.extend((1..=30).map(|t| (event(t), t == 30)));
        frames.push((inventory(3), false));
        frames.extend((41..=70).map(|t| (event(t), t == 70)));
        let (file, done) = fly(frames, true);
        assert_eq!(file[..2], ["listeners 2", "20"]);
        let again = file.iter().position(|frame| frame == "gap 41").unwrap();
        assert_eq!(file[again - 1..again + 3], ["listeners 3", "gap 41", "listeners 3", "60"]);
        assert_eq!(done.flights, 2);
    }

    #[test]
    fn sums_since_the_trace_began_are_left_out_but_for_what_was_lost_meanwhile() {
        let lost = |n| (Frame::Losses(vec![(Loss::Other("x".to_owned()), n)]), false);
        let sums = (Frame::Aggregates(SECOND, Box::default()), false);
        let (file, _) = fly(
            vec![
                lost(5),
                sums,
                (event(1), true),
                lost(7),
                (event(20), false),
                lost(107),
                (event(21), true),
                lost(110),
            ],
            true,
        );
        assert_eq!(file, ["1", "lost 2", "gap 20", "20", "21", "lost 5"]);
    }

    #[test]
    fn without_room_nothing_more_is_written_and_it_is_counted() {
        let frames = vec![(event(1), true), (event(2), true), (Frame::End(3 * SECOND), false)];
        let (file, done) = fly(frames, false);
        assert_eq!(file, ["end 3"]);
        assert_eq!(done, Done { flights: 0, refused: 2, least_ns: None });
    }

    #[test]
    fn memory_is_bounded_and_what_it_cuts_is_known() {
        let frame = |n: u64| Frame::Event(RawEvent { t_ns: SECOND + n, ..RawEvent::EMPTY });
        let (mut flight, mut file) = (Flight::new(10 * SECOND), File::default());
        for n in 0..MOST as u64 + 10 {
            flight.frame(&frame(n), &mut file.writes()).unwrap();
        }
        assert_eq!((flight.kept.len(), file.0.len()), (MOST, 0));
        flight.alarm(true, &mut file.writes()).unwrap();
        assert_eq!(file.0.len(), MOST);
        assert_eq!(flight.done.least_ns, Some(MOST as u64 - 1));
    }
}
