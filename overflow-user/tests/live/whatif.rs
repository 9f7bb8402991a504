//! `overflow whatif` on the running kernel: what it says of a backlog that was not tried, against that
//! backlog.

use std::{
    env, fs,
    io::Read,
    net::{SocketAddr, TcpListener, TcpStream},
    process::Command,
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{
    OVERFLOW,
    harness::tests,
    namespace::{in_namespace, netns},
    needs::Need::{Namespaces, Program, Tracing},
    trace::traced,
};

tests! {
    needs [Tracing, Namespaces, Program("ip")]:
        what_is_said_of_a_backlog_is_what_it_does,
        a_recording_of_overflows_alone_is_refused;
}

const CLIENTS: usize = 8;

/// So many clients of a listener that nobody accepts from, one after the other: those that it held.
fn held(backlog: i32) -> usize {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.listen(backlog).unwrap();
    let server = TcpListener::from(socket);
    let address = server.local_addr().unwrap();
    let connect = |_| TcpStream::connect_timeout(&address, Duration::from_millis(50)).ok();
    let clients: Vec<TcpStream> = (0..CLIENTS).filter_map(connect).collect();
    thread::sleep(Duration::from_millis(300));
    clients.len()
}

/// What `overflow whatif` prints, or why not, of a load that was recorded with these options.
fn whatif(name: &str, options: &[&str], asked: &[&str]) -> Result<Vec<Value>, String> {
    let file = env::temp_dir().join(format!("overflow-live-{}-{name}.rec", std::process::id()));
    let _ = fs::remove_file(&file);
    let mut command = Command::new(OVERFLOW);
    command.args(["trace", "--netns", &netns().to_string()]).args(options);
    let (mut child, mut stdout, mut shown) = traced(command.arg("--record").arg(&file), "TIME ");
    assert_eq!(held(1), 2);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    stdout.read_to_string(&mut shown).unwrap();
    assert!(child.wait().unwrap().success(), "{shown}");
    let mut command = Command::new(OVERFLOW);
    command.arg("whatif").arg(&file).args(["--output", "json"]).args(asked);
    let output = command.output().unwrap();
    fs::remove_file(&file).unwrap();
    if !output.status.success() {
        return Err(String::from_utf8(output.stderr).unwrap());
    }
    let text = String::from_utf8(output.stdout).unwrap();
    Ok(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn what_is_said_of_a_backlog_is_what_it_does() {
    in_namespace(|| {
        let lines = whatif("backlogs", &["--all"], &["--backlog", "1,3,16"]).unwrap();
        assert_eq!(lines[0]["recorded"]["not_in"], CLIENTS - 2, "{}", lines[0]);
        for (line, backlog) in lines[1..].iter().zip([1, 3, 16]) {
            let not_in = CLIENTS - held(backlog);
            for bound in ["at_pace", "otherwise", "as_seen"] {
                assert_eq!(line[bound]["not_in"], not_in, "{backlog}: {line}");
            }
        }
    });
}

fn a_recording_of_overflows_alone_is_refused() {
    in_namespace(|| {
        let error = whatif("overflows", &[], &[]).unwrap_err();
        assert!(error.contains("record them by `overflow trace --all --record FILE`"), "{error}");
    });
}
