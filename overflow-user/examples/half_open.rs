//! Writes a recording of many half-open connections, as a SYN flood leaves them, for
//! `cargo xtask bench`.
//!
//! `half_open FILE CONNECTIONS half-open|dropped`: every connection's SYN is queued; then of every
//! connection either the SYN-ACK is sent again, or the third ACK is dropped because the accept
//! queue is full. Prints how many records there are.

use std::{env, io, path::Path, process::ExitCode};

use overflow_common::{Kind, Path as Went, Queue, RawEvent, Rung, valid};
use overflow_core::{
    listeners::Inventory,
    recording::{Frame, Header},
};
use overflow_host::{files::Existing, recordings};

const SECOND: u64 = 1_000_000_000;
/// SYNs each second.
const RATE: u64 = 1_000_000;
/// A listener whose queues are large enough for them.
const LIMIT: u32 = 4_194_304;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let [file, connections, kind] = args.as_slice() else { return usage() };
    let (Ok(connections), "half-open" | "dropped") = (connections.parse(), kind.as_str()) else {
        return usage();
    };
    match write(Path::new(file), connections, kind == "dropped") {
        Ok(records) => {
            println!("{records}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("half_open: cannot write {file}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("half_open: give FILE CONNECTIONS half-open|dropped");
    ExitCode::from(2)
}

fn write(file: &Path, connections: u32, dropped: bool) -> io::Result<u64> {
    let header = Header {
        tool: "half_open".to_owned(),
        kernel: "6.12.0".to_owned(),
        rungs: vec![("SYN".to_owned(), "fentry".to_owned())],
        ..Header::default()
    };
    let mut recorder = recordings::create(file, Existing::Overwritten, &header)?;
    recorder.write(&Frame::Inventory(Box::<Inventory>::default()))?;
    let mut records = 0;
    let mut tick = 0;
    let mut put = |event: RawEvent| -> io::Result<()> {
        while tick + SECOND <= event.t_ns {
            tick += SECOND;
            recorder.write(&Frame::Tick(tick))?;
        }
        records += 1;
        recorder.write(&Frame::Event(event))
    };
    for number in 0..connections {
        put(syn(number))?;
    }
    for number in 0..connections {
        put(if dropped { ack_dropped(number) } else { synack_again(number) })?;
    }
    let end = tick + SECOND;
    recorder.write(&Frame::Tick(end))?;
    recorder.write(&Frame::End(end))?;
    Ok(records)
}

/// What all records of one connection have in common.
fn of(number: u32, begun: u64) -> RawEvent {
    let mut client = [0; 16];
    client[..4].copy_from_slice(&(0x0a00_0000 | (number / 50_000)).to_be_bytes());
    let mut server = [0; 16];
    server[..4].copy_from_slice(&[192, 0, 2, 1]);
    RawEvent {
        t_ns: begun + u64::from(number) * SECOND / RATE,
        sk: 0xffff_8880_0000_1000,
        req: 0xffff_8881_0000_0000 + u64::from(number) * 320,
        netns: 4_026_531_840,
        client,
        server,
        client_port: u16::try_from(10_000 + number % 50_000).unwrap_or(u16::MAX),
        server_port: 443,
        rung: Rung::Fentry as u8,
        family: 4,
        syncookies: 0,
        valid: valid::ACCEPT_QUEUE | valid::SYN_QUEUE | valid::SEGMENT | valid::SYNCOOKIES,
        seq: number.wrapping_mul(2_654_435_761),
        ..RawEvent::EMPTY
    }
}

fn syn(number: u32) -> RawEvent {
    let queue = Queue { ack_backlog: 0, max_ack_backlog: LIMIT, qlen: number, young: number };
    RawEvent {
        kind: Kind::Syn as u8,
        path: Went::CONN_REQUEST | Went::REQSK_HASHED,
        tcp_flags: 0x02,
        before: queue,
        after: Queue { qlen: number + 1, ..queue },
        ..of(number, 0)
    }
    .with_after()
}

fn synack_again(number: u32) -> RawEvent {
    let event = of(number, 2 * SECOND);
    RawEvent {
        kind: Kind::SynAckRetransmit as u8,
        num_timeout: 1,
        num_retrans: 1,
        valid: valid::ACCEPT_QUEUE | valid::SYN_QUEUE | valid::NUM_TIMEOUT,
        before: Queue { ack_backlog: 0, max_ack_backlog: LIMIT, qlen: number, young: 0 },
        ..event
    }
}

fn ack_dropped(number: u32) -> RawEvent {
    let full = Queue { ack_backlog: LIMIT + 1, max_ack_backlog: LIMIT, qlen: number, young: 0 };
    let event = of(number, 2 * SECOND);
    RawEvent {
        kind: Kind::Ack as u8,
        path: Went::CHECK_REQ | Went::SYN_RECV_SOCK_NULL | Went::CHECK_REQ_NULL,
        tcp_flags: 0x10,
        seq: event.seq.wrapping_add(1),
        abort_on_overflow: 0,
        valid: event.valid | valid::ABORT_ON_OVERFLOW,
        before: full,
        after: full,
        ..event
    }
    .with_after()
}

/// Says that what was read at the end of the decision counts.
trait After {
    /// With the bit set.
    fn with_after(self) -> Self;
}

impl After for RawEvent {
    fn with_after(self) -> Self {
        Self { valid: self.valid | valid::AFTER, ..self }
    }
}
