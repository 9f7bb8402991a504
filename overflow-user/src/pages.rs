//! Pages of the binary that only the start needed. They stay mapped until somebody else needs the
//! memory, and count as this process's (`VmRSS`) all the while: a tool that waits for overflows
//! for weeks gives them back, and reads the few it needs again from the page cache.

use std::{fs, path::Path};

use rustix::mm::{Advice, madvise};

/// Gives back every page of the binary that is as it is in the file. What fails costs memory only.
pub(crate) fn give_back() {
    let (Ok(own), Ok(smaps)) =
        (fs::read_link("/proc/self/exe"), fs::read_to_string("/proc/self/smaps"))
    else {
        return;
    };
    for (start, length) in unchanged(&smaps, &own) {
        let start = std::ptr::with_exposed_provenance_mut(start);
        // SAFETY: a mapping of the binary's file without write permission, no page of which was
        // ever changed: each is read again from the file when it is next touched.
        let _ = unsafe { madvise(start, length, Advice::LinuxDontNeed) };
    }
}

/// Address and bytes of each mapping of `own` in `smaps` (proc_pid_smaps(5)) that cannot be written,
/// and in which nothing was: relocated pages may be protected later on.
fn unchanged(smaps: &str, own: &Path) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut current = None;
    for line in smaps.lines() {
        if let Some(anonymous) = line.strip_prefix("Anonymous:") {
            let nothing = anonymous.split_whitespace().next() == Some("0");
            found.extend(current.take().filter(|_| nothing));
        } else if let Some(mapping) = mapping(line) {
            let wanted = mapping.read_only && Path::new(mapping.path) == own;
            current = wanted.then_some((mapping.start, mapping.length));
        }
    }
    found
}

struct Mapping<'a> {
    start: usize,
    length: usize,
    read_only: bool,
    path: &'a str,
}

/// `7f00-7f10 r-xp 00094000 fe:00 100 /usr/bin/overflow`; other lines are no mappings.
fn mapping(line: &str) -> Option<Mapping<'_>> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let start = usize::from_str_radix(start, 16).ok()?;
    let length = usize::from_str_radix(end, 16).ok()?.checked_sub(start)?;
    let read_only = rest.as_bytes().get(1) == Some(&b'-');
    let path = rest.splitn(5, ' ').nth(4)?.trim_start();
    Some(Mapping { start, length, read_only, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_as_in_the_file_is_given_back() {
        let smaps = "\
1000-3000 r-xp 00001000 fe:00 7                          /opt/over flow
Rss:                   8 kB
Anonymous:             0 kB
3000-4000 r--p 00003000 fe:00 7                          /opt/over flow
Anonymous:             4 kB
4000-5000 rw-p 00004000 fe:00 7                          /opt/over flow
Anonymous:             0 kB
5000-6000 r--p 00000000 fe:00 8                          /opt/other
Anonymous:             0 kB
6000-7000 r--p 00000000 00:00 0
Anonymous:             0 kB
";
        assert_eq!(unchanged(smaps, Path::new("/opt/over flow")), [(0x1000, 0x2000)]);
    }

    #[test]
    fn the_program_goes_on_with_fewer_pages() {
        let file_pages = || {
            let status = fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("RssFile:")).unwrap();
            line.trim().trim_end_matches(" kB").parse::<u32>().unwrap()
        };
        // Other threads fetch pages meanwhile.
        let fewer = || {
            let before = file_pages();
            give_back();
            file_pages() < before
        };
        assert!((0..100).any(|_| fewer()));
    }
}
