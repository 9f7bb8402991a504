//! Where to read what a kernel does: the public release whose source reads like it.

use super::{
    features::{Features, SynQueueTest, TimerWheel},
    kernels::Kernel,
    release::Release,
};

/// The tag of a mainline or stable release, `v5.10.223`: the kernel's own where its name is one, else the
/// first that decides as it does. What a distribution patched besides is not there to be read.
pub fn tag(kernel: &Kernel) -> String {
    own_tag(&kernel.name).unwrap_or_else(|| nearest_tag(&kernel.features).to_owned())
}

/// A page that shows where `function` is defined in the source of `tag`.
pub fn function_url(tag: &str, function: &str) -> String {
    format!("https://elixir.bootlin.com/linux/{tag}/C/ident/{function}")
}

/// Of a stable release's plain name.
fn own_tag(name: &str) -> Option<String> {
    let plain = name.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let release = Release::parse(name).filter(|_| plain)?;
    let patch = release.patch?;
    let Release { major, minor, .. } = release;
    Some(if patch == 0 { format!("v{major}.{minor}") } else { format!("v{major}.{minor}.{patch}") })
}

/// `tcp_conn_request()` is there since 1fb6f159fd21 (3.17), a SYN queue of its own until 4.4.
const fn nearest_tag(features: &Features) -> &'static str {
    let Features { syn_queue, young_rule, timer_wheel, somaxconn, syn_linear_timeouts, .. } =
        features;
    match (syn_queue, young_rule, *syn_linear_timeouts) {
        (SynQueueTest::MaxQlenLog, ..) => "v3.18",
        (SynQueueTest::AtBacklog, true, _) => match timer_wheel {
            TimerWheel::Cascading => "v4.4",
            TimerWheel::Bucketed => "v4.8",
        },
        (SynQueueTest::AtBacklog, false, 0) => match (timer_wheel, *somaxconn) {
            (TimerWheel::Cascading, _) => "v4.4.178",
            (TimerWheel::Bucketed, 128) => "v4.15",
            (TimerWheel::Bucketed, _) => "v5.4",
        },
        (SynQueueTest::AtBacklog, false, _) => "v6.6",
        (SynQueueTest::AboveBacklog, _, 0) => "v5.10.234",
        (SynQueueTest::AboveBacklog, ..) => "v6.13",
    }
}

#[cfg(test)]
mod tests {
    use super::{super::kernels::by_name, *};

    #[test]
    fn a_tag_decides_as_the_kernel_does() {
        for (name, wanted) in [
            ("centos7", "v3.18"),
            ("ubuntu16.04", "v4.4.178"),
            ("ubuntu18.04", "v4.15"),
            ("debian11", "v5.10.234"),
            ("ubuntu24.04", "v6.13"),
            ("5.10.223", "v5.10.223"),
            ("6.13.0", "v6.13"),
            ("5.4.0-216-generic", "v5.10.234"),
            ("6.6", "v6.13"),
        ] {
            assert_eq!(tag(&by_name(name).unwrap()), wanted, "{name}");
        }
        // What the tag names is, by the same table, a kernel of the same rule.
        for (name, ..) in super::super::kernels::list() {
            for name in name.split(", ").filter(|name| !name.contains("ABI")) {
                let kernel = by_name(name).unwrap();
                let tag = nearest_tag(&kernel.features).trim_start_matches('v');
                if tag != "3.18" {
                    let tag = by_name(&format!(
                        "{tag}{}",
                        if tag.matches('.').count() < 2 { ".0" } else { "" }
                    ));
                    assert_eq!(tag.unwrap().features, kernel.features, "{name}");
                }
            }
        }
    }
}
