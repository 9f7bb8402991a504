//! Landlock alone: a thread that restricts itself.

use std::{
    fs::File,
    io::{self, Read},
    net::TcpStream,
    thread,
};

use overflow::confine::landlock::restrict;

use crate::{harness::tests, needs::Need::Landlock};

tests! {
    needs [Landlock]: files_are_out_of_reach_but_those_open;
}

fn files_are_out_of_reach_but_those_open() {
    let mut open = File::open("/proc/self/status").unwrap();
    let confined = thread::spawn(move || {
        rustix::thread::set_no_new_privs(true).unwrap();
        let version = restrict().unwrap().expect("this kernel has Landlock");
        for file in ["/proc/self/status", "/etc/passwd", "/"] {
            let refused = File::open(file).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied, "{file}");
        }
        // Version 4, of v6.7, refuses TCP too.
        if version >= 4 {
            let refused = TcpStream::connect("127.0.0.1:9").unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
        }
        let mut text = String::new();
        open.read_to_string(&mut text).unwrap();
        assert!(text.contains("Threads"));
    });
    confined.join().unwrap();
}
