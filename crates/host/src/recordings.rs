//! Files of recordings.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use overflow_core::recording::{Header, RecordError, Recorder, Recording};

/// Starts a recording in a file of its own, replacing what was there. The file is for its owner
/// only, since it holds kernel addresses and the addresses of clients.
pub fn create(path: &Path, header: &Header) -> io::Result<Recorder<File>> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    Recorder::new(options.open(path)?, header)
}

/// Opens a recording's file and reads nothing of it.
pub fn file(path: &Path) -> Result<File, RecordError> {
    File::open(path).map_err(|source| RecordError::Io { path: path.to_owned(), source })
}

/// Opens a recording and reads its header.
pub fn open(path: &Path) -> Result<Recording<File>, RecordError> {
    Recording::read(path, file(path)?)
}

#[cfg(test)]
mod tests {
    use std::{env, fs, os::unix::fs::PermissionsExt as _, process};

    use super::*;

    #[test]
    fn a_recording_is_its_owners_only() {
        let path = env::temp_dir().join(format!("overflow-recording-{}", process::id()));
        let header = Header { kernel: "6.12.1".to_owned(), ..Header::default() };
        drop(create(&path, &header).unwrap());
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        let read = open(&path).map(|recording| recording.header().clone());
        fs::remove_file(&path).unwrap();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(read.unwrap(), header);
    }
}
