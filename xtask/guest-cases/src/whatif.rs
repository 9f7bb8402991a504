//! Plays the pairs of `cargo xtask whatif`: each load in a network namespace of its own, recorded
//! by `overflow trace`, and `overflow whatif` asked about it.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use guest_cases::load::{Pair, Played, Server, Setting, WhatifJob, port, question};
use nix::sched::{CloneFlags, unshare};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::{Errno, fcntl_dupfd_cloexec},
    net::{
        AddressFamily, SendFlags, Shutdown, SocketFlags, SocketType, accept, bind, connect, listen,
        send, shutdown, socket, socket_with, sockopt,
    },
    process::{Resource, Rlimit, setrlimit},
    time::{ClockId, clock_gettime},
};

use crate::{links::Links, tracer::Tracer};

/// Sockets that may be open.
const MOST_FILES: u64 = 20_000;
/// Everything is ready by then.
const READY: Duration = Duration::from_millis(500);
/// From one load's beginning to the next one's: at the same time they would take each other's share
/// of the processor, which no recording of one listener shows.
const APART: Duration = Duration::from_millis(2 * 2048);
/// Timers of up to two minutes expire in buckets of 512 jiffies at most (`CONFIG_HZ=250`).
const WHEEL: Duration = Duration::from_millis(2048);
/// What happened at the end is recorded by then.
const SETTLE: Duration = Duration::from_millis(300);
const DATA: [u8; 100] = [b'x'; 100];

/// Plays all pairs, some at a time.
pub fn play(job: &WhatifJob) -> Result<Vec<Played>> {
    let many = Rlimit { current: Some(MOST_FILES), maximum: Some(MOST_FILES) };
    setrlimit(Resource::Nofile, many).context("cannot raise the limit of open files")?;
    // A table of descriptors that threads share grows while whoever needs it waits (`expand_fdtable` calls
    // `synchronize_rcu`): not in the middle of a load.
    let last = i32::try_from(MOST_FILES - 1)?;
    drop(fcntl_dupfd_cloexec(io::stderr(), last).context("cannot open so many files")?);
    let mut played = Vec::new();
    for pairs in job.pairs.chunks(job.together.max(1)) {
        played.extend(together(job, pairs)?);
    }
    Ok(played)
}

