//! Pointers as plain numbers. Verifiers let nobody calculate with pointers; what was written into a
//! map they take for a number.

/// A place in a map's value, through which a pointer becomes a number.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct Number(u64);

impl Number {
    /// Such a place among other words.
    #[inline(always)]
    pub fn at(word: &mut u64) -> &mut Self {
        // SAFETY: transparent, so that it is that word.
        unsafe { &mut *core::ptr::from_mut(word).cast() }
    }

    /// The same, as a number.
    #[inline(always)]
    pub fn of(&mut self, pointer: u64) -> u64 {
        // SAFETY: a place in a map's value; volatile so that the compiler does not keep the pointer in
        // its register.
        unsafe {
            core::ptr::write_volatile(&raw mut self.0, pointer);
            core::ptr::read_volatile(&raw const self.0)
        }
    }

    /// The bits of `address` that tell structures apart, below `places`, a power of two. Structures
    /// of one slab differ in a few bits only, at regular distances: Fibonacci hashing.
    #[inline(always)]
    pub fn place(&mut self, address: u64, places: usize) -> usize {
        let spread = self.of(address).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (spread >> 48) as usize & (places - 1)
    }
}
