//! The form of a kernel fact: where a field lies, and in which slot an argument is.

/// Where a kernel field lies inside its structure. Packed into one word so that the eBPF side
/// reads it with one load: offset in the low 32 bits, then size, shift and width, a byte each.
/// A structure's place has size 8 (its address is meant, not its bytes).
/// A size of 0 means that this kernel has no such field.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Field(u64);

impl Field {
    /// A field that this kernel does not have.
    pub const MISSING: Self = Self(0);

    /// A whole integer or pointer of `size` bytes (1, 2, 4 or 8) at byte `offset`.
    pub const fn whole(offset: u32, size: u8) -> Self {
        Self::bits(offset, size, 0, size * 8)
    }

    /// `width` bits, `shift` bits into the little-endian integer of `size` bytes at `offset`.
    pub const fn bits(offset: u32, size: u8, shift: u8, width: u8) -> Self {
        Self(offset as u64 | (size as u64) << 32 | (shift as u64) << 40 | (width as u64) << 48)
    }

    /// Byte offset from the start of the outermost structure.
    #[inline(always)]
    pub const fn offset(self) -> u64 {
        self.0 & 0xffff_ffff
    }

    /// Bytes to read: 1, 2, 4 or 8; 0 if missing.
    #[inline(always)]
    pub const fn size(self) -> u8 {
        self.byte(4)
    }

    /// Bits to shift right after reading.
    #[inline(always)]
    pub const fn shift(self) -> u8 {
        self.byte(5)
    }

    /// Bits to keep after shifting.
    #[inline(always)]
    pub const fn width(self) -> u8 {
        self.byte(6)
    }

    #[inline(always)]
    const fn byte(self, n: usize) -> u8 {
        self.0.to_le_bytes()[n]
    }

    /// Whether this kernel has the field.
    #[inline(always)]
    pub const fn exists(self) -> bool {
        self.size() != 0
    }
}

/// The 8-byte slot of an argument or return value in a BTF context: argument `n` is slot `n`, a
/// function's return value is the slot after its last argument.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(pub u8);

impl Slot {
    /// This kernel's function has no such argument.
    pub const MISSING: Self = Self(0xff);
    /// Slots that a context can have: 12 arguments and the return value.
    pub const MAX: u8 = 12;

    /// Whether this kernel's function has it.
    #[inline(always)]
    pub const fn exists(self) -> bool {
        self.0 != Self::MISSING.0
    }
}

#[cfg(feature = "user")]
// SAFETY: repr(transparent) over u64.
unsafe impl aya::Pod for Field {}

#[cfg(feature = "user")]
// SAFETY: repr(transparent) over u8.
unsafe impl aya::Pod for Slot {}
