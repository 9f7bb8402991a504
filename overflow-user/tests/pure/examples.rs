//! Examples of commands that need no privileges, as somebody would run them: with the files that they name,
//! in a folder of their own.

use std::{
    env, fs,
    io::{Read as _, Write as _},
    path::PathBuf,
    process::{Command, Stdio},
};

use flate2::read::GzDecoder;
use overflow_core::{
    listeners::{Inventory, Namespace, Surroundings, Sysctls},
    recording::Frame,
};

use crate::{
    support::{
        examples::{in_documents, of_help, words},
        schema,
        written::writes,
    },
    trace_replay::{frames, listener, record},
};

/// Those of `tests/live/examples.rs` need privileges.
const ANYWHERE: [&str; 5] = ["explain", "pcap", "predict", "replay", "whatif"];

/// A folder with the files of the examples.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = format!("overflow-examples-{}-{name}", std::process::id());
        let folder = env::temp_dir().join(folder);
        fs::create_dir_all(&folder).unwrap();
        let put = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).unwrap();
        // Its namespace has the name that an example asks for.
        let mut recording = frames();
        let mut inventory = Inventory::default();
        inventory.listeners.push(listener());
        let namespace = Namespace { inum: 7, name: Some("web".into()), own: true };
        let web = Surroundings { namespace, sysctls: Sysctls::default(), counters: None };
        inventory.namespaces.insert(7, web);
        recording[0] = Frame::Inventory(Box::new(inventory.indexed()));
        let recorded = record(&format!("examples-{name}"), &recording);
        put("run.rec", &fs::read(&recorded.0).unwrap());
        let packed =
            include_bytes!("../../../crates/core/tests/data/captures/server-cooked2.pcap.gz");
        let mut capture = Vec::new();
        GzDecoder::new(&packed[..]).read_to_end(&mut capture).unwrap();
        for name in ["support-case.pcapng", "server.pcap", "capture.pcap"] {
            put(name, &capture);
        }
        let line = r#"{"kernel":"centos7","backlog":1,"syncookies":1,"abort":1,"burst":5}"#;
        put("scenarios.jsonl", line.as_bytes());
        Self(folder)
    }

    /// Runs an example; what it printed.
    fn run(&self, words: &[String]) -> String {
        let command = words[1].as_str();
        let mut child = Command::new(env!("CARGO_BIN_EXE_overflow"))
            .args(&words[1..])
            .current_dir(&self.0)
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let piped = if command == "replay" { "run.rec" } else { "capture.pcap" };
        let bytes = fs::read(self.0.join(piped)).unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // One that reads a file closes it.
        drop(stdin.write_all(&bytes));
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {errors}", words.join(" "));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn help(command: &str) -> String {
    let overflow = env!("CARGO_BIN_EXE_overflow");
    let output = Command::new(overflow).args([command, "--help"]).output().unwrap();
    assert!(output.status.success(), "{command}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn examples_that_anybody_can_run_do_what_they_say() {
    let folder = Folder::new("run");
    let helps: Vec<String> = ANYWHERE.iter().map(|command| help(command)).collect();
    let helps = helps.iter().flat_map(|help| of_help(help));
    let documents = in_documents().into_iter().map(|(_, example)| example);
    let all: Vec<Vec<String>> = helps.chain(documents).map(words).collect();
    // What serves a browser ends when it is told to: `web.rs` does.
    let ends = |words: &&Vec<String>| !words.iter().any(|word| word == "--web");
    let ours = all.iter().filter(|words| ANYWHERE.contains(&words[1].as_str())).filter(ends);
    let root = schema::shipped();
    let mut run = 0;
    for words in ours {
        let printed = folder.run(words);
        assert!(!printed.trim().is_empty(), "{} prints nothing", words.join(" "));
        for name in writes(words) {
            // The next example writes another of that name.
            let removed = fs::remove_file(folder.0.join(name));
            removed.unwrap_or_else(|e| panic!("{}: {name}: {e}", words.join(" ")));
        }
        let json = words.iter().any(|word| word == "json");
        for line in printed.lines().filter(|_| json) {
            let value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
            schema::check(&root, &root, &value).unwrap_or_else(|e| panic!("{line}: {e}"));
        }
        run += 1;
    }
    assert!(run >= 20, "{run} examples were run");
}

#[test]
fn every_line_of_the_commands_that_need_nothing_is_in_the_schema() {
    let folder = Folder::new("schema");
    let root = schema::shipped();
    for line in [
        "explain --output json",
        "explain cause --output json",
        "explain syn.cookie --lang zh --output json",
        "pcap server.pcap --all --output json",
        "predict --kernel 5.15.0-1051-aws --output json",
        "predict --compare centos7,debian12 --output json",
        "replay run.rec --all --output json",
        "replay run.rec --summary 1 --output json",
        "replay run.rec --since 1s -q --output json",
        "whatif run.rec --backlog 1,64 --kernel rhel9 --advise --output json",
    ] {
        let words: Vec<String> = format!("overflow {line}").split(' ').map(Into::into).collect();
        let printed = folder.run(&words);
        assert!(!printed.is_empty(), "{line}");
        for printed in printed.lines() {
            let value = serde_json::from_str(printed).unwrap_or_else(|e| panic!("{line}: {e}"));
            let fits = schema::check(&root, &root, &value);
            fits.unwrap_or_else(|e| panic!("{line}: {printed}: {e}"));
        }
    }
}
