//! bpf(2) and perf_event_open(2) by hand: programs that do nothing, and what others have attached.
//!
//! By hand, so that what is loaded is exactly these instructions and nothing of a loader is
//! measured with it.

use std::{
    ffi::CString,
    fs, io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
    ptr::from_mut,
};

use anyhow::{Context as _, Result, anyhow};
use guest_bench::job::{Hook, HookKind};

use crate::btf::Btf;

// include/uapi/linux/bpf.h
const PROG_LOAD: u32 = 5;
const PROG_GET_NEXT_ID: u32 = 11;
const PROG_GET_FD_BY_ID: u32 = 13;
const OBJ_GET_INFO_BY_FD: u32 = 15;
const RAW_TRACEPOINT_OPEN: u32 = 17;
const LINK_GET_FD_BY_ID: u32 = 30;
const LINK_GET_NEXT_ID: u32 = 31;
const PROG_TYPE_KPROBE: u32 = 2;
const PROG_TYPE_TRACING: u32 = 26;
const TRACE_RAW_TP: u32 = 23;
const TRACE_FENTRY: u32 = 24;
const TRACE_FEXIT: u32 = 25;
const LINK_TYPE_RAW_TRACEPOINT: u32 = 1;
const LINK_TYPE_TRACING: u32 = 2;
const LINK_TYPE_PERF_EVENT: u32 = 7;
const PERF_EVENT_KPROBE: u32 = 3;
const PERF_EVENT_KRETPROBE: u32 = 4;
// include/uapi/linux/perf_event.h
const PERF_FLAG_FD_CLOEXEC: libc::c_ulong = 8;
const PERF_EVENT_IOC_ENABLE: libc::Ioctl = 0x2400;
const PERF_EVENT_IOC_SET_BPF: libc::Ioctl = 0x4004_2408;

/// `r0 = 0; exit`.
const NOTHING: &[u64] = &[instruction(0xb7, 0, 0, 0), instruction(0x95, 0, 0, 0)];

/// An attached program; gone when dropped.
pub struct Attached {
    // In this order: what holds the program, then the program.
    _link: OwnedFd,
    _program: OwnedFd,
}

/// A link of any process.
pub struct Link {
    /// Of its program.
    pub program: u32,
    /// Where.
    pub hook: Hook,
}

/// Attaches a program that does nothing, or next to nothing.
pub fn attach_empty(hook: &Hook, btf: &Btf) -> Result<Attached> {
    let name = || format!("cannot attach an empty {}:{}", hook.kind.as_str(), hook.target);
    let trace = |kind, target: &str, code: &[u64]| -> Result<Attached> {
        let id = btf.id(target).with_context(|| format!("this kernel's BTF has no {target}"))?;
        let program = load(PROG_TYPE_TRACING, kind, id, code)?;
        let link = open_raw_tracepoint(&program)?;
        Ok(Attached { _link: link, _program: program })
    };
    match hook.kind {
        HookKind::Fentry => trace(TRACE_FENTRY, &hook.target, NOTHING),
        HookKind::Fexit => trace(TRACE_FEXIT, &hook.target, NOTHING),
        HookKind::FexitReads => {
            read_queue(&hook.target, btf).and_then(|code| trace(TRACE_FEXIT, &hook.target, &code))
        }
        HookKind::TpBtf => trace(TRACE_RAW_TP, &format!("btf_trace_{}", hook.target), NOTHING),
        HookKind::Kprobe | HookKind::Kretprobe => {
            probe(&hook.target, hook.kind == HookKind::Kretprobe)
        }
        HookKind::Other => Err(anyhow!("it is of no kind that is known here")),
    }
    .with_context(name)
}

fn probe(function: &str, on_return: bool) -> Result<Attached> {
    let program = load(PROG_TYPE_KPROBE, 0, 0, NOTHING)?;
    let event = open_kprobe(function, on_return)?;
    ioctl(&event, PERF_EVENT_IOC_SET_BPF, program.as_raw_fd())?;
    ioctl(&event, PERF_EVENT_IOC_ENABLE, 0)?;
    Ok(Attached { _link: event, _program: program })
}

/// Reads `sk_ack_backlog` and `sk_max_ack_backlog` of the function's listener and compares them.
fn read_queue(function: &str, btf: &Btf) -> Result<Vec<u64>> {
    let field = |name: &str| {
        btf.offset("sock", name).with_context(|| format!("struct sock has no {name} in BTF"))
    };
    let (length, limit) = (field("sk_ack_backlog")?, field("sk_max_ack_backlog")?);
    let slot = btf.argument(function, "sock").context("no argument is a struct sock *")?;
    Ok(vec![
        instruction(0x79, 1, 1, 8 * slot), // r1 = ctx[slot]
        instruction(0x61, 2, 1, length),   // r2 = r1->sk_ack_backlog
        instruction(0x61, 3, 1, limit),    // r3 = r1->sk_max_ack_backlog
        instruction(0x2d, 2, 3, 0),        // if r2 > r3 goto +0
        NOTHING[0],
        NOTHING[1],
    ])
}

