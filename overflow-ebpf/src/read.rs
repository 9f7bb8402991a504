//! The only file that reads kernel memory: typed reads through a [`Field`].

use core::mem::MaybeUninit;

use aya_ebpf::{
    Global,
    helpers::generated::{bpf_probe_read_kernel, bpf_skc_to_tcp_sock},
};
use overflow_common::{Field, Loss, Plain, Slot};

use crate::losses;

/// Reads a `T` at a kernel address into `value`, which a failure leaves zero. Failures are counted:
/// what a report says is then marked as incomplete.
///
/// Not an `Option<T>`: the compiler leaves its payload uninitialised where there is none, and may
/// calculate with it all the same, which verifiers refuse.
#[inline(always)]
pub fn into<T: Plain>(address: u64, value: &mut T) -> bool {
    // SAFETY: there is room for a `T`, and any bytes are one.
    unsafe { copy(address, value) }
}

/// As [`into`], for what may not be there: a failure is not counted.
#[inline(always)]
pub fn quietly<T: Plain>(address: u64, value: &mut T) -> bool {
    // SAFETY: there is room for a `T`, and any bytes are one.
    unsafe { try_copy(address, value) }
}

/// As [`into`], for what need not be cleared before (a loop over its bytes, for a structure): zero
/// if it cannot be read, and whether it could.
#[inline(always)]
pub fn fill<T: Plain>(address: u64, place: &mut MaybeUninit<T>) -> (&T, bool) {
    // SAFETY: there is room for a `T`. The helper writes all of it even if it fails
    // (`bpf_probe_read_kernel_common` in kernel/trace/bpf_trace.c), and any bytes are one.
    unsafe {
        let whole = copy(address, place.as_mut_ptr());
        (place.assume_init_ref(), whole)
    }
}

/// Copies a `T` from a kernel address to `to`; whether that worked.
///
/// # Safety
///
/// `to` must have room for a `T`, and any bytes must be a value of what is there.
#[inline(always)]
unsafe fn copy<T>(address: u64, to: *mut T) -> bool {
    // SAFETY: as the caller says.
    let copied = unsafe { try_copy(address, to) };
    if !copied {
        // What follows then lies out of the way of what is read.
        core::hint::cold_path();
        losses::count(Loss::BadRead);
    }
    copied
}

/// As [`copy`], for what may not be there: a failure is not counted.
///
/// # Safety
///
/// As of [`copy`].
#[inline(always)]
unsafe fn try_copy<T>(address: u64, to: *mut T) -> bool {
    let size = size_of::<T>() as u32;
    // SAFETY: the helper writes just these bytes. It checks the address itself and fails instead of
    // faulting.
    unsafe { bpf_probe_read_kernel(to.cast(), size, address as *const _) == 0 }
}

/// As [`into`], for one integer.
#[inline(always)]
fn integer<T: Integer>(address: u64) -> u64 {
    let mut value = T::default();
    into(address, &mut value);
    value.into()
}

/// Reads the integer `field` of the structure at `base`. `None` if this kernel has no such field.
#[inline(always)]
pub fn field(base: u64, field: &Global<Field>) -> Option<u64> {
    Probed::field(base, field)
}

/// The part of its bytes that is the field.
#[inline(always)]
fn cut(raw: u64, field: Field) -> u64 {
    let value = raw >> (field.shift() & 63);
    if field.width() < 64 { value & ((1 << field.width()) - 1) } else { value }
}

/// A way to read a structure's fields, for bodies that several rungs share. What is read of a pointer by
/// plain loads must be `exact` in `for_each_field`.
pub trait Memory {
    /// The whole integer or pointer `field` of the structure at `base`, which is a `T`: one that is
    /// `exact` in `for_each_field`, of which user space makes sure. Nothing but its offset is looked
    /// up then.
    fn exact<T: Integer>(base: u64, field: &Global<Field>) -> u64;

    /// As [`field`]; no pointer, with which verifiers let nobody calculate.
    fn field(base: u64, field: &Global<Field>) -> Option<u64>;

    /// The pointer `field` of the structure at `base`. `None` if this kernel has no such field.
    fn pointer(base: u64, field: &Global<Field>) -> Option<u64>;

    /// The socket `sk` at full length, beyond `struct sock`; 0 if it is not TCP's.
    fn tcp_sock(sk: u64) -> u64;
}

/// How integers and pointers lie in the kernel's memory.
pub trait Integer: Plain + Default + Into<u64> {}

impl Integer for u8 {}
impl Integer for u16 {}
impl Integer for u32 {}
impl Integer for u64 {}

/// Plain loads, at a tenth of the cost: through pointers whose type the verifier knows, those of
/// a BTF context and what they lead to. The kernel makes a faulting load read 0.
pub enum Typed {}

/// Loads through a helper, for any address.
pub enum Probed {}

