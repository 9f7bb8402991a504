//! Why something that the kernel shows in procfs could not be read.

use std::io;

use thiserror::Error;

/// Why a file of procfs is of no use.
#[derive(Debug, Error)]
pub enum ReadError {
    /// It could not be read.
    #[error("reading {path} failed")]
    Io {
        /// The file.
        path: String,
        /// What the kernel answered.
        source: io::Error,
    },
    /// It has another form than the kernels this was written for give it.
    #[error("{path} cannot be understood: {why}")]
    Form {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
}

impl ReadError {
    pub(crate) fn io(path: &str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), source }
    }

    pub(crate) fn form(path: &str, why: String) -> Self {
        Self::Form { path: path.to_owned(), why }
    }
}

impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io { source, .. } => source,
            ReadError::Form { .. } => Self::new(io::ErrorKind::InvalidData, error.to_string()),
        }
    }
}
