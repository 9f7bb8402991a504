//! What may be read from the kernel's memory as it is: types that any bytes are a value of.

use crate::segment::{Extension, Headers, Ipv6, Tcp};

mod sealed {
    pub trait Sealed {}
}

/// A type that any bytes are a value of, so that it can be read from wherever an address points.
///
/// Sealed: this file has them all.
///
/// # Safety
///
/// Every bit pattern must be a value: integers, and `repr(C)` structures and arrays of them.
pub unsafe trait Plain: Copy + sealed::Sealed {}

macro_rules! plain {
    ($($type:ty),+) => {
        $(
            impl sealed::Sealed for $type {}
            // SAFETY: an integer, or a repr(C) structure of integers and arrays of them.
            unsafe impl Plain for $type {}
        )+
    };
}

plain!(u8, u16, u32, u64, Extension, Headers, Ipv6, Tcp);

impl<T: Plain, const N: usize> sealed::Sealed for [T; N] {}
// SAFETY: N values one after the other, each of which any bytes are.
unsafe impl<T: Plain, const N: usize> Plain for [T; N] {}
