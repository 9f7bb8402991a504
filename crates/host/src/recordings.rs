//! Files of recordings.

use std::{fs::File, io, path::Path};

use overflow_core::recording::{Header, RecordError, Recorder, Recording};

use crate::files::{self, Existing};

/// Starts a recording in a file of its own. The file is for its owner only, since it holds kernel
/// addresses and the addresses of clients, whoever could read the one that is overwritten.
pub fn create(path: &Path, existing: Existing, header: &Header) -> io::Result<Recorder<File>> {
    Recorder::new(files::create(path, existing)?, header)
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
    use std::{env, fs, fs::Permissions, os::unix::fs::PermissionsExt as _, process};

    use super::*;

    fn scratch(name: &str) -> std::path::PathBuf {
        env::temp_dir().join(format!("overflow-recording-{}-{name}", process::id()))
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_recording_is_its_owners_only() {
        let path = scratch("new");
        let header = Header { kernel: "6.12.1".to_owned(), ..Header::default() };
        drop(create(&path, Existing::Kept, &header).unwrap());
        let (mode, read) = (mode(&path), open(&path).map(|recording| recording.header().clone()));
        fs::remove_file(&path).unwrap();
        assert_eq!(mode, 0o600);
        assert_eq!(read.unwrap(), header);
    }

    #[test]
    fn an_existing_file_is_replaced_only_if_that_is_asked_for() {
        let path = scratch("old");
        fs::write(&path, "precious").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let refused = create(&path, Existing::Kept, &Header::default()).map(drop).unwrap_err();
        let kept = fs::read_to_string(&path).unwrap();
        drop(create(&path, Existing::Overwritten, &Header::default()).unwrap());
        let (mode, replaced) = (mode(&path), open(&path).is_ok());
        fs::remove_file(&path).unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(kept, "precious");
        assert_eq!((mode, replaced), (0o600, true));
        // A device is no file.
        drop(create(Path::new("/dev/null"), Existing::Kept, &Header::default()).unwrap());
    }
}
