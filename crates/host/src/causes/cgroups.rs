//! What the control groups of a process, and those above them, do to it: of both versions, which
//! stand beside each other on many hosts.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use overflow_core::cause::{ControlGroup, Memory, Quota};

use super::threads::{beginning, text};

/// Groups above one that are looked at; deeper ones are no container's.
const DEPTH: usize = 16;
/// A v1 limit from here on is none: `PAGE_COUNTER_MAX` in pages of any size.
const NO_LIMIT: u64 = 1 << 60;

/// A hierarchy and where it is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mount {
    /// Its controllers; those of v2 are written in each group.
    controllers: Vec<String>,
    version: Version,
    /// The group that stands at `at`.
    root: String,
    at: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// Where the control groups of this host are.
#[derive(Clone, Debug, Default)]
pub(super) struct Hierarchies(Vec<Mount>);

/// Reads groups, each once.
#[derive(Debug, Default)]
pub(super) struct Groups {
    read: HashMap<PathBuf, Option<ControlGroup>>,
}

impl Hierarchies {
    /// Where they are mounted for this process; none where that cannot be read.
    pub(super) fn mounted() -> Self {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        Self(mounts.lines().filter_map(mount).collect())
    }

    /// The groups of a process by its `/proc/PID/cgroup`, each with those above it, innermost first.
    fn places(&self, cgroup: &str) -> Vec<(Version, String, PathBuf)> {
        let rows = cgroup.lines().filter_map(|line| {
            let mut parts = line.splitn(3, ':');
            Some((parts.next()?, parts.next()?, parts.next()?))
        });
        rows.flat_map(|(id, controllers, path)| {
            let version = if id == "0" { Version::Two } else { Version::One };
            let here = self.0.iter().find(|mount| {
                let same = |c: &String| controllers.split(',').any(|asked| asked == c);
                mount.version == version
                    && (version == Version::Two || mount.controllers.iter().any(same))
            });
            here.map(|mount| above(mount, path)).unwrap_or_default()
        })
        .collect()
    }
}

/// The group at `path` and those above it, as far as the mount shows them.
fn above(mount: &Mount, path: &str) -> Vec<(Version, String, PathBuf)> {
    let inside = if mount.root == "/" { Some(path) } else { path.strip_prefix(&mount.root) };
    // A path above the root of a cgroup namespace begins with `/..`.
    let Some(inside) = inside.filter(|p| !p.split('/').any(|part| part == "..")) else {
        return Vec::new();
    };
    let below = Path::new(inside.trim_start_matches('/'));
    let groups = below.ancestors().take(DEPTH).map(|group| {
        let name = Path::new(&mount.root).join(group);
        (mount.version, beginning(&name.to_string_lossy()), mount.at.join(group))
    });
    groups.collect()
}

/// `36 35 0:32 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu` (proc_pid_mountinfo(5)).
fn mount(line: &str) -> Option<Mount> {
    let (place, kind) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(3);
    let (root, at) = (place.next()?, place.next()?);
    let mut kind = kind.split(' ');
    let version = match kind.next()? {
        "cgroup2" => Version::Two,
        "cgroup" => Version::One,
        _ => return None,
    };
    let options = kind.nth(1)?;
    Some(Mount {
        controllers: options.split(',').map(str::to_owned).collect(),
        version,
        root: root.to_owned(),
        at: PathBuf::from(at),
    })
}

impl Groups {
    /// The groups of a process that limit it or are frozen, innermost first.
    pub(super) fn of(&mut self, hierarchies: &Hierarchies, proc_dir: &Path) -> Vec<ControlGroup> {
        let cgroup = text(&proc_dir.join("cgroup")).unwrap_or_default();
        let places = hierarchies.places(&cgroup).into_iter();
        places
            .filter_map(|(version, name, dir)| {
                let read = || match version {
                    Version::One => first_version(name, &dir),
                    Version::Two => second_version(name, &dir),
                };
                self.read.entry(dir.clone()).or_insert_with(read).clone()
            })
            .collect()
    }
}

/// What two readings of the same groups show: the second, with what happened in between.
pub(super) fn between(first: &[ControlGroup], second: Vec<ControlGroup>) -> Vec<ControlGroup> {
    let before = |group: &ControlGroup| {
        first.iter().find(|f| {
            f.path == group.path
                && f.cpu.is_some() == group.cpu.is_some()
                && f.memory.is_some() == group.memory.is_some()
        })
    };
    let mut groups = second;
    for group in &mut groups {
        let earlier = before(group).cloned().unwrap_or_else(|| group.clone());
        if let (Some(now), Some(then)) = (&mut group.cpu, earlier.cpu) {
            now.periods = now.periods.saturating_sub(then.periods);
            now.throttled = now.throttled.saturating_sub(then.throttled);
            now.throttled_us = now.throttled_us.saturating_sub(then.throttled_us);
        }
        if let (Some(now), Some(then)) = (&mut group.memory, earlier.memory) {
            now.hits = now.hits.saturating_sub(then.hits);
            let stalled = now.stalled_us.zip(then.stalled_us);
            now.stalled_us = stalled.map(|(now, then)| now.saturating_sub(then));
        }
    }
    groups
}

