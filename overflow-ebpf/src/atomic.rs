//! Numbers that all CPUs share. `core::sync::atomic` cannot be used: its addition is not there for
//! this target (`target_has_atomic` asks for compare-and-swap too), and LLVM's BPF backend cannot
//! select its load (LLVM of bpf-linker 0.13.0: "Cannot select: AtomicLoad"). The compiler's own
//! addition is there, and words are loaded and stored whole anyway.

use core::{
    cell::UnsafeCell,
    intrinsics::{AtomicOrdering, atomic_xadd},
};

/// Adds to a number that other CPUs add to as well.
///
/// # Safety
///
/// `number` must be an aligned word that stays while the program runs, as a map's value does.
#[inline(always)]
pub unsafe fn add(number: *mut u64, n: u64) {
    // SAFETY: as the caller says. Relaxed, and the sum not looked at: that is BPF_XADD, which every
    // kernel has; to fetch the sum (BPF_FETCH) takes v5.12.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(number, n) };
}

/// A word that all CPUs share.
#[repr(transparent)]
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
        // SAFETY: a word that is there as long as the reference is.
        unsafe { add(self.0.get(), n) };
    }
}

/// Marks that all CPUs set. A byte each: to set a bit, its word would have to be read before.
pub struct Marks<const N: usize>(UnsafeCell<[u8; N]>);

// SAFETY: read and written byte by byte.
unsafe impl<const N: usize> Sync for Marks<N> {}

impl<const N: usize> Marks<N> {
    pub const fn new() -> Self {
        Self(UnsafeCell::new([0; N]))
    }

    #[inline(always)]
    pub fn is_set(&self, mark: usize) -> bool {
        // SAFETY: inside, by the mask; N is a power of two. Volatile, because others write it.
        unsafe { core::ptr::read_volatile(self.place(mark)) != 0 }
    }

    #[inline(always)]
    pub fn set(&self, mark: usize) {
        // SAFETY: as above.
        unsafe { core::ptr::write_volatile(self.place(mark), 1) };
    }

    #[inline(always)]
    fn place(&self, mark: usize) -> *mut u8 {
        const { assert!(N.is_power_of_two()) };
        self.0.get().cast::<u8>().wrapping_add(mark & (N - 1))
    }
}
