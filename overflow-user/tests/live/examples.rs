//! Examples of commands that look at this host or trace it, as somebody would run them, in a network
//! namespace of their own, each until Ctrl-C: with a client and a `wrk` for those that name one.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    OVERFLOW,
    harness::tests,
    namespace::in_namespace,
    needs::Need::{Namespaces, Program, Root, Tracing},
    process::{status, wait_until},
    support::{
        examples::{in_documents, of_help, words},
        schema,
        written::writes,
    },
};

tests! {
    needs [Root, Tracing, Namespaces, Program("ip")]:
        examples_that_look_at_this_host_do_what_they_say;
}

/// Those that need nothing are run by `tests/pure/examples.rs`; `top` has its own tests, with a terminal.
const HERE: [&str; 6] = ["client", "doctor", "listeners", "server", "trace", "why"];
/// Long enough for each to show something.
const A_WHILE: Duration = Duration::from_millis(500);

/// A folder with a `wrk` that has done its work at once.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = env::temp_dir().join(format!("overflow-live-examples-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let wrk = folder.join("wrk");
        fs::write(&wrk, "#!/bin/sh\nexit 0\n").unwrap();
        fs::set_permissions(&wrk, fs::Permissions::from_mode(0o755)).unwrap();
        // The only BTF that fits is this kernel's own.
        let _ = fs::copy("/sys/kernel/btf/vmlinux", folder.join("vmlinux.btf"));
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn start(folder: &Path, words: &[String]) -> Child {
    let path = env::var("PATH").unwrap_or_default();
    Command::new(OVERFLOW)
        .args(&words[1..])
        .current_dir(folder)
        .env("LC_ALL", "C.UTF-8")
        .env("PATH", format!("{}:{path}", folder.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits for its end, which Ctrl-C brings about after a while, if it goes on until then.
fn finish(child: Child, goes_on: bool) -> Output {
    let pid = Pid::from_child(&child);
    let waiting = thread::spawn(move || child.wait_with_output().unwrap());
    if goes_on {
        let catches = |field| {
            let signals = u64::from_str_radix(&status(pid, field), 16).unwrap();
            signals >> (Signal::INT.as_raw() - 1) & 1 != 0
        };
        // One that ended says why, and is waited for by then.
        let ended = || waiting.is_finished();
        wait_until("it waits for Ctrl-C", || ended() || catches("SigCgt") || catches("SigBlk"));
        thread::sleep(A_WHILE);
        if !ended() {
            kill_process(pid, Signal::INT).unwrap();
        }
    }
    waiting.join().unwrap()
}

fn run_all() {
    let folder = Folder::new();
    // What examples call by documentation's addresses is here.
    let added = Command::new("ip").args(["addr", "add", "192.0.2.7/32", "dev", "lo"]).status();
    assert!(added.unwrap().success());
    let help = |command: &&str| {
        let output = Command::new(OVERFLOW).args([command, "--help"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let helps: Vec<String> = HERE.iter().map(help).collect();
    let helps = helps.iter().flat_map(|help| of_help(help));
    let documents = in_documents().into_iter().map(|(_, example)| example);
    // Some go on for as long as they are told to, and a test has no half a minute.
    let shortened = |line: &str| {
        let mut words = words(line);
        for i in 1..words.len() {
            if ["--hold", "--accept-after"].contains(&words[i - 1].as_str()) {
                "1s".clone_into(&mut words[i]);
            }
        }
        words
    };
    let all: Vec<Vec<String>> = helps.chain(documents).map(shortened).collect();
    let ours: Vec<_> = all.iter().filter(|words| HERE.contains(&words[1].as_str())).collect();
    assert!(ours.len() >= 20, "{} examples are run", ours.len());
    let root = schema::shipped();
    for words in ours {
        let line = words.join(" ");
        let has = |option: &str| words.iter().any(|word| word == option);
        let goes_on = match words[1].as_str() {
            "server" => !has("--hold"),
            "trace" => !has("--cmd"),
            "why" => has("--watch"),
            _ => false,
        };
        let output = finish(start(&folder.0, words), goes_on);
        let errors = String::from_utf8_lossy(&output.stderr);
        if line.contains("server.example") {
            // A name that nobody has (RFC 2606).
            assert!(errors.contains("server.example"), "{line}: {errors}");
            continue;
        }
        assert!(output.status.success(), "{line}: {errors}");
        for name in writes(words) {
            // The next example writes another of that name.
            let removed = fs::remove_file(folder.0.join(name));
            removed.unwrap_or_else(|e| panic!("{line}: {name}: {e}"));
        }
        let printed = String::from_utf8(output.stdout).unwrap();
        let json = words.iter().any(|word| word == "json");
        assert!(json || !printed.trim().is_empty(), "{line} prints nothing");
        for printed in printed.lines().filter(|_| json) {
            let value = serde_json::from_str(printed).unwrap_or_else(|e| panic!("{line}: {e}"));
            let fits = schema::check(&root, &root, &value);
            fits.unwrap_or_else(|e| panic!("{line}: {printed}: {e}"));
        }
    }
}

fn examples_that_look_at_this_host_do_what_they_say() {
    in_namespace(run_all);
}
