//! The kernel model for a browser. A page writes a request into [`input`], calls [`answer`] and reads the
//! answer from [`output`]; all are UTF-8, and the memory stays this module's.
//!
//! Three functions of numbers need no generator of bindings, and none of its versions to match.

mod play;
mod request;

use std::cell::RefCell;

#[derive(Debug, Default)]
struct Buffers {
    input: Vec<u8>,
    output: Vec<u8>,
}

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

/// Room for a request of so many bytes, until the next call of any function.
#[unsafe(no_mangle)]
pub extern "C" fn input(bytes: usize) -> *mut u8 {
    BUFFERS.with_borrow_mut(|buffers| {
        buffers.input.clear();
        buffers.input.resize(bytes, 0);
        buffers.input.as_mut_ptr()
    })
}

/// Answers the request; the answer's length in bytes.
#[unsafe(no_mangle)]
pub extern "C" fn answer() -> usize {
    BUFFERS.with_borrow_mut(|buffers| {
        buffers.output = request::answer(&String::from_utf8_lossy(&buffers.input)).into_bytes();
        buffers.output.len()
    })
}

/// Where the answer lies, until the next call of any other function.
#[unsafe(no_mangle)]
pub extern "C" fn output() -> *const u8 {
    BUFFERS.with_borrow(|buffers| buffers.output.as_ptr())
}