const fn instruction(code: u8, to: u8, from: u8, offset: u16) -> u64 {
    // struct bpf_insn: code, registers (low nibble first), offset, immediate.
    code as u64 | ((from << 4 | to) as u64) << 8 | (offset as u64) << 16
}

/// The highest ids of a program and of a link there are: they only grow, until they wrap.
pub fn newest() -> Result<(u32, u32)> {
    newest_after((0, 0))
}

/// As [`newest`], beginning after what is known.
pub fn newest_after(known: (u32, u32)) -> Result<(u32, u32)> {
    let last = |command, from| ids(command, from).map(|ids| ids.last().copied().unwrap_or(from));
    Ok((last(PROG_GET_NEXT_ID, known.0)?, last(LINK_GET_NEXT_ID, known.1)?))
}

/// The ids of all programs and how often each ran since statistics were switched on.
pub fn run_counts() -> Result<Vec<(u32, u64)>> {
    let mut counts = Vec::new();
    for id in ids(PROG_GET_NEXT_ID, 0)? {
        let Some(fd) = by_id(PROG_GET_FD_BY_ID, id)? else { continue };
        // struct bpf_prog_info: run_cnt at byte 200.
        let mut info = [0u64; 29];
        get_info(&fd, &mut info)?;
        counts.push((id, info[25]));
    }
    Ok(counts)
}

/// Every link there is.
pub fn links(btf: &Btf) -> Result<Vec<Link>> {
    let mut links = Vec::new();
    for id in ids(LINK_GET_NEXT_ID, 0)? {
        let Some(fd) = by_id(LINK_GET_FD_BY_ID, id)? else { continue };
        links.push(describe(&fd, btf)?);
    }
    Ok(links)
}

/// struct bpf_link_info: type, id, prog_id, then from byte 16 what depends on the type.
fn describe(link: &OwnedFd, btf: &Btf) -> Result<Link> {
    let mut info = [0u64; 12];
    get_info(link, &mut info)?;
    let [kind, _] = halves(info[0]);
    let [program, _] = halves(info[1]);
    let [first, _] = halves(info[2]);
    let [second, _] = halves(info[3]);
    let hook = match kind {
        LINK_TYPE_TRACING => {
            // A function of a module has its id in the module's own BTF.
            let target = btf.name(second).unwrap_or_else(|| format!("BTF type {second}"));
            let kind = match first {
                _ if btf.name(second).is_none() => HookKind::Other,
                TRACE_FENTRY => HookKind::Fentry,
                TRACE_FEXIT => HookKind::Fexit,
                _ => HookKind::Other,
            };
            Hook { kind, target }
        }
        // Of typed programs too; the name's buffer and its length are asked for at byte 16.
        LINK_TYPE_RAW_TRACEPOINT => Hook { kind: HookKind::TpBtf, target: name_in_info(link, 2)? },
        // At byte 24.
        LINK_TYPE_PERF_EVENT => {
            let kind = match first {
                PERF_EVENT_KPROBE => HookKind::Kprobe,
                PERF_EVENT_KRETPROBE => HookKind::Kretprobe,
                _ => HookKind::Other,
            };
            Hook { kind, target: name_in_info(link, 3)? }
        }
        other => Hook { kind: HookKind::Other, target: format!("link type {other}") },
    };
    Ok(Link { program, hook })
}

/// A name that the kernel writes into a buffer, whose address is at this word of bpf_link_info,
/// and its length in the next.
fn name_in_info(link: &OwnedFd, at: usize) -> Result<String> {
    let mut name = [0u8; 128];
    let mut info = [0u64; 12];
    info[at] = name.as_mut_ptr() as u64;
    info[at + 1] = name.len() as u64;
    get_info(link, &mut info)?;
    let end = name.iter().position(|&b| b == 0).unwrap_or(name.len());
    Ok(String::from_utf8_lossy(&name[..end]).into_owned())
}

/// The two 32-bit fields of an aligned 64-bit word, lower address first: x86-64 and arm64 are little-endian.
fn halves(word: u64) -> [u32; 2] {
    let half = |shift: u32| u32::try_from(word >> shift & 0xffff_ffff).unwrap_or(0);
    [half(0), half(32)]
}

