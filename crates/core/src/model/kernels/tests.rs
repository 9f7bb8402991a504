//! Names and releases, and what each is.

use super::*;

fn regime(name: &str) -> &'static str {
    by_name(name).unwrap_or_else(|e| panic!("{e}")).features.regime()
}

#[test]
fn flip_points_of_the_distributions() {
    for (name, expected) in [
        ("3.10.0-1160.el7.x86_64", "A"),
        ("4.4.0-148-generic", "A'"),
        ("4.4.0-149-generic", "B"),
        ("4.4.177", "A'"),
        ("4.4.178", "B"),
        ("4.15.0-213-generic", "B"),
        ("4.18.0-553.el8_10.x86_64", "B"),
        ("5.3.0-76-generic", "B"),
        ("5.4.0-209-generic", "B"),
        ("5.4.0-210-generic", "C"),
        ("5.4.289", "B"),
        ("5.4.290", "C"),
        ("5.10.223", "B"),
        ("5.10.234", "C"),
        ("5.15.0-134-generic", "B"),
        ("5.15.0-135-generic", "C"),
        ("6.1.124", "B"),
        ("6.1.125", "C"),
        ("6.2.0-39-generic", "B"),
        ("6.5.0-45-generic", "B"),
        ("6.8.0-59-generic", "B"),
        ("6.8.0-60-generic", "C"),
        ("6.12.9", "B"),
        ("6.12.107+deb13-cloud-amd64", "C"),
        ("6.14.0-37-generic", "C"),
        ("6.18.44", "C"),
        ("7.3", "C"),
    ] {
        assert_eq!(regime(name), expected, "{name}");
        assert_eq!(by_name(name).unwrap().doubt, None, "{name}");
    }
}

#[test]
fn names_without_patch_level_say_so() {
    assert_eq!(regime("4.9.1"), "A'");
    for name in
        ["5.10", "6.1.x", "4.4", "4.9.1", "6.1.0-50-amd64", "ubuntu22.04", "debian12", "rhel9"]
    {
        assert!(by_name(name).unwrap().doubt.is_some(), "{name}");
    }
    let doubt = by_name("5.10").unwrap().doubt.unwrap();
    assert!(doubt.contains("before 5.10.234"), "{doubt}");
}

#[test]
fn first_syns_are_linear_since_6_5() {
    assert_eq!(by_name("6.4.1").unwrap().features.syn_linear_timeouts, 0);
    assert_eq!(by_name("6.5.1").unwrap().features.syn_linear_timeouts, 4);
}

#[test]
fn what_was_not_read_is_refused() {
    for (name, why, known) in [
        ("3.10.108", "before 4.4", ""),
        ("3.13.0-170-generic", "before 4.4", ""),
        ("4.1", "before 4.4", ""),
        ("5.14.0-70.el8", "Red Hat", ""),
        ("freebsd", "neither a known name nor a release", "ubuntu22.04"),
        ("amzn2", "4.14 to 5.15", "amzn2023"),
        ("wsl2", "give the release", "ubuntu22.04"),
        ("alpine", "give the release", "ubuntu22.04"),
        ("alpine3.19", "give the release", "ubuntu22.04"),
        ("openeuler20.03", "22.03 and 24.03", "openeuler22"),
        ("ubuntu14.04", "16.04", "ubuntu16.04"),
        ("rhel6", "7 to 10", "rhel7, rhel8, rhel9, rhel10"),
        ("debain12", "neither a known name", "debian12"),
    ] {
        let refused = by_name(name).map(|kernel| kernel.name).unwrap_err();
        assert!(refused.why.contains(why), "{name}: {refused}");
        assert!(refused.known.contains(known), "{name}: {refused}");
    }
    let near = by_name("rhel6").unwrap_err().known;
    assert!(!near.contains("ubuntu"), "{near}");
}

#[test]
fn who_does_not_tell_its_patches_gets_both_answers() {
    for (name, rules) in [
        ("5.15.0-1051-aws", "B C"),
        ("5.4.0-1100-aws", "B C"),
        ("6.8.0-1010-azure", "B C"),
        ("5.10.223-212.873.amzn2.x86_64", "B C"),
        ("5.10.0-136.12.0.86.oe2203sp1.x86_64", "B C"),
        ("5.10.134-16.3.al8.x86_64", "B C"),
        ("5.14.21-150500.55.7-default", "B C"),
        ("5.14.0-503.11.1.el9_5.x86_64", "B C"),
        ("6.12.0-55.el10", "B C"),
        ("5.15.153.1-microsoft-standard-WSL2", "B C"),
        ("rocky9", "B C"),
        ("RHEL-9.4", "B C"),
        ("rhel10", "B C"),
        ("al2023", "B C"),
        ("openeuler22", "B C"),
        ("alinux3", "B C"),
        // Whatever else was added, mainline has it by then.
        ("6.17.0-1003-aws", "C"),
        // And these were read, or have what stable releases have.
        ("5.15.0-134-generic", "B"),
        ("5.15.0-135-lowlatency", "C"),
        ("rocky8", "B"),
        ("6.6.72-0-lts", "C"),
    ] {
        let kernel = by_name(name).unwrap_or_else(|e| panic!("{e}"));
        let mut possible: Vec<_> = kernel.possible().map(|k| k.features.regime()).collect();
        possible.sort_unstable();
        assert_eq!(possible.join(" "), rules, "{name}");
        assert!(possible.len() == 1 || kernel.doubt.is_some(), "{name}");
    }
}

#[test]
fn what_is_listed_is_known() {
    for (names, rule, _) in list() {
        for name in names.split(", ") {
            let kernel = by_name(&name.replace("ABI", "1")).unwrap_or_else(|e| panic!("{e}"));
            assert!(kernel.possible().any(|k| k.features.regime() == rule), "{name}");
        }
    }
}

#[test]
fn series_ascend() {
    assert!(SERIES.is_sorted_by_key(|s| s.from));
}
