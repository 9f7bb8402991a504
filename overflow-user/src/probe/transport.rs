//! Reads the records from the ring, or from the queue where there is no ring; its users know nothing of
//! what brings them.

use std::{
    fs, io,
    os::fd::{AsFd, AsRawFd},
    time::{Duration, Instant},
};

use aya::{
    Ebpf,
    maps::{Map, MapData, MapType, PerCpuArray, Queue, RingBuf},
    programs::Program,
    sys::is_map_supported,
};
use aya_log::EbpfLogger;
use overflow_common::RawEvent;
use overflow_core::loss::Loss;
use rustix::param::page_size;
use tokio::{
    io::{Interest, unix::AsyncFd},
    task::yield_now,
    time::{sleep, timeout},
};

use super::{
    error::{LoadError, ProbeError},
    withheld::Feature,
};

/// How long records wait at most until they are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How records leave the kernel here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    /// A ring buffer.
    Ring,
    /// A queue, on kernels before v5.8.
    Queue,
}

impl Transport {
    /// The best that this kernel has; `None` if it has neither. A kernel that does not let this process
    /// ask is taken for one that has it: what it refuses then says why.
    pub(super) fn best() -> Option<Self> {
        let has =
            |feature: Feature, map| !feature.is_withheld() && is_map_supported(map).unwrap_or(true);
        if has(Feature::Ring, MapType::RingBuf) {
            Some(Self::Ring)
        } else {
            has(Feature::Queue, MapType::Queue).then_some(Self::Queue)
        }
    }

    /// Entries that its map has if records are to have so many bytes.
    pub(super) fn entries(self, bytes: u32) -> u32 {
        match self {
            Self::Ring => size(bytes, page_size()),
            Self::Queue => {
                let records = bytes as usize / size_of::<Record>();
                u32::try_from(records).unwrap_or(u32::MAX).max(1)
            }
        }
    }
}

/// Reads records, whatever brings them.
pub struct RecordReader {
    way: Way,
    /// Records that were not an [`RawEvent`]: a sign of a mismatched build.
    malformed: u64,
}

/// A record as it leaves the kernel.
type Record = [u8; size_of::<RawEvent>()];

enum Way {
    Ring(AsyncFd<RingBuf<MapData>>),
    Queue(Queue<MapData, Record>),
}

impl RecordReader {
    pub(super) fn new(events: Map) -> Result<Self, ProbeError> {
        let of = |error| LoadError::Map("EVENTS", error);
        let way = match events {
            Map::Queue(_) => Way::Queue(events.try_into().map_err(of)?),
            ring => {
                let ring: RingBuf<MapData> = ring.try_into().map_err(of)?;
                Way::Ring(register(ring).map_err(ProbeError::Ring)?)
            }
        };
        Ok(Self { way, malformed: 0 })
    }

    /// Waits for records and hands each to `sink`. The eBPF side wakes a ring's reader only when much is
    /// waiting: to wake somebody costs more than to write a record. A queue wakes nobody.
    pub async fn wait(&mut self, mut sink: impl FnMut(RawEvent)) -> io::Result<()> {
        match &mut self.way {
            Way::Ring(fd) => match timeout(LOOK_EVERY, fd.readable_mut()).await {
                Ok(guard) => {
                    let mut guard = guard?;
                    self.malformed += drain(guard.get_inner_mut(), &mut sink);
                    guard.clear_ready();
                }
                Err(_) => self.drain(sink),
            },
            Way::Queue(queue) => {
                let before = Instant::now();
                let popped = pop(queue, &mut sink, &mut self.malformed);
                // What fills half of it while it is emptied must not wait.
                if popped < queue.capacity() / 2 {
                    sleep(LOOK_EVERY.saturating_sub(before.elapsed())).await;
                } else {
                    yield_now().await;
                }
            }
        }
        Ok(())
    }

    /// Hands over what is there now, without waiting.
    pub fn drain(&mut self, mut sink: impl FnMut(RawEvent)) {
        match &mut self.way {
            Way::Ring(fd) => self.malformed += drain(fd.get_mut(), &mut sink),
            Way::Queue(queue) => {
                pop(queue, &mut sink, &mut self.malformed);
            }
        }
    }

    /// Records that could not be decoded.
    pub fn malformed(&self) -> u64 {
        self.malformed
    }
}

/// Hands over what is in a queue, as many records as it has room for at most: whoever fills it as fast as
/// it is emptied must not keep its reader from all else. How many they were.
fn pop(
    queue: &mut Queue<MapData, Record>,
    sink: &mut impl FnMut(RawEvent),
    malformed: &mut u64,
) -> u32 {
    let most = queue.capacity();
    for popped in 0..most {
        let Ok(record) = queue.pop(0) else { return popped };
        match RawEvent::from_bytes(&record) {
            Some(event) => sink(event),
            None => *malformed += 1,
        }
    }
    most
}

