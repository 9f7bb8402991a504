//! `--report`: what a command found as one HTML page in a file of its own.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use clap::Args;

use overflow_host::files::{self, Existing};
use overflow_report::Collector;

/// The option, where a command writes no other file that is not to be replaced.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct ReportArgs {
    /// Also write one HTML page that explains all of it, for a browser, a ticket or a printer
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Replace the file of --report if there is one
    #[arg(long, visible_alias = "force", requires = "report")]
    overwrite: bool,
}

impl ReportArgs {
    /// Begins its file, if one was asked for.
    pub(super) fn create(&self) -> Result<Option<PageFile>> {
        let existing = Existing::overwritten_if(self.overwrite);
        self.report.as_deref().map(|path| PageFile::create(path, existing)).transpose()
    }
}

/// The file of a page, which is empty until it is written as a whole: a process that is confined
/// could not open it by then. One that stays empty is removed, if that is still possible.
#[derive(Debug)]
pub(super) struct PageFile {
    path: PathBuf,
    file: File,
    written: bool,
}

impl PageFile {
    /// Before anything runs: a page that cannot be written is no reason to wait for it.
    pub(super) fn create(path: &Path, existing: Existing) -> Result<Self> {
        let file = files::create(path, existing)
            .with_context(|| format!("cannot write the page to {}", path.display()))?;
        Ok(Self { path: path.to_owned(), file, written: false })
    }

    /// Writes the page of what was collected.
    pub(super) fn write_page(&mut self, run: &Collector) -> io::Result<()> {
        let written = self.write_all(run.page().as_bytes());
        let path = self.path.display();
        written
            .map_err(|e| io::Error::new(e.kind(), format!("cannot write the page to {path}: {e}")))
    }
}

impl Write for PageFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written = true;
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for PageFile {
    fn drop(&mut self) {
        let is_file = || self.file.metadata().is_ok_and(|meta| meta.is_file());
        if !self.written && is_file() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{env, process};

    use super::*;

    #[test]
    fn a_page_that_was_never_made_leaves_no_file() {
        let path = env::temp_dir().join(format!("overflow-page-{}.html", process::id()));
        drop(PageFile::create(&path, Existing::Kept).unwrap());
        assert!(!path.exists());
        PageFile::create(&path, Existing::Kept).unwrap().write_page(&Collector::default()).unwrap();
        let refused = PageFile::create(&path, Existing::Kept).map(drop).unwrap_err();
        let page = fs::read_to_string(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>"));
        assert!(format!("{refused:#}").contains("cannot write the page to"), "{refused:#}");
        assert!(format!("{refused:#}").contains("--overwrite"), "{refused:#}");
    }
}
