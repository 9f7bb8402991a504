//! How live tests start a command that traces.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, ChildStdout, Command, Stdio},
};

/// Starts a command that traces, and waits for `header` in what it prints: the process, its output,
/// and as much of it as was read.
pub fn traced(command: &mut Command, header: &str) -> (Child, BufReader<ChildStdout>, String) {
    let command = command.env("LC_ALL", "C.UTF-8").stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut head = String::new();
    while !head.contains(header) {
        assert!(stdout.read_line(&mut head).unwrap() > 0, "it ended: {head}{}", complaint(child));
    }
    (child, stdout, head)
}

/// What a process that ended wrote to stderr.
pub fn complaint(mut child: Child) -> String {
    let mut why = String::new();
    child.stderr.take().unwrap().read_to_string(&mut why).unwrap();
    format!("{}: {why}", child.wait().unwrap())
}

/// What it says on stderr was lost, but for programs that the kernel did not run: which segments those
/// would have seen nobody knows, and on a preemptible kernel most are of other network namespaces, whose
/// segments pass the same tracepoints.
pub fn lost(printed: &str) -> Vec<&str> {
    let lost = printed.lines().filter_map(|line| line.strip_prefix("overflow: lost "));
    let causes = lost.flat_map(|causes| causes.split(", "));
    causes.filter(|cause| !cause.ends_with(" ebpf hook_missed")).collect()
}