/// Bytes of a ring that has room for `asked`: a power of two and whole pages, or the kernel refuses it
/// (`ringbuf_map_alloc`). A page is 4 KiB on x86-64, and 4, 16 or 64 KiB on arm64.
fn size(asked: u32, page: usize) -> u32 {
    let page = u32::try_from(page).unwrap_or(u32::MAX / 2);
    let bytes = asked.max(page);
    bytes.checked_next_power_of_two().unwrap_or(1 << 31)
}

/// Watches a ring for readability.
pub(super) fn register<T: OwnsFd>(owner: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: `OwnsFd` is for types that own their file descriptor: it stays open and the same for
    // as long as the AsyncFd, which owns the value, lives.
    let fd = unsafe { AsyncFd::register_with_interest(owner, Interest::READABLE) };
    fd.map_err(|e| e.into_parts().1)
}

/// Types that own the file descriptor they show, and never change it.
pub(super) trait OwnsFd: AsRawFd {}
impl OwnsFd for RingBuf<MapData> {}
impl<T: log::Log> OwnsFd for EbpfLogger<T> {}

fn drain(ring: &mut RingBuf<MapData>, sink: &mut impl FnMut(RawEvent)) -> u64 {
    let mut malformed = 0;
    while let Some(item) = ring.next() {
        match RawEvent::from_bytes(&item) {
            Some(event) if item.len() == size_of::<RawEvent>() => sink(event),
            _ => malformed += 1,
        }
    }
    malformed
}

/// What the eBPF side could not report, by cause.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// (cause, count), every cause, zeros included.
    pub by_cause: Vec<(Loss, u64)>,
}

impl Losses {
    pub(super) fn read(ebpf: &Ebpf, infos: &[fs::File]) -> Self {
        let count = |loss: overflow_common::Loss| -> Option<u64> {
            let map: PerCpuArray<_, u64> = ebpf.map("LOSSES")?.try_into().ok()?;
            Some(map.get(&(loss as u32), 0).ok()?.iter().sum())
        };
        let kernel = overflow_common::Loss::ALL.iter();
        let mut by_cause: Vec<_> =
            kernel.map(|l| (Loss::Kernel(*l), count(*l).unwrap_or(u64::MAX))).collect();
        by_cause.push((Loss::HookMissed, infos.iter().filter_map(misses).sum()));
        Self { by_cause }
    }

    /// Whether every count could be read.
    pub(super) fn known(&self) -> bool {
        self.by_cause.iter().all(|(_, n)| *n != u64::MAX)
    }
}

/// The kernel's notes on each loaded program, open because nothing can be opened once this process
/// is confined. They say what is true when they are read.
pub(super) fn infos(ebpf: &Ebpf) -> Vec<fs::File> {
    let of = |program: &Program| -> Option<fs::File> {
        let fd = program.fd().ok()?.as_fd().as_raw_fd();
        fs::File::open(format!("/proc/self/fdinfo/{fd}")).ok()
    };
    ebpf.programs().filter_map(|(_, program)| of(program)).collect()
}

/// How often the kernel skipped a program because it was already running on that CPU: a task was
/// preempted inside it, and what came in between met the same hook. The kernel counts it per
/// program (`bpf_prog_inc_misses_counter`, since v5.12) and shows it in fdinfo only.
fn misses(mut info: &fs::File) -> Option<u64> {
    use io::{Read as _, Seek as _};
    let mut text = String::new();
    info.rewind().ok()?;
    info.read_to_string(&mut text).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("recursion_misses:"))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_is_a_power_of_two_of_whole_pages() {
        const KIB: u32 = 1024;
        for page in [4 * KIB, 16 * KIB, 64 * KIB] {
            for asked in [0, 1, 4 * KIB, 4 * KIB + 1, 20 * KIB, 1024 * KIB, u32::MAX] {
                let ring = size(asked, page as usize);
                assert!(ring.is_power_of_two() && ring.is_multiple_of(page), "{asked} by {page}");
                assert!(ring >= asked || ring == 1 << 31, "{asked} by {page}");
            }
        }
        assert_eq!(size(4 * KIB, 64 * 1024), 64 * KIB);
        assert_eq!(size(1 << 20, 64 * 1024), 1 << 20);
        assert_eq!(size(20 * KIB, 16 * 1024), 32 * KIB);
    }
}
