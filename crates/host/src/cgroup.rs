//! Whether a control group is there.

use std::{fs, path::Path};

/// Where control groups are mounted; with version 1, each hierarchy in a directory of its own.
pub const MOUNT: &str = "/sys/fs/cgroup";

/// Whether `path`, below the root of a hierarchy, is a control group of this host. `None` where that
/// cannot be told: nothing is mounted there, or the path leads out of this cgroup namespace.
pub fn exists(path: &str) -> Option<bool> {
    exists_below(Path::new(MOUNT), path)
}

fn exists_below(mount: &Path, path: &str) -> Option<bool> {
    let below = path.trim_matches('/');
    if below.split('/').any(|part| part == "..") {
        return None;
    }
    let hierarchies: Vec<_> = fs::read_dir(mount).ok()?.flatten().collect();
    if hierarchies.is_empty() {
        return None;
    }
    let is_there = |root: &Path| root.join(below).is_dir();
    // A directory of version 2 is a control group, and one in it could look like a hierarchy.
    let unified = mount.join("cgroup.controllers").exists();
    Some(is_there(mount) || (!unified && hierarchies.iter().any(|entry| is_there(&entry.path()))))
}

#[cfg(test)]
mod tests {
    use std::{env, process};

    use super::*;

    #[test]
    fn of_either_version() {
        let mount = env::temp_dir().join(format!("overflow-cgroup-{}", process::id()));
        let exists = |path| exists_below(&mount, path);
        assert_eq!(exists("/a"), None);
        fs::create_dir_all(mount.join("memory/a/b")).unwrap();
        let v1 = (exists("/a/b/"), exists("/b"), exists("/a/../b"));
        fs::write(mount.join("cgroup.controllers"), "").unwrap();
        let v2 = (exists("/a/b"), exists("/memory/a"), exists("/"));
        fs::remove_dir_all(&mount).unwrap();
        assert_eq!(v1, (Some(true), Some(false), None));
        assert_eq!(v2, (Some(false), Some(true), Some(true)));
    }
}
