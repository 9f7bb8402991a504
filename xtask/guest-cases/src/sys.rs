//! System calls that no safe interface offers.

use std::{
    fs::{File, OpenOptions},
    io::{Error, Result},
    net::Ipv4Addr,
    os::{
        fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
        unix::fs::OpenOptionsExt as _,
    },
};

use rustix::ioctl::{Opcode, Updater, ioctl};

/// `TUNSETIFF` of include/uapi/linux/if_tun.h.
const TUNSETIFF: Opcode = 0x4004_54ca;

/// `struct ifreq` as TUNSETIFF reads it: a name, flags, and what they are a union with.
#[repr(C)]
struct IfReq {
    name: [u8; 16],
    flags: i16,
    rest: [u8; 22],
}

const _: () = assert!(size_of::<IfReq>() == 40);

/// Makes a TUN device of this name (at most 15 bytes) in this network namespace; a TAP device if it
/// is to be an Ethernet one.
pub fn tun(name: &str, ethernet: bool) -> Result<File> {
    let device = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")?;
    let kind = if ethernet { libc::IFF_TAP } else { libc::IFF_TUN };
    let flags = i16::try_from(kind | libc::IFF_NO_PI).map_err(Error::other)?;
    let mut request = IfReq { name: [0; 16], flags, rest: [0; 22] };
    request.name[..name.len().min(15)].copy_from_slice(&name.as_bytes()[..name.len().min(15)]);
    // SAFETY: TUNSETIFF reads and writes a struct ifreq of 40 bytes, which `request` is.
    let call = unsafe { Updater::<TUNSETIFF, _>::new(&mut request) };
    // SAFETY: the call touches nothing but `request`, which outlives it.
    unsafe { ioctl(&device, call) }?;
    Ok(device)
}

/// A socket's option that is a number.
pub fn set_option(socket: impl AsFd, level: i32, name: i32, value: i32) -> Result<()> {
    let value = value.to_ne_bytes();
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the kernel reads four bytes, which `value` has, from a descriptor that is open.
    let result = unsafe { libc::setsockopt(fd, level, name, value.as_ptr().cast(), 4) };
    if result < 0 { Err(Error::last_os_error()) } else { Ok(()) }
}

/// `struct tcp_md5sig` of include/uapi/linux/tcp.h.
#[repr(C)]
struct Md5Sig {
    /// `struct sockaddr_storage`: family, port, IPv4 address.
    family: u16,
    port: u16,
    address: [u8; 4],
    rest: [u8; 120],
    flags: u8,
    prefix: u8,
    key_length: u16,
    device: u32,
    key: [u8; 80],
}

const _: () = assert!(size_of::<Md5Sig>() == 216);

/// Segments from this address must be signed from now on (TCP_MD5SIG); whether this kernel can.
pub fn md5_key(socket: impl AsFd, client: Ipv4Addr) -> Result<bool> {
    let signature = Md5Sig {
        family: libc::AF_INET.try_into().map_err(Error::other)?,
        port: 0,
        address: client.octets(),
        rest: [0; 120],
        flags: 0,
        prefix: 0,
        key_length: 3,
        device: 0,
        key: std::array::from_fn(|i| if i < 3 { b'k' } else { 0 }),
    };
    let (fd, size) = (socket.as_fd().as_raw_fd(), size_of::<Md5Sig>());
    let size = size.try_into().map_err(Error::other)?;
    let place = (&raw const signature).cast();
    // SAFETY: the kernel reads `size` bytes, which `signature` has, from a descriptor that is open.
    let result = unsafe { libc::setsockopt(fd, libc::IPPROTO_TCP, libc::TCP_MD5SIG, place, size) };
    match (result, Error::last_os_error()) {
        (0.., _) => Ok(true),
        (_, e) if matches!(e.raw_os_error(), Some(libc::ENOPROTOOPT | libc::EOPNOTSUPP)) => {
            Ok(false)
        }
        (_, e) => Err(e),
    }
}

/// bpf(2): a command and its attributes, in words of eight bytes; the descriptor it gives.
pub fn bpf(command: libc::c_long, attributes: &mut [u64]) -> Result<OwnedFd> {
    let result = bpf_status(command, attributes)?;
    let fd = RawFd::try_from(result).map_err(Error::other)?;
    // SAFETY: the commands that are used here return a new descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// bpf(2) where it gives no descriptor.
pub fn bpf_status(command: libc::c_long, attributes: &mut [u64]) -> Result<libc::c_long> {
    let size = size_of_val(attributes);
    // SAFETY: the kernel reads `size` bytes of attributes; what they point to outlives the call in
    // the only caller, `steer.rs`.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_mut_ptr(), size) };
    if result < 0 { Err(Error::last_os_error()) } else { Ok(result) }
}

/// Has a process run only when nobody else wants to (`SCHED_IDLE`): whoever else wakes up takes its
/// place at once, which no nice value promises since EEVDF (6.6).
pub fn idle_only(pid: u32) -> Result<()> {
    // struct sched_param of the kernel; musl's own sched_setscheduler() does nothing but fail.
    let priority: libc::c_int = 0;
    let place = &raw const priority;
    // SAFETY: the priority lives as long as the call.
    let result =
        unsafe { libc::syscall(libc::SYS_sched_setscheduler, pid, libc::SCHED_IDLE, place) };
    if result == 0 { Ok(()) } else { Err(Error::last_os_error()) }
}