fn together(job: &WhatifJob, pairs: &[Pair]) -> Result<Vec<Played>> {
    let dir = if job.keep {
        std::env::current_dir()?
    } else {
        PathBuf::from(if Path::new("/run").is_dir() { "/run" } else { "/tmp" })
    };
    let file = |name: &str| dir.join(format!("whatif-{}-{name}.rec", std::process::id()));
    let (first, second) = (file("a"), file("b"));
    let failed = run(job, pairs, &first, |pair| pair.recorded)?;
    let again = run(job, pairs, &second, |pair| pair.predicted)?;
    let mut played = Vec::new();
    for (number, pair) in pairs.iter().enumerate() {
        let mut one = Played {
            failed: failed[number].clone().or_else(|| again[number].clone()),
            ..Played::default()
        };
        if one.failed.is_none() {
            let ask = |recording: &Path, setting| ask(job, pair, recording, number, setting);
            match (ask(&first, Some(pair.predicted)), ask(&second, None)) {
                (Ok(predicted), Ok(happened)) => {
                    one.predicted = predicted;
                    one.happened = happened;
                }
                (Err(e), _) | (_, Err(e)) => one.failed = Some(format!("{e:#}")),
            }
        }
        played.push(one);
    }
    if !job.keep {
        for path in [first, second] {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(played)
}

/// `overflow whatif` about one load of a recording: its lines.
fn ask(
    job: &WhatifJob,
    pair: &Pair,
    recording: &Path,
    number: usize,
    setting: Option<Setting>,
) -> Result<Vec<serde_json::Value>> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let recording = recording.to_str().context("the path is no text")?;
    let mut command = Command::new(&job.overflow);
    command.args(question(pair, recording, port(number), release.trim(), setting));
    let out = command.output().context("cannot start overflow")?;
    if !out.status.success() {
        bail!("{}", String::from_utf8_lossy(&out.stderr).trim());
    }
    let text = String::from_utf8(out.stdout)?;
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// One run of all: what failed, by pair.
fn run(
    job: &WhatifJob,
    pairs: &[Pair],
    recording: &Path,
    setting: impl Fn(&Pair) -> Setting,
) -> Result<Vec<Option<String>>> {
    let path = recording.to_str().context("the path is no text")?;
    let words = [&job.overflow, "trace", "--all", "--quiet", "--overwrite", "--output", "json"];
    let mut argv: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    argv.extend(["--ring-size".into(), "16M".into(), "--record".into(), path.to_owned()]);
    argv.extend(job.rung.iter().flat_map(|rung| ["--rung".to_owned(), rung.clone()]));
    let over = Arc::new(AtomicBool::new(false));
    // Listeners that the tool knows from the beginning are not looked for while clients come.
    let (opened, all_opened) = mpsc::channel::<()>();
    let mut loads = Vec::new();
    for (number, pair) in pairs.iter().enumerate() {
        let (pair, setting, over) = (pair.clone(), setting(pair), Arc::clone(&over));
        let (port, delay) = (port(number), Duration::from_micros(job.delay_us));
        let (begins, begin) = mpsc::channel::<Instant>();
        let opened = opened.clone();
        let run = move || load(&pair, (setting, port, delay), opened, &begin, &over);
        loads.push((begins, thread::spawn(run)));
    }
    drop(opened);
    // It ends when each has opened its listener, or failed to.
    let _ = all_opened.recv();
    let mut tracer = Tracer::start(&argv)?;
    tracer.wait_until_it_traces()?;
    // The loads have one processor, and the server is to be as fast as without a tool that reads.
    tracer.yield_to_others()?;
    let begin = next_turn(Instant::now() + READY);
    for (number, (begins, _)) in loads.iter().enumerate() {
        // One that failed says why when it is joined.
        let _ = begins.send(begin + APART * u32::try_from(number)?);
    }
    let hold = pairs.iter().map(|pair| pair.hold_ms).max().unwrap_or(0);
    let last = begin + APART * u32::try_from(pairs.len().saturating_sub(1))?;
    sleep_until(last + Duration::from_millis(hold) + SETTLE);
    // What is closed afterwards is nobody's fate.
    let stopped = tracer.stop();
    over.store(true, Ordering::Relaxed);
    let ended = loads.into_iter().map(|(_, load)| match load.join() {
        Ok(Ok(())) => None,
        Ok(Err(e)) => Some(format!("{e:#}")),
        Err(_) => Some("it panicked".to_owned()),
    });
    let ended = ended.collect();
    let (said, stderr) = stopped?;
    if !said.losses.is_empty() {
        return Err(anyhow!("records were lost: {:?}; {stderr}", said.losses));
    }
    Ok(ended)
}

/// A listener, its application and its clients, in a namespace of their own, until `over`.
fn load(
    pair: &Pair,
    (setting, port, delay): (Setting, u16, Duration),
    opened: mpsc::Sender<()>,
    begin: &mpsc::Receiver<Instant>,
    over: &AtomicBool,
) -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
    let links = Links::here()?;
    links.up("lo", &[])?;
    if !delay.is_zero() {
        links.delay("lo", delay)?;
    }
    for (name, value) in [
        ("core/somaxconn", 65_535),
        ("ipv4/tcp_max_syn_backlog", 4096),
        ("ipv4/tcp_syncookies", u32::from(setting.syncookies)),
        ("ipv4/tcp_abort_on_overflow", u32::from(setting.abort)),
    ] {
        let path = format!("/proc/sys/net/{name}");
        fs::write(&path, value.to_string()).with_context(|| format!("cannot write {path}"))?;
    }
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    let listener = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    bind(&listener, &address).context("cannot bind")?;
    listen(&listener, setting.backlog.cast_signed()).context("cannot listen")?;
    // What the kernel does once, for the first connection of all or of a namespace, is no part of a load:
    // it fills `table_perturb` with 256 KiB of random numbers, which takes longer than many a burst.
    let first = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    connect(&first, &address).context("cannot connect")?;
    drop((accept(&listener)?, first));
    drop(opened);
    let begin = begin.recv().context("the tool does not trace")?;
    thread::scope(|scope| {
        let server = scope.spawn(|| serve(&listener, &pair.server, begin, over));
        let clients = clients(pair, address, begin, over);
        // Whoever waits in accept() is woken.
        let _ = shutdown(&listener, Shutdown::Both);
        server.join().map_err(|_| anyhow!("the server panicked"))??;
        clients
    })
}

fn serve(listener: &OwnedFd, server: &Server, begin: Instant, over: &AtomicBool) -> Result<()> {
    let mut kept = Vec::new();
    let mut work = server.work_us.iter().cycle();
    sleep_until(begin + Duration::from_millis(server.late_ms));
    while !over.load(Ordering::Relaxed) {
        match accept(listener) {
            Ok(connection) => kept.push(connection),
            Err(Errno::INVAL) if over.load(Ordering::Relaxed) => break,
            Err(Errno::CONNABORTED | Errno::INTR) => {}
            Err(e) => return Err(e).context("cannot accept"),
        }
        let busy = Duration::from_micros(*work.next().unwrap_or(&0));
        if !busy.is_zero() {
            thread::sleep(busy);
        }
    }
    Ok(())
}

/// Connects when it is time, sends what is to be sent, and keeps all open until `over`.
fn clients(pair: &Pair, to: SocketAddrV4, begin: Instant, over: &AtomicBool) -> Result<()> {
    let mut times: Vec<Duration> = Vec::new();
    for arrivals in &pair.arrivals {
        let first = Duration::from_millis(arrivals.at_ms);
        let every = Duration::from_micros(arrivals.every_us);
        times.extend((0..arrivals.clients).map(|n| first + every * n));
    }
    times.sort_unstable();
    let mut times = times.into_iter().peekable();
    let mut kept: Vec<OwnedFd> = Vec::new();
    let mut connecting: Vec<OwnedFd> = Vec::new();
    while !over.load(Ordering::Relaxed) {
        while times.next_if(|at| begin + *at <= Instant::now()).is_some() {
            let client =
                socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::NONBLOCK, None)?;
            match connect(&client, &to) {
                Ok(()) | Err(Errno::INPROGRESS) => connecting.push(client),
                Err(e) => return Err(e).context("cannot connect"),
            }
        }
        let next = times.peek().map(|at| (begin + *at).saturating_duration_since(Instant::now()));
        let wait = next.unwrap_or(SETTLE).min(SETTLE);
        if connecting.is_empty() || !pair.data {
            kept.append(&mut connecting);
            thread::sleep(wait);
            continue;
        }
        let ready = writable(&connecting, wait)?;
        let mut number = 0;
        let done: Vec<OwnedFd> = connecting
            .extract_if(.., |_| {
                number += 1;
                ready[number - 1]
            })
            .collect();
        for client in done {
            // One that was reset has nobody to send to.
            if sockopt::socket_error(&client)?.is_ok() {
                let _ = send(&client, &DATA, SendFlags::NOSIGNAL);
            }
            kept.push(client);
        }
    }
    Ok(())
}

/// Which of these sockets have connected, or failed to, after at most this long.
fn writable(sockets: &[OwnedFd], wait: Duration) -> io::Result<Vec<bool>> {
    let mut fds: Vec<PollFd<'_>> =
        sockets.iter().map(|socket| PollFd::new(socket, PollFlags::OUT)).collect();
    let wait = Timespec::try_from(wait).map_err(io::Error::other)?;
    match poll(&mut fds, Some(&wait)) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(e) => return Err(e.into()),
    }
    Ok(fds.iter().map(|fd| !fd.revents().is_empty()).collect())
}

/// The next time after this one at which the timer wheel stands as at all such times: what is to be the
/// same load again has its timers expire in the same buckets.
fn next_turn(earliest: Instant) -> Instant {
    let now = clock_gettime(ClockId::Monotonic);
    let now = Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0));
    let then = now + earliest.saturating_duration_since(Instant::now());
    let short = WHEEL.as_nanos() - then.as_nanos() % WHEEL.as_nanos();
    earliest + Duration::from_nanos(u64::try_from(short).unwrap_or(0))
}

fn sleep_until(then: Instant) {
    thread::sleep(then.saturating_duration_since(Instant::now()));
}