/// Two 32-bit fields as one aligned 64-bit word, the lower address first.
fn word(first: u32, second: u32) -> u64 {
    u64::from(second) << 32 | u64::from(first)
}

fn load(kind: u32, attach: u32, btf_id: u32, code: &[u64]) -> Result<OwnedFd> {
    let mut log = vec![0u8; 1 << 16];
    let count = u32::try_from(code.len())?;
    let mut attr = [0u64; 15];
    attr[0] = word(kind, count);
    attr[1] = code.as_ptr() as u64;
    attr[2] = c"GPL".as_ptr() as u64;
    attr[3] = word(1, u32::try_from(log.len())?);
    attr[4] = log.as_mut_ptr() as u64;
    attr[8] = word(0, attach); // prog_ifindex, expected_attach_type
    attr[13] = word(0, btf_id); // line_info_cnt, attach_btf_id
    bpf_fd(PROG_LOAD, &mut attr).with_context(|| {
        let end = log.iter().position(|&b| b == 0).unwrap_or(log.len());
        format!("the verifier says: {}", String::from_utf8_lossy(&log[..end]).trim())
    })
}

fn open_raw_tracepoint(program: &OwnedFd) -> Result<OwnedFd> {
    let mut attr = [0, word(fd(program), 0)];
    bpf_fd(RAW_TRACEPOINT_OPEN, &mut attr).context("BPF_RAW_TRACEPOINT_OPEN")
}

fn open_kprobe(function: &str, on_return: bool) -> Result<OwnedFd> {
    let path = "/sys/bus/event_source/devices/kprobe/type";
    let kind = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    let function = CString::new(function)?;
    // struct perf_event_attr up to PERF_ATTR_SIZE_VER2.
    let mut attr = [0u64; 10];
    attr[0] = word(kind.trim().parse()?, u32::try_from(size_of_val(&attr))?);
    attr[1] = u64::from(on_return); // config
    attr[2] = 1; // sample_period
    attr[7] = function.as_ptr() as u64; // kprobe_func
    // SAFETY: attr is a perf_event_attr of the size it states, and the name it points to outlives
    // the call.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            from_mut(&mut attr),
            -1 as libc::pid_t,
            0 as libc::c_int,
            -1 as libc::c_int,
            PERF_FLAG_FD_CLOEXEC,
        )
    };
    owned(fd).context("perf_event_open")
}

fn ioctl(event: &OwnedFd, request: libc::Ioctl, argument: RawFd) -> Result<()> {
    // SAFETY: both requests take an integer and touch no memory.
    let result = unsafe { libc::ioctl(event.as_raw_fd(), request, argument) };
    if result < 0 {
        return Err(io::Error::last_os_error()).context("ioctl of a perf event");
    }
    Ok(())
}

fn ids(command: u32, after: u32) -> Result<Vec<u32>> {
    let mut ids = Vec::new();
    let mut attr = [word(after, 0), 0];
    loop {
        match bpf(command, &mut attr) {
            Ok(_) => {
                let [_, next] = halves(attr[0]);
                ids.push(next);
                attr = [word(next, 0), 0];
            }
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => return Ok(ids),
            Err(e) => return Err(e).context("cannot list the BPF programs and links"),
        }
    }
}

/// `None` if it has gone meanwhile.
fn by_id(command: u32, id: u32) -> Result<Option<OwnedFd>> {
    match bpf_fd(command, &mut [word(id, 0), 0]) {
        Ok(fd) => Ok(Some(fd)),
        Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(e) => Err(e).context("cannot open a BPF program or link"),
    }
}

fn get_info(of: &OwnedFd, info: &mut [u64]) -> Result<()> {
    let size = u32::try_from(size_of_val(info))?;
    let mut attr = [word(fd(of), size), info.as_mut_ptr() as u64];
    bpf(OBJ_GET_INFO_BY_FD, &mut attr).map(drop).context("BPF_OBJ_GET_INFO_BY_FD")
}

fn fd(of: &OwnedFd) -> u32 {
    of.as_raw_fd().cast_unsigned()
}

fn bpf_fd(command: u32, attr: &mut [u64]) -> io::Result<OwnedFd> {
    owned(bpf(command, attr)?)
}

fn owned(fd: libc::c_long) -> io::Result<OwnedFd> {
    let Ok(fd @ 0..) = RawFd::try_from(fd) else { return Err(io::Error::last_os_error()) };
    // SAFETY: the kernel has just made this descriptor for the caller.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn bpf(command: u32, attr: &mut [u64]) -> io::Result<libc::c_long> {
    // SAFETY: attr is as long as the size says, and every buffer that its fields point to is
    // borrowed by the caller for the call, with its length beside it.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, attr.as_mut_ptr(), size_of_val(attr)) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
