//! How live tests start `overflow trace`.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, ChildStdout, Command, Stdio},
};

/// Starts a command that traces, and waits for `header` in what it prints: the process, its output,
/// and as much of it as was read. `None` where tracing is not possible.
pub fn traced(
    command: &mut Command,
    header: &str,
) -> Option<(Child, BufReader<ChildStdout>, String)> {
    let command = command.env("LC_ALL", "C.UTF-8").stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut head = String::new();
    while !head.contains(header) {
        if stdout.read_line(&mut head).unwrap() == 0 {
            let mut why = String::new();
            child.stderr.take().unwrap().read_to_string(&mut why).unwrap();
            assert_eq!(child.wait().unwrap().code(), Some(1));
            impossible(&why);
            return None;
        }
    }
    Some((child, stdout, head))
}

/// Says that nothing is tested. Nothing but a kernel that refuses is a reason for that.
pub fn impossible(why: &str) {
    assert!(why.contains("eBPF") || why.contains("no hook attaches"), "{why}");
    eprintln!("tracing is not possible here, nothing is tested: {why}");
}
