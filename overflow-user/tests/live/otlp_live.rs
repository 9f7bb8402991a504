//! `overflow trace --otlp-endpoint` on the running kernel, confined as always, against a collector
//! that decodes what it gets: it must equal the kernel's counters and the trace's own summary, come
//! again after a failure that may pass, and never hold up the trace.

use std::{
    fs,
    io::{BufRead, Read},
    net::TcpListener,
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::{
    OVERFLOW,
    collector::{Answer, Collector},
    harness::tests,
    listener::{Bound, counter},
    namespace::{in_namespace, netns},
    needs::Need::{Namespaces, Program, Tracing},
    process::{status, wait_until},
    trace::{lost, traced},
};

tests! {
    needs [Tracing, Namespaces, Program("ip")]:
        what_is_exported_is_what_the_kernel_counted,
        aggregates_alone_export_handshakes_all_the_same,
        a_collector_that_never_answers_holds_nothing_up,
        the_trace_goes_on_without_the_process_that_exports,
        what_the_collector_refuses_is_not_sent_again;
    needs []: an_unsupported_protocol_is_refused_at_once;
}

/// A trace of this thread's namespace that has printed its header. The collector's listener is in
/// the same namespace, and traced like any other.
struct Trace {
    child: Child,
    stdout: Box<dyn BufRead>,
}

impl Drop for Trace {
    fn drop(&mut self) {
        // A test that failed leaves none behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Trace {
    fn start(url: &str, args: &[&str]) -> Self {
        let mut command = Command::new(OVERFLOW);
        command
            .args(["trace", "--netns", "self", "--otlp-endpoint", url])
            .args(args)
            .env("OTEL_METRIC_EXPORT_INTERVAL", "1000")
            .env("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test");
        let (child, stdout, _) = traced(&mut command, "Ctrl-C ends.");
        let trace = Self { child, stdout: Box::new(stdout) };
        wait_until("it is confined", || status(trace.pid(), "Seccomp") == "2");
        trace
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The process that exports. Its parent goes on before execve has set its arguments.
    fn exporter(&self) -> Pid {
        let pid = self.child.id();
        let find = || {
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
            let is_it = |child: &&str| {
                let line = fs::read_to_string(format!("/proc/{child}/cmdline")).unwrap();
                line.split('\0').nth(1) == Some("export")
            };
            let found = children.split_whitespace().find(is_it)?;
            Pid::from_raw(found.parse().unwrap())
        };
        wait_until("there is a process that exports", || find().is_some());
        find().unwrap()
    }

    /// Interrupts it; what it still printed, its stderr, and how long it took.
    fn finish(mut self) -> (String, String, Duration) {
        let began = Instant::now();
        kill_process(self.pid(), Signal::INT).unwrap();
        let (mut out, mut err) = (String::new(), String::new());
        self.stdout.read_to_string(&mut out).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        assert!(self.child.wait().unwrap().success(), "{out}{err}");
        (out.replace('\u{a0}', " "), err, began.elapsed())
    }
}

fn exported_equals_counted(args: &[&str]) {
    let netns = netns().to_string();
    // The first request of each signal is turned away; it must come again. A connection that is
    // closed after an answer is no failure.
    let collector = Collector::start(&[Answer::Unavailable, Answer::TakenLast, Answer::Taken]);
    let bound = Bound::new();
    let trace = Trace::start(&collector.url(), args);
    let exporter = trace.exporter();
    wait_until("the exporting process is confined", || status(exporter, "Seccomp") == "2");
    for set in ["CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb"] {
        assert_eq!(u64::from_str_radix(&status(exporter, set), 16), Ok(0), "{set}");
    }
    assert_eq!(status(exporter, "NoNewPrivs"), "1");

    let (listener, clients) = bound.overflow(5);
    let server = listener.local_addr().unwrap();
    let overflows = counter("ListenOverflows");
    assert!(overflows >= 3, "{overflows}");
    let place = server.to_string();
    let labels = [("overflow.netns", netns.as_str()), ("overflow.listener", place.as_str())];
    let now = |name: &str| collector.number(name, &labels);
    wait_until("all overflows are exported", || {
        now("overflow.listener.overflows") == Some(overflows)
            && now("overflow.listener.accept_queue.limit").is_some()
    });
    let dropped = [labels[0], labels[1], ("overflow.verdict", "syn.drop.accept_queue_full")];
    assert_eq!(collector.number("overflow.listener.moments", &dropped), Some(overflows));
    assert_eq!(now("overflow.listener.accept_queue.length"), Some(2));
    assert_eq!(now("overflow.listener.accept_queue.limit"), Some(1));
    assert_eq!(now("overflow.listener.phantoms"), Some(0));
    assert!(collector.turned_away("/v1/metrics"), "what was turned away comes again");
    let metrics = collector.metrics();
    for client in &clients {
        let client = client.local_addr().unwrap();
        assert!(!metrics.contains(&client.to_string()), "{client} is in {metrics}");
    }

    // Before the end a handshake can still go on, so no record was there yet.
    assert_eq!(collector.records().len(), 0);
    let (shown, printed, _) = trace.finish();
    assert!(shown.contains(&format!("ListenOverflows {overflows},")), "{shown}");
    assert!(lost(&printed).is_empty(), "{printed}");
    assert_eq!(printed.matches("to be tried again").count(), 2, "{printed}");
    let records = collector.records();
    assert_eq!(records.len(), 3, "one for each client that got no answer: {records:?}");
    let mut segments = 0;
    for record in &records {
        assert_eq!(record.text("overflow.verdict"), "syn.drop.accept_queue_full");
        assert_eq!(record.text("client.address"), "127.0.0.1");
        assert_eq!(record.text("overflow.netns"), netns);
        assert_eq!(record.text("overflow.listener"), place);
        assert_eq!(record.number("server.port"), i64::from(server.port()));
        assert_eq!(record.number("process.pid"), i64::from(std::process::id()));
        segments += 1 + record.number("overflow.repeats");
        let body = record.body();
        assert!(body.contains("SYN dropped, the accept queue is full"), "{body}");
        assert!(body.contains(&format!("127.0.0.1:{}", record.number("client.port"))), "{body}");
    }
    // Retransmitted while the summary was made, perhaps.
    assert!(u64::try_from(segments).unwrap() >= overflows, "{records:?}");
    assert_eq!(collector.resource("service.name").as_deref(), Some("overflow"));
    assert_eq!(collector.resource("deployment.environment.name").as_deref(), Some("test"));
    wait_until("it ends with the trace", || test_kill_process(exporter).is_err());
}

fn what_is_exported_is_what_the_kernel_counted() {
    in_namespace(|| exported_equals_counted(&[]));
}

fn aggregates_alone_export_handshakes_all_the_same() {
    in_namespace(|| exported_equals_counted(&["--summary", "60"]));
}

fn a_collector_that_never_answers_holds_nothing_up() {
    in_namespace(|| {
        let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", deaf.local_addr().unwrap());
        let bound = Bound::new();
        let trace = Trace::start(&url, &[]);
        let (_listener, _clients) = bound.overflow(5);
        thread::sleep(Duration::from_millis(300));
        let (shown, printed, took) = trace.finish();
        assert!(shown.contains(&format!("ListenOverflows {},", counter("ListenOverflows"))));
        assert!(printed.contains("3 OTLP log records that were not delivered"), "{printed}");
        assert!(took < Duration::from_secs(8), "{took:?}");
    });
}

fn the_trace_goes_on_without_the_process_that_exports() {
    in_namespace(|| {
        let collector = Collector::start(&[Answer::Taken]);
        let bound = Bound::new();
        let trace = Trace::start(&collector.url(), &[]);
        wait_until("metrics come", || !collector.metrics().is_empty());
        kill_process(trace.exporter(), Signal::KILL).unwrap();
        let (_listener, _clients) = bound.overflow(5);
        let (shown, printed, _) = trace.finish();
        assert!(shown.contains(&format!("ListenOverflows {},", counter("ListenOverflows"))));
        assert!(printed.contains("the process that exports has ended"), "{printed}");
        assert!(printed.contains("3 OTLP log records that were not delivered"), "{printed}");
    });
}

fn what_the_collector_refuses_is_not_sent_again() {
    in_namespace(|| {
        let collector = Collector::start(&[Answer::Bad]);
        let bound = Bound::new();
        let trace = Trace::start(&collector.url(), &[]);
        let (_listener, _clients) = bound.overflow(5);
        let (_, printed, _) = trace.finish();
        assert!(printed.contains("it answers 400 Bad Request: not like this"), "{printed}");
        assert!(printed.contains("3 OTLP log records that the collector refused"), "{printed}");
        assert_eq!(collector.requests("/v1/logs"), 1);
    });
}

fn an_unsupported_protocol_is_refused_at_once() {
    let run = |url: &str, protocol: &str| {
        let output = Command::new(OVERFLOW)
            .args(["trace", "--otlp-endpoint", url])
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(run("https://localhost:4318", "").contains("https needs TLS"));
    assert!(run("http://localhost:4317", "grpc").contains("only http/protobuf"));
}
