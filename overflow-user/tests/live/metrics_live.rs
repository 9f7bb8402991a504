//! `overflow trace --metrics-listen` on the running kernel, confined as always: what is scraped must
//! equal the kernel's counters and the trace's own summary, and name no client.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    OVERFLOW,
    harness::tests,
    listener::{Bound, counter},
    namespace::{in_namespace, netns},
    needs::Need::{Namespaces, Program, Tracing},
    process::PATIENCE,
};

tests! {
    needs [Tracing, Namespaces, Program("ip")]: what_is_scraped_is_what_the_kernel_counted;
    needs []: an_address_in_use_is_an_error;
}

/// Starts a trace of this thread's namespace with metrics. The scraper's connections are to another
/// listener there, the trace's own.
pub fn start() -> (Child, SocketAddr) {
    let mut child = Command::new(OVERFLOW)
        .args(["trace", "--netns", "self", "--metrics-listen", "127.0.0.1:0"])
        .env("LC_ALL", "C.UTF-8")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut printed = String::new();
    stderr.read_line(&mut printed).unwrap();
    let address = printed.trim().strip_prefix("overflow: metrics are at http://");
    let address = address.and_then(|a| a.strip_suffix("/metrics"));
    let address = address.unwrap_or_else(|| panic!("{printed}")).parse().unwrap();
    let began = Instant::now();
    while !page(address).contains("overflow_hook_info") {
        if let Some(status) = child.try_wait().unwrap() {
            let mut why = String::new();
            stderr.read_to_string(&mut why).unwrap();
            panic!("{status}: {why}");
        }
        assert!(began.elapsed() < PATIENCE * 3, "no hook was attached");
        thread::sleep(Duration::from_millis(100));
    }
    (child, address)
}

/// What a scraper gets; nothing if nobody answers.
pub fn page(address: SocketAddr) -> String {
    let mut page = String::new();
    if let Ok(mut stream) = TcpStream::connect(address) {
        let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: overflow\r\n\r\n");
        let _ = stream.read_to_string(&mut page);
    }
    page
}

fn overflow_and_scrape() {
    let netns = netns();
    let bound = Bound::new();
    let (mut child, address) = start();

    let (listener, clients) = bound.overflow(5);
    let server = listener.local_addr().unwrap();
    let overflows = counter("ListenOverflows");
    assert!(overflows >= 3, "{overflows}");

    let sample = |page: &str, name: &str, more: &str| -> Option<u64> {
        let labels = format!("overflow_listener_{name}{{netns=\"{netns}\",listener=\"{server}\"");
        let line = page.lines().find(|l| l.starts_with(&labels) && l.contains(more))?;
        line.rsplit_once(' ')?.1.parse().ok()
    };
    let began = Instant::now();
    let scraped = loop {
        let scraped = page(address);
        let now = sample(&scraped, "overflows_total", "");
        let limit = sample(&scraped, "accept_queue_limit", "");
        if now == Some(overflows) && limit.is_some() {
            break scraped;
        }
        assert!(began.elapsed() < PATIENCE, "{overflows} overflows are not in\n{scraped}");
        thread::sleep(Duration::from_millis(100));
    };
    let dropped = sample(&scraped, "moments_total", "verdict=\"syn.drop.accept_queue_full\"");
    assert_eq!(dropped, Some(overflows), "{scraped}");
    assert_eq!(sample(&scraped, "accept_queue_length", "process=\""), Some(2), "{scraped}");
    assert_eq!(sample(&scraped, "accept_queue_limit", "process=\""), Some(1), "{scraped}");
    for client in &clients {
        let client = client.local_addr().unwrap().to_string();
        assert!(!scraped.contains(&client), "{client} is in\n{scraped}");
    }

    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let mut shown = String::new();
    child.stdout.take().unwrap().read_to_string(&mut shown).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(shown.contains(&format!("ListenOverflows {overflows},")), "{shown}");
}

fn what_is_scraped_is_what_the_kernel_counted() {
    in_namespace(overflow_and_scrape);
}

fn an_address_in_use_is_an_error() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let refused =
        Command::new(OVERFLOW).args(["trace", "--metrics-listen", &address]).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let why = String::from_utf8(refused.stderr).unwrap();
    assert!(why.contains(&format!("cannot serve metrics at {address}")), "{why}");
}
