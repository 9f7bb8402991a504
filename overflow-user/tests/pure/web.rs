//! `overflow explain --web` as a browser sees it: on loopback, until it is interrupted.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Command, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

#[test]
fn a_site_is_served_on_loopback_until_it_is_interrupted() {
    let dir = env::temp_dir().join(format!("overflow-served-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("index.html"), "<!DOCTYPE html>a page").unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_overflow"))
        .args(["explain", "--web", "--site"])
        .arg(&dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut url = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
    let address = url.trim().strip_prefix("http://").and_then(|a| a.strip_suffix('/')).unwrap();
    assert!(address.starts_with("127.0.0.1:"), "{url}");
    let get = |path: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let (page, outside) = (get("/"), get("/../main.rs"));
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
    let status = child.wait().unwrap();
    fs::remove_dir_all(&dir).unwrap();
    assert!(page.starts_with("HTTP/1.1 200") && page.ends_with("a page"), "{page}");
    assert!(outside.starts_with("HTTP/1.1 404"), "{outside}");
    assert!(status.success(), "{status}");
}
