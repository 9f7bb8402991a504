//! `--record`: the tracer's records of all cells in one file.

use std::{
    cell::{Cell, RefCell},
    fs::File,
    path::PathBuf,
};

use anyhow::{Context, Result};
use overflow_common::RawEvent;

use overflow_core::recording::{Frame, Header, Recorder};
use overflow_host::{
    files::{self, Existing},
    recordings,
};

/// The file, if one was asked for.
pub(super) struct LabRecording {
    path: Option<PathBuf>,
    existing: Existing,
    /// Begun with the first records: only then is it known what was traced, and by which hooks.
    recorder: RefCell<Option<Recorder<File>>>,
    last_ns: Cell<u64>,
}

impl LabRecording {
    /// Writes nothing yet; fails if there is a file that is not to be overwritten.
    pub(super) fn new(path: Option<PathBuf>, existing: Existing) -> Result<Self> {
        if let Some(path) = &path {
            files::may_create(path, existing)
                .with_context(|| format!("cannot record to {}", path.display()))?;
        }
        Ok(Self { path, existing, recorder: RefCell::default(), last_ns: Cell::new(0) })
    }

    /// Whether records are to be kept for it.
    pub(super) fn wanted(&self) -> bool {
        self.path.is_some()
    }

    /// Adds what was traced of some cells.
    pub(super) fn add(&self, header: &Header, records: &[RawEvent]) -> Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let write = || -> std::io::Result<()> {
            let mut recorder = self.recorder.borrow_mut();
            let recorder = match &mut *recorder {
                Some(recorder) => recorder,
                none => none.insert(recordings::create(path, self.existing, header)?),
            };
            for record in records {
                self.last_ns.set(self.last_ns.get().max(record.t_ns));
                recorder.write(&Frame::Event(*record))?;
            }
            Ok(())
        };
        write().with_context(|| format!("cannot record to {}", path.display()))
    }

    /// Ends the recording.
    pub(super) fn end(&self) -> Result<()> {
        match (&self.path, &mut *self.recorder.borrow_mut()) {
            (Some(path), Some(recorder)) => recorder
                .write(&Frame::End(self.last_ns.get()))
                .with_context(|| format!("cannot record to {}", path.display())),
            _ => Ok(()),
        }
    }
}
