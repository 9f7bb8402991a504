//! A loader that has not read the kernel's BTF: nothing in the object is relocated by it, because
//! fields come as constants.

use std::thread;

use aya::EbpfLoader;

use crate::confine::seccomp;

/// A loader without BTF. `EbpfLoader::new` reads and parses all of the kernel's, whether it is used or
/// not (aya 0.14; its later versions read it when they need it): a sixth of the time to attach, and
/// 12 MiB. In a thread that may open no file it finds none; where the kernel has no seccomp filters, it
/// is parsed and thrown away.
pub(super) fn new() -> EbpfLoader<'static> {
    let unread = thread::spawn(|| {
        // A refusal costs time and memory only.
        let _ = seccomp::refuse_files();
        EbpfLoader::new()
    });
    let mut loader = unread.join().unwrap_or_default();
    loader.btf(None);
    loader
}
