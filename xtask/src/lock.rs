//! Locks between xtasks, and how long they and other package managers are waited for.

use std::{
    fs::{File, TryLockError},
    path::Path,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use crate::progress;

/// How long at most.
pub const LIMIT: Duration = Duration::from_mins(10);
/// How often it is tried again.
pub const PAUSE: Duration = Duration::from_secs(2);

/// Takes the lock at `path`, which guards `what` as long as the file returned is open; says so where
/// another xtask has to be waited for.
pub fn wait(path: &Path, what: &str) -> Result<File> {
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    let attempt = || match file.try_lock() {
        Ok(()) => Ok(Some(())),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(e)) => Err(e).with_context(|| format!("cannot lock {what}")),
    };
    if attempt()?.is_none() {
        progress::note(&format!("waiting for another xtask, which uses {what}"));
        let mut waited = Duration::ZERO;
        while attempt()?.is_none() {
            if waited >= LIMIT {
                bail!(
                    "another xtask has used {what} for {}: end it or let it finish, then try again",
                    progress::seconds(LIMIT)
                );
            }
            thread::sleep(PAUSE);
            waited += PAUSE;
        }
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::{env, fs, process};

    use super::*;

    #[test]
    fn a_lock_is_waited_for() {
        let path = env::temp_dir().join(format!("overflow-xtask-lock-{}", process::id()));
        let held = wait(&path, "a test").unwrap();
        let waiting = {
            let path = path.clone();
            thread::spawn(move || wait(&path, "a test").map(drop))
        };
        thread::sleep(Duration::from_millis(100));
        assert!(!waiting.is_finished());
        drop(held);
        waiting.join().unwrap().unwrap();
        fs::remove_file(&path).unwrap();
    }
}