fn second_version(path: String, dir: &Path) -> Option<ControlGroup> {
    let read = |name: &str| text(&dir.join(name)).ok();
    let number = |name: &str| read(name)?.trim().parse::<u64>().ok();
    let frozen = number("cgroup.freeze") == Some(1);
    let cpu = read("cpu.max").and_then(|max| {
        let (quota_us, period_us) = cpu_max(&max)?;
        let stat = read("cpu.stat")?;
        Some(Quota {
            quota_us,
            period_us,
            periods: field(&stat, "nr_periods")?,
            throttled: field(&stat, "nr_throttled")?,
            throttled_us: field(&stat, "throttled_usec")?,
        })
    });
    let limit = number("memory.max").into_iter().chain(number("memory.high")).min();
    let memory = limit.and_then(|limit| {
        let events = read("memory.events")?;
        Some(Memory {
            current: number("memory.current")?,
            limit,
            hits: field(&events, "max")? + field(&events, "high")?,
            stalled_us: read("memory.pressure").and_then(|pressure| full_us(&pressure)),
            under_oom: false,
        })
    });
    limiting(ControlGroup { path, frozen, cpu, memory })
}

fn first_version(path: String, dir: &Path) -> Option<ControlGroup> {
    let read = |name: &str| text(&dir.join(name)).ok();
    let number = |name: &str| read(name)?.trim().parse::<u64>().ok();
    // FREEZING is one of which not all threads have stopped yet.
    let frozen = read("freezer.state").is_some_and(|state| state.trim() != "THAWED");
    // -1 is no quota.
    let cpu = number("cpu.cfs_quota_us").and_then(|quota_us| {
        let stat = read("cpu.stat")?;
        Some(Quota {
            quota_us,
            period_us: number("cpu.cfs_period_us")?,
            periods: field(&stat, "nr_periods")?,
            throttled: field(&stat, "nr_throttled")?,
            throttled_us: field(&stat, "throttled_time")? / 1000,
        })
    });
    let limit = number("memory.limit_in_bytes").filter(|limit| *limit < NO_LIMIT);
    let memory = limit.and_then(|limit| {
        let oom = read("memory.oom_control").and_then(|oom| field(&oom, "under_oom"));
        Some(Memory {
            current: number("memory.usage_in_bytes")?,
            limit,
            hits: number("memory.failcnt")?,
            stalled_us: None,
            under_oom: oom == Some(1),
        })
    });
    limiting(ControlGroup { path, frozen, cpu, memory })
}

fn limiting(group: ControlGroup) -> Option<ControlGroup> {
    (group.frozen || group.cpu.is_some() || group.memory.is_some()).then_some(group)
}

/// `50000 100000`, or `max 100000`, which is no quota.
fn cpu_max(text: &str) -> Option<(u64, u64)> {
    let mut words = text.split_ascii_whitespace();
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

/// A line of `name number`.
fn field(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(key, _)| *key == name)?.1.trim().parse().ok()
}

