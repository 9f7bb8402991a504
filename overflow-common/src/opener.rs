//! Who called `listen()`: what the kernel side notes of it, while that process runs.

/// The process that called `listen()` on a socket, and where the socket listens. Others may hold the
/// socket by the time that anybody looks: it is inherited by `fork()` and sent by `SCM_RIGHTS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opener {
    /// When it did, CLOCK_MONOTONIC nanoseconds.
    pub t_ns: u64,
    /// Local address: 4 bytes and zeros for an IPv4 socket, 16 bytes for an IPv6 socket.
    pub address: [u8; 16],
    /// `comm` of the thread, ended by a zero. It may hold any other bytes.
    pub comm: [u8; 16],
    /// Its thread group, as the initial pid namespace numbers it.
    pub pid: u32,
    /// Its user, as the initial user namespace numbers it.
    pub uid: u32,
    /// Local port, host order; 0 if the socket was not bound, and `listen()` has yet to choose one.
    pub port: u16,
    /// 4 or 6.
    pub family: u8,
    /// Not zero for an IPv6 socket that takes no IPv4.
    pub v6only: u8,
    /// Zero.
    pub padding: u32,
}

const _: () = assert!(size_of::<Opener>() == 56);

#[cfg(feature = "user")]
// SAFETY: repr(C) integers and arrays of them without padding (size asserted above).
unsafe impl aya::Pod for Opener {}
