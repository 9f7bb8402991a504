//! Network namespaces: the own one, every other that can be found, and work done inside each.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::{ffi::OsStrExt as _, fs::MetadataExt},
    },
    path::{Path, PathBuf},
    thread,
};

use nix::sched::{CloneFlags, setns};
use overflow_core::{listeners::Namespace, text::Untrusted};

use crate::{own_thread, owner};

/// Where `ip netns` and container runtimes mount namespaces under a name.
const NAMED: &[&str] = &["/run/netns", "/run/docker/netns"];
/// Where a thread's own namespace is, below its directory in procfs.
const OF_THREAD: &str = "ns/net";

/// A namespace and the file that stands for it.
#[derive(Debug)]
pub struct NamespaceFile {
    pub(crate) namespace: Namespace,
    /// Whether only a search of all threads found it.
    pub(crate) hidden: bool,
    path: PathBuf,
}

/// The namespaces that were found.
#[derive(Debug, Default)]
pub(crate) struct Namespaces {
    /// By inode number, the own one among them.
    pub(crate) by_inum: BTreeMap<u32, NamespaceFile>,
    /// Processes whose namespace may not be seen.
    pub(crate) hidden: usize,
}

/// Finds the own namespace, those of every process, and the named ones. `wanted` are looked for
/// among threads too, which is dearer: a thread can be the only one in a namespace.
pub(crate) fn discover(wanted: &BTreeSet<u32>) -> io::Result<Namespaces> {
    let mut places = Namespaces::default();
    let own = own()?;
    places.add(own, own_file(), None);
    for pid in owner::pids(Path::new("/proc"))? {
        let path = PathBuf::from(format!("/proc/{pid}/ns/net"));
        match inum(&path) {
            Ok(inum) => places.add(inum, path, None),
            Err(e) => places.hidden += usize::from(e.kind() == io::ErrorKind::PermissionDenied),
        }
    }
    for dir in NAMED {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            // A name whose mount is gone is an empty file of another file system.
            if let Ok(inum) = inum(&entry.path()) {
                let name = Untrusted::from_bytes(entry.file_name().as_bytes());
                places.add(inum, entry.path(), Some(name));
            }
        }
    }
    if wanted.iter().any(|inum| !places.by_inum.contains_key(inum)) {
        places.search_threads(wanted)?;
    }
    if let Some(place) = places.by_inum.get_mut(&own) {
        place.namespace.own = true;
    }
    Ok(places)
}

impl Namespaces {
    fn add(&mut self, inum: u32, path: PathBuf, name: Option<Untrusted>) {
        let place = self.by_inum.entry(inum).or_insert_with(|| NamespaceFile {
            namespace: Namespace { inum, name: None, own: false },
            hidden: false,
            path,
        });
        place.namespace.name = place.namespace.name.take().or(name);
    }

    fn search_threads(&mut self, wanted: &BTreeSet<u32>) -> io::Result<()> {
        for pid in owner::pids(Path::new("/proc"))? {
            let tasks = PathBuf::from(format!("/proc/{pid}/task"));
            for tid in owner::pids(&tasks).unwrap_or_default() {
                let path = tasks.join(tid.to_string()).join("ns/net");
                if let Ok(inum) = inum(&path)
                    && wanted.contains(&inum)
                {
                    let known = self.by_inum.contains_key(&inum);
                    self.add(inum, path, None);
                    if let Some(place) = self.by_inum.get_mut(&inum).filter(|_| !known) {
                        place.hidden = true;
                    }
                }
            }
        }
        Ok(())
    }
}

impl NamespaceFile {
    /// Runs `job` inside the namespace, on a thread of its own that ends with it. Fails with
    /// [`io::ErrorKind::NotFound`] where the namespace is gone.
    pub fn inside<T: Send>(&self, job: impl FnOnce() -> T + Send) -> io::Result<T> {
        if self.namespace.own {
            return Ok(job());
        }
        let file = File::open(&self.path)?;
        if file.metadata()?.ino() != u64::from(self.namespace.inum) {
            return Err(io::Error::new(io::ErrorKind::NotFound, "it is gone"));
        }
        thread::scope(|scope| {
            let worker = scope.spawn(move || {
                enter(file.as_fd())?;
                Ok(job())
            });
            worker.join().unwrap_or_else(|_| Err(io::Error::other("its thread failed")))
        })
    }
}

/// Every namespace that can be found. Where only threads are in one, it is if it is `wanted`.
pub fn all(wanted: &BTreeSet<u32>) -> io::Result<Vec<NamespaceFile>> {
    Ok(discover(wanted)?.by_inum.into_values().collect())
}

/// Moves the calling thread into a network namespace.
fn enter(namespace: BorrowedFd<'_>) -> io::Result<()> {
    Ok(setns(namespace, CloneFlags::CLONE_NEWNET)?)
}

/// The file that stands for the calling thread's network namespace, while that thread lives.
pub fn own_file() -> PathBuf {
    own_thread::file(OF_THREAD)
}

/// The inode number of the calling thread's network namespace.
pub fn own() -> io::Result<u32> {
    inum(&own_file())
}

/// The inode number of the namespace that `path` stands for. Namespaces are identified by their file
/// system: an ordinary file with the same number is none. Before v3.19 (e149ed2b805f) they are files of
/// procfs itself, whose other files are not told apart.
pub fn inum(path: &Path) -> io::Result<u32> {
    let file = fs::metadata(path)?;
    let nsfs = fs::metadata(own_file())?.dev();
    if file.dev() != nsfs {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a namespace"));
    }
    u32::try_from(file.ino()).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_namespace_is_found_and_entered() {
        let places = discover(&BTreeSet::new()).unwrap();
        let own: Vec<_> = places.by_inum.values().filter(|p| p.namespace.own).collect();
        assert_eq!(own.len(), 1);
        let inside = own[0].inside(|| super::own().unwrap()).unwrap();
        assert_eq!(inside, own[0].namespace.inum);
    }

    #[test]
    fn a_file_is_no_namespace() {
        assert!(inum(Path::new("/proc/self/status")).is_err());
    }
}
