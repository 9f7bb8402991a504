//! What is printed of an error: one sentence, each cause named once.

use std::io;

use anyhow::{Error, anyhow};

use overflow::{
    confine::ConfineError,
    probe::{LoadError, ProbeError},
};
use overflow_core::{kernel::BtfError, model::batch::batch_line, recording::RecordError};
use overflow_host::{ReadError, kernel::KernelError};
use overflow_lab::LabError;

fn io(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}

#[test]
fn an_error_is_one_sentence_that_says_each_cause_once() {
    let path = || "/x".into();
    let privilege =
        || LabError::Privilege { what: "making a network namespace", cause: io(libc::EPERM) };
    let lab_io = || LabError::Io { what: "a sock_diag dump".to_owned(), source: io(libc::ENOMEM) };
    let cases: Vec<(Error, &str)> = vec![
        (
            KernelError::NoBtf { path: path(), cause: io(libc::ENOENT) }.into(),
            "this kernel shows no BTF at /x (No such file or directory (os error 2)), so the places \
             of its fields are unknown; use a kernel built with CONFIG_DEBUG_INFO_BTF=y, or give \
             its BTF with --btf FILE",
        ),
        (
            KernelError::BadBtf { path: path(), source: BtfError::ByteOrder }.into(),
            "cannot use the BTF in /x: the BTF data is in big-endian byte order, for another machine",
        ),
        (
            RecordError::Io { path: path(), source: io(libc::ENOENT) }.into(),
            "cannot read the recording /x: No such file or directory (os error 2)",
        ),
        (
            batch_line("x").unwrap_err().into(),
            "the line is no scenario: expected value at line 1 column 1; see `overflow predict \
             --help` for its fields",
        ),
        (
            ConfineError::Step { step: "cannot drop capabilities", cause: io(libc::EPERM) }.into(),
            "cannot drop capabilities: Operation not permitted (os error 1); --no-confine does \
             without, for debugging",
        ),
        (
            ProbeError::Ring(io(libc::ENOMEM)).into(),
            "cannot read the eBPF ring: Cannot allocate memory (os error 12)",
        ),
        (
            ProbeError::Load(LoadError::NoMap("EVENTS")).into(),
            "cannot load the eBPF object: the eBPF object has no map EVENTS",
        ),
        (
            ReadError::Io { path: "/x".to_owned(), source: io(libc::EACCES) }.into(),
            "reading /x failed: Permission denied (os error 13)",
        ),
        (lab_io().into(), "a sock_diag dump failed: Cannot allocate memory (os error 12)"),
        (
            LabError::Tracing(Box::new(lab_io())).into(),
            "a sock_diag dump failed: Cannot allocate memory (os error 12)",
        ),
        (LabError::Tracing(anyhow!("inner").context("outer").into()).into(), "outer: inner"),
        (
            Error::from(privilege()).context("a cell cannot be made"),
            "a cell cannot be made: making a network namespace was refused (Operation not \
             permitted (os error 1)): the lab needs CAP_SYS_ADMIN and CAP_NET_ADMIN; run it as \
             root, or inside `unshare --user --map-root-user`",
        ),
        (
            LabError::Sysctl {
                key: "core.somaxconn".to_owned(),
                action: "read".to_owned(),
                cause: io(libc::EACCES),
            }
            .into(),
            "net.core.somaxconn could not be read in the lab's namespace: Permission denied (os \
             error 13); check that /proc/sys is mounted and writable",
        ),
        (
            LabError::Bind { addr: ([10, 7, 0, 1], 80).into(), cause: io(libc::EADDRINUSE) }.into(),
            "the listener cannot use 10.7.0.1:80 (Address already in use (os error 98)): choose \
             another port",
        ),
        (anyhow!("b").context("a"), "a: b"),
    ];
    for (error, expected) in cases {
        assert_eq!(format!("{error:#}"), expected);
    }
}
