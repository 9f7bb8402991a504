//! `struct ifreq` for the two ioctls that have no netlink request on every kernel.

use std::{io, os::fd::AsFd};

use rustix::ioctl::{Opcode, Updater, ioctl};

/// `TUNSETIFF` of include/uapi/linux/if_tun.h: `_IOW('T', 202, int)`, although it takes an ifreq.
const TUNSETIFF: Opcode = 0x4004_54ca;
/// `SIOCETHTOOL` of include/uapi/linux/sockios.h.
const SIOCETHTOOL: Opcode = 0x8946;

/// `IFNAMSIZ`, the terminating zero included.
const IFNAMSIZ: usize = 16;

/// `struct ifreq` with a union of at least 24 bytes, as on every 64-bit architecture.
#[repr(C)]
struct IfReq<T> {
    name: [u8; IFNAMSIZ],
    union: T,
}

/// The union as `ifr_flags`.
#[repr(C, align(8))]
struct Flags {
    flags: i16,
    rest: [u8; 22],
}

/// The union as `ifr_data`.
#[repr(C)]
struct Data<'a> {
    data: &'a mut EthtoolValue,
    rest: [u8; 16],
}

/// `struct ethtool_value` of include/uapi/linux/ethtool.h.
#[repr(C)]
struct EthtoolValue {
    cmd: u32,
    data: u32,
}

const _: () = assert!(size_of::<IfReq<Flags>>() == 40 && size_of::<IfReq<Data>>() == 40);

/// Makes `tun` (an open /dev/net/tun) the interface `name` with the `IFF_*` flags.
pub(crate) fn tunsetiff(tun: impl AsFd, name: &str, flags: i16) -> io::Result<()> {
    let mut request = IfReq { name: padded(name)?, union: Flags { flags, rest: [0; 22] } };
    // SAFETY: TUNSETIFF reads and writes a struct ifreq of 40 bytes, which `request` is.
    let call = unsafe { Updater::<TUNSETIFF, _>::new(&mut request) };
    // SAFETY: the call touches nothing but `request`, which outlives it.
    unsafe { ioctl(tun, call) }.map_err(io::Error::from)
}

/// Runs an ethtool command that takes one number, on interface `name` of the namespace that
/// `socket` (any socket) belongs to.
pub(crate) fn ethtool_set(socket: impl AsFd, name: &str, cmd: u32, data: u32) -> io::Result<()> {
    let mut value = EthtoolValue { cmd, data };
    let mut request =
        IfReq { name: padded(name)?, union: Data { data: &mut value, rest: [0; 16] } };
    // SAFETY: SIOCETHTOOL reads and writes a struct ifreq of 40 bytes, which `request` is.
    let call = unsafe { Updater::<SIOCETHTOOL, _>::new(&mut request) };
    // SAFETY: beside `request` the call touches the ethtool_value it points to, which is borrowed
    // for as long.
    unsafe { ioctl(socket, call) }.map_err(io::Error::from)
}

fn padded(name: &str) -> io::Result<[u8; IFNAMSIZ]> {
    let mut padded = [0; IFNAMSIZ];
    if name.len() >= IFNAMSIZ {
        return Err(io::Error::other(format!("interface name {name} is over 15 bytes")));
    }
    padded[..name.len()].copy_from_slice(name.as_bytes());
    Ok(padded)
}
