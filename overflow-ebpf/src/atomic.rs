//! Numbers that all CPUs share. Rust has no atomic addition for this target
//! (`target_has_atomic = "64"` asks for compare-and-swap too), but the compiler's own is there.

use core::{
    cell::UnsafeCell,
    intrinsics::{AtomicOrdering, atomic_xadd},
};

/// Adds to a number that other CPUs add to as well.
///
/// # Safety
///
/// `number` must be an aligned word of a map's value, which stays while the program runs.
#[inline(always)]
pub unsafe fn add(number: *mut u64, n: u64) {
    // SAFETY: as the caller says. Relaxed, and the sum not looked at: that is BPF_XADD, which every
    // kernel has; to fetch the sum (BPF_FETCH) takes 5.12, commit 5ca419f2864a.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(number, n) };
}

/// A word that all CPUs share.
pub struct Word(UnsafeCell<u64>);

// SAFETY: read and written only whole, or added to atomically.
unsafe impl Sync for Word {}

impl Word {
    pub const fn new(value: u64) -> Self {
        Self(UnsafeCell::new(value))
    }

    #[inline(always)]
    pub fn load(&self) -> u64 {
        // SAFETY: as above; volatile, because others write it.
        unsafe { core::ptr::read_volatile(self.0.get()) }
    }

    #[inline(always)]
    pub fn store(&self, value: u64) {
        // SAFETY: as above.
        unsafe { core::ptr::write_volatile(self.0.get(), value) };
    }

    #[inline(always)]
    pub fn add(&self, n: u64) {
        // SAFETY: a static is part of a map that nobody takes away.
        unsafe { add(self.0.get(), n) };
    }
}