impl Memory for Typed {
    #[inline(always)]
    fn exact<T: Integer>(base: u64, field: &Global<Field>) -> u64 {
        typed::<T>(base + offset(field))
    }

    #[inline(always)]
    fn field(base: u64, field: &Global<Field>) -> Option<u64> {
        let field = field.load();
        let address = base + field.offset();
        let raw = match field.size() {
            1 => typed::<u8>(address),
            2 => typed::<u16>(address),
            4 => typed::<u32>(address),
            8 => typed::<u64>(address),
            _ => return None,
        };
        Some(cut(raw, field))
    }

    #[inline(always)]
    fn pointer(base: u64, field: &Global<Field>) -> Option<u64> {
        Some(Self::exact::<u64>(base, field))
    }

    #[inline(always)]
    fn tcp_sock(sk: u64) -> u64 {
        // SAFETY: the verifier knows that it is a socket, and learns by this helper (since v5.9) of
        // which kind.
        unsafe { bpf_skc_to_tcp_sock(sk as *mut _) as u64 }
    }
}

#[inline(always)]
fn typed<T: Integer>(address: u64) -> u64 {
    // SAFETY: the verifier proves that the address lies in a structure of the pointer's type.
    // Volatile: no load may be moved to where another size is read.
    unsafe { core::ptr::read_volatile(address as *const T) }.into()
}

impl Memory for Probed {
    #[inline(always)]
    fn exact<T: Integer>(base: u64, field: &Global<Field>) -> u64 {
        integer::<T>(base + offset(field))
    }

    #[inline(always)]
    fn field(base: u64, field: &Global<Field>) -> Option<u64> {
        let field = field.load();
        let size = field.size();
        if size == 0 || size > 8 {
            return None;
        }
        // One call, whatever the size is: with one for each, a program is four times as long, and so is
        // a verifier's way through it. What is shorter than a word comes first in it, on every
        // machine this is built for.
        let mut raw = 0_u64;
        let address = (base + field.offset()) as *const _;
        // SAFETY: the helper writes so many bytes of the word. It checks the address itself and fails
        // instead of faulting.
        if unsafe { bpf_probe_read_kernel((&raw mut raw).cast(), size.into(), address) } != 0 {
            core::hint::cold_path();
            losses::count(Loss::BadRead);
        }
        Some(cut(raw, field))
    }

    #[inline(always)]
    fn pointer(base: u64, field: &Global<Field>) -> Option<u64> {
        Self::field(base, field)
    }

    #[inline(always)]
    fn tcp_sock(sk: u64) -> u64 {
        sk
    }
}

/// Where a field lies, by one load: the low half of a [`Field`] (both bytes and halves come little
/// end first on every machine this is built for).
#[inline(always)]
fn offset(field: &Global<Field>) -> u64 {
    // SAFETY: inside of the field, which user space writes before load and nobody after. Volatile
    // as `Global::load`, for the same reason.
    unsafe { core::ptr::read_volatile(core::ptr::from_ref(field).cast::<u32>()) }.into()
}

/// The address of the structure `field` inside the structure at `base`.
#[inline(always)]
pub fn address(base: u64, field: &Global<Field>) -> Option<u64> {
    let field = field.load();
    if field.exists() { Some(base + field.offset()) } else { None }
}

/// Stands for a reason that this kernel's function does not have. A plain number instead of an
/// `Option`, whose payload the compiler would move about uninitialised, which verifiers refuse.
pub const NO_REASON: u64 = u64::MAX;

/// Reads slot `slot` of a BTF context: an argument, or the return value after the last argument.
/// `absent` if there is no such slot: 0 for pointers, which the compiler may then compare with
/// nothing but 0 (any other value invites arithmetic that verifiers refuse on pointers).
///
/// The verifier accepts context loads at constant offsets only, so each slot has a load of its
/// own. The slot comes from read-only data, so the verifier follows just the one that exists; in
/// plain Rust the compiler would merge the arms into one load at a computed offset.
#[inline(always)]
pub fn slot(ctx: *const core::ffi::c_void, slot: Slot, absent: u64) -> u64 {
    macro_rules! load {
        ($bytes:literal) => {{
            let value: u64;
            // SAFETY: reads the context the program was called with, at an offset that the
            // verifier checks against the hook's arguments.
            unsafe {
                core::arch::asm!(
                    concat!("{value} = *(u64 *)({ctx} + ", $bytes, ")"),
                    value = lateout(reg) value,
                    ctx = in(reg) ctx,
                    options(nostack, preserves_flags),
                );
            }
            value
        }};
    }
    match slot.0 {
        0 => load!("0"),
        1 => load!("8"),
        2 => load!("16"),
        3 => load!("24"),
        4 => load!("32"),
        5 => load!("40"),
        6 => load!("48"),
        7 => load!("56"),
        8 => load!("64"),
        _ => absent,
    }
}
