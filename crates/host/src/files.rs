//! Files that are written for their owner only, and that replace others only if that is asked for.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

/// Read and write, for the owner.
const OWNER_ONLY: u32 = 0o600;

/// What to do where something is to be written and a file is already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and nothing is written.
    Kept,
    /// It is replaced.
    Overwritten,
}

impl Existing {
    /// By whether `--overwrite` was given.
    pub fn overwritten_if(overwrite: bool) -> Self {
        if overwrite { Self::Overwritten } else { Self::Kept }
    }
}

/// Begins a file of its own, empty and for its owner only, whoever could read the one that is
/// overwritten. What is no regular file, such as a pipe, is written to as it is.
pub fn create(path: &Path, existing: Existing) -> io::Result<File> {
    may_create(path, existing)?;
    let mut options = OpenOptions::new();
    options.write(true).mode(OWNER_ONLY);
    match options.clone().create_new(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let file = options.open(path)?;
            if file.metadata()?.is_file() {
                // It may have come about just now.
                if existing == Existing::Kept {
                    return Err(exists());
                }
                file.set_permissions(Permissions::from_mode(OWNER_ONLY))?;
                file.set_len(0)?;
            }
            Ok(file)
        }
        opened => opened,
    }
}

/// Fails if there is a file that is to stay: nobody should wait for what cannot be written.
pub fn may_create(path: &Path, existing: Existing) -> io::Result<()> {
    match (fs::metadata(path), existing) {
        (Ok(metadata), Existing::Kept) if metadata.is_file() => Err(exists()),
        _ => Ok(()),
    }
}

fn exists() -> io::Error {
    io::Error::new(
        io::ErrorKind::AlreadyExists,
        "the file exists; give another name, or --overwrite to replace it",
    )
}