/// The total of `full avg10=0.00 avg60=0.00 avg300=0.00 total=0`, microseconds.
fn full_us(pressure: &str) -> Option<u64> {
    let full = pressure.lines().find(|line| line.starts_with("full "))?;
    full.split(' ').find_map(|word| word.strip_prefix("total="))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const MOUNTS: &str = "\
30 25 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755
36 30 0:32 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
37 30 0:33 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer
38 30 0:34 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
";

    #[test]
    fn each_hierarchy_is_read_where_it_is_mounted() {
        let hierarchies = Hierarchies(MOUNTS.lines().filter_map(mount).collect());
        let places = |text| -> Vec<(String, String)> {
            let found = hierarchies.places(text).into_iter();
            found.map(|(_, name, dir)| (name, dir.to_string_lossy().into_owned())).collect()
        };
        let pair = |(name, dir): (&str, &str)| (name.to_owned(), dir.to_owned());
        assert_eq!(
            places("4:cpu,cpuacct:/a/b\n3:memory:/m\n0::/u.slice\n"),
            [
                ("/a/b", "/sys/fs/cgroup/cpu,cpuacct/a/b"),
                ("/a", "/sys/fs/cgroup/cpu,cpuacct/a"),
                ("/", "/sys/fs/cgroup/cpu,cpuacct/"),
                ("/u.slice", "/sys/fs/cgroup/unified/u.slice"),
                ("/", "/sys/fs/cgroup/unified/"),
            ]
            .map(pair)
        );
        // Outside of this cgroup namespace.
        assert_eq!(places("0::/../other\n"), []);
    }

    #[test]
    fn a_mount_that_shows_a_part_of_the_tree_is_below_its_root() {
        let line = "38 30 0:34 /docker/c1 /sys/fs/cgroup rw - cgroup2 cgroup rw";
        let hierarchies = Hierarchies(vec![mount(line).unwrap()]);
        let places = hierarchies.places("0::/docker/c1/app\n");
        assert_eq!(places[0].1, "/docker/c1/app");
        assert_eq!(places[0].2, Path::new("/sys/fs/cgroup/app"));
        assert_eq!(places.len(), 2);
        assert_eq!(hierarchies.places("0::/elsewhere\n"), []);
    }

    fn group(name: &str, files: &[(&str, &str)]) -> PathBuf {
        let dir =
            std::env::temp_dir().join(format!("overflow-cgroup-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        for (file, text) in files {
            fs::write(dir.join(file), text).unwrap();
        }
        dir
    }

    #[test]
    fn a_group_of_the_second_version() {
        let files = [
            ("cgroup.freeze", "0\n"),
            ("cpu.max", "5000 100000\n"),
            ("cpu.stat", "usage_usec 9\nnr_periods 40\nnr_throttled 30\nthrottled_usec 2000000\n"),
            ("memory.max", "1000000\n"),
            ("memory.high", "max\n"),
            ("memory.current", "990000\n"),
            ("memory.events", "low 0\nhigh 0\nmax 7\noom 0\noom_kill 0\n"),
            (
                "memory.pressure",
                "some avg10=1.00 total=9\nfull avg10=0.50 avg60=0 avg300=0 total=5\n",
            ),
        ];
        let dir = group("v2", &files);
        let read = second_version("/a".to_owned(), &dir);
        fs::remove_dir_all(dir).unwrap();
        let expected = ControlGroup {
            path: "/a".to_owned(),
            frozen: false,
            cpu: Some(Quota {
                quota_us: 5000,
                period_us: 100_000,
                periods: 40,
                throttled: 30,
                throttled_us: 2_000_000,
            }),
            memory: Some(Memory {
                current: 990_000,
                limit: 1_000_000,
                hits: 7,
                stalled_us: Some(5),
                under_oom: false,
            }),
        };
        assert_eq!(read, Some(expected));
    }

    #[test]
    fn groups_of_the_first_version() {
        let frozen = group("frozen", &[("freezer.state", "FROZEN\n")]);
        assert!(first_version("/f".to_owned(), &frozen).unwrap().frozen);
        fs::write(frozen.join("freezer.state"), "THAWED\n").unwrap();
        assert_eq!(first_version("/f".to_owned(), &frozen), None);
        let files = [
            ("cpu.cfs_quota_us", "-1\n"),
            ("cpu.cfs_period_us", "100000\n"),
            ("cpu.stat", "nr_periods 4\nnr_throttled 3\nthrottled_time 2000000\n"),
            ("memory.limit_in_bytes", "9223372036854771712\n"),
        ];
        let dir = group("v1", &files);
        assert_eq!(first_version("/c".to_owned(), &dir), None);
        fs::write(dir.join("cpu.cfs_quota_us"), "5000\n").unwrap();
        let quota = first_version("/c".to_owned(), &dir).unwrap().cpu.unwrap();
        assert_eq!((quota.quota_us, quota.throttled, quota.throttled_us), (5000, 3, 2000));
        fs::remove_dir_all(dir).unwrap();
        fs::remove_dir_all(frozen).unwrap();
    }

    #[test]
    fn two_readings_are_what_happened_in_between() {
        let at = |periods, throttled, hits, stalled_us| ControlGroup {
            path: "/a".to_owned(),
            frozen: false,
            cpu: Some(Quota { quota_us: 1, period_us: 2, periods, throttled, throttled_us: 0 }),
            memory: Some(Memory { current: 9, limit: 10, hits, stalled_us, under_oom: false }),
        };
        let got = between(&[at(10, 5, 7, Some(100))], vec![at(12, 7, 9, Some(150))]);
        assert_eq!(got, [at(2, 2, 2, Some(50))]);
        // A group that was not there before: what it counted until now is not known to be new.
        assert_eq!(between(&[], vec![at(12, 7, 9, None)]), [at(0, 0, 0, None)]);
    }
}
