//! An sk_lookup program: SYNs to a port go to a listener, whatever port that one has.

use std::{
    fs::File,
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

use anyhow::{Context as _, Result};

use crate::sys::{bpf, bpf_status};

// include/uapi/linux/bpf.h
const MAP_CREATE: libc::c_long = 0;
const MAP_UPDATE_ELEM: libc::c_long = 2;
const PROG_LOAD: libc::c_long = 5;
const LINK_CREATE: libc::c_long = 28;
const MAP_TYPE_SOCKMAP: u64 = 15;
const PROG_TYPE_SK_LOOKUP: u64 = 30;
const SK_LOOKUP: u64 = 36;
const MAP_LOOKUP_ELEM_HELPER: i32 = 1;
const SK_RELEASE_HELPER: i32 = 86;
const SK_ASSIGN_HELPER: i32 = 124;
/// Of `local_port` in `struct bpf_sk_lookup`.
const LOCAL_PORT: i16 = 60;

/// What steers; gone when dropped.
pub struct Steer {
    _link: OwnedFd,
    _program: OwnedFd,
    _map: OwnedFd,
}

/// Steers in this network namespace.
pub fn steer(port: u16, listener: impl AsFd) -> Result<Steer> {
    let fd = |fd: &dyn AsRawFd| u64::from(fd.as_raw_fd().cast_unsigned());
    // Type and size of keys; size of values and number of entries.
    let map = bpf(MAP_CREATE, &mut [MAP_TYPE_SOCKMAP | 4 << 32, 8 | 1 << 32])
        .context("cannot make a map of sockets")?;
    let (key, value) = (0_u32, fd(&listener.as_fd()));
    bpf_status(MAP_UPDATE_ELEM, &mut [fd(&map), &raw const key as u64, &raw const value as u64, 0])
        .context("cannot put the listener into the map")?;
    let code = program(port, map.as_raw_fd());
    let license = c"GPL";
    let mut load = [0; 16];
    load[0] = PROG_TYPE_SK_LOOKUP | (code.len() as u64) << 32;
    load[1] = code.as_ptr() as u64;
    load[2] = license.as_ptr() as u64;
    // After the log, the version, flags, a name of 16 bytes and an interface: the kind of attachment.
    load[8] = SK_LOOKUP << 32;
    let program = bpf(PROG_LOAD, &mut load).context("cannot load the program")?;
    let namespace = File::open("/proc/self/ns/net").context("cannot open this namespace")?;
    let link = bpf(LINK_CREATE, &mut [fd(&program) | fd(&namespace) << 32, SK_LOOKUP]);
    let link = link.context("cannot attach the program")?;
    Ok(Steer { _link: link, _program: program, _map: map })
}

/// `if (ctx->local_port == port) { sk = map[0]; if (sk) { sk_assign(ctx, sk, 0); sk_release(sk); } }
/// return SK_PASS;`
fn program(port: u16, map: i32) -> Vec<u64> {
    vec![
        instruction(0xbf, 6, 1, 0, 0),
        instruction(0x61, 1, 6, LOCAL_PORT, 0),
        instruction(0x55, 1, 0, 14, i32::from(port)),
        instruction(0x62, 10, 0, -4, 0),
        instruction(0xbf, 2, 10, 0, 0),
        instruction(0x07, 2, 0, 0, -4),
        instruction(0x18, 1, 1, 0, map),
        instruction(0, 0, 0, 0, 0),
        instruction(0x85, 0, 0, 0, MAP_LOOKUP_ELEM_HELPER),
        instruction(0x15, 0, 0, 7, 0),
        instruction(0xbf, 7, 0, 0, 0),
        instruction(0xbf, 1, 6, 0, 0),
        instruction(0xbf, 2, 7, 0, 0),
        instruction(0xb7, 3, 0, 0, 0),
        instruction(0x85, 0, 0, 0, SK_ASSIGN_HELPER),
        instruction(0xbf, 1, 7, 0, 0),
        instruction(0x85, 0, 0, 0, SK_RELEASE_HELPER),
        instruction(0xb7, 0, 0, 0, 1),
        instruction(0x95, 0, 0, 0, 0),
    ]
}

/// struct bpf_insn: code, registers (low nibble first), offset, immediate.
fn instruction(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> u64 {
    u64::from(code)
        | u64::from(from << 4 | to) << 8
        | u64::from(offset.cast_unsigned()) << 16
        | u64::from(immediate.cast_unsigned()) << 32
}
