//! What a process's control group says of it: container, pod, systemd unit. Pure.

use serde::{Deserialize, Serialize};

use crate::text::Untrusted;

/// A process's place in the control groups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cgroup {
    /// Path below the hierarchy's root; empty where the process is in the root, or where a cgroup
    /// namespace hides the rest.
    #[serde(default, skip_serializing_if = "Untrusted::is_empty")]
    pub path: Untrusted,
    /// systemd unit: `nginx.service`, `foo.socket`; none for a container's scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Untrusted>,
    /// The container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
    /// Kubernetes pod UID, with dashes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Untrusted>,
}

/// A container as its runtime names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// `docker`, `containerd`, `cri-o`, `podman`, `lxc`, `nspawn`, `ecs`; `kubernetes` where the
    /// path names only the pod's side.
    pub runtime: Untrusted,
    /// The whole id, or the name where the runtime has no ids.
    pub id: Untrusted,
}

impl Container {
    /// The id as the runtime's own tools shorten it: 12 characters.
    pub fn short_id(&self) -> Untrusted {
        let id = self.id.verbatim();
        if is_id(id) { Untrusted::new(&id[..12]) } else { self.id.clone() }
    }
}

/// Reads `/proc/PID/cgroup`: `hierarchy:controllers:path` a line, v2 as hierarchy 0.
pub fn parse(text: &str) -> Cgroup {
    let mut rows: Vec<(&str, &str, &str)> = text
        .lines()
        .filter_map(|line| {
            let mut parts = line.splitn(3, ':');
            Some((parts.next()?, parts.next()?, parts.next()?))
        })
        .collect();
    // The hierarchy that systemd keeps is the one that names units; on hybrid hosts v2 is empty.
    rows.sort_by_key(|(id, controllers, _)| match (*id, *controllers) {
        ("0", _) => 0,
        (_, "name=systemd") => 1,
        _ => 2,
    });
    let paths = || rows.iter().map(|(_, _, path)| path.trim_end_matches('/'));
    let path = paths().find(|p| !p.is_empty()).unwrap_or("").into();
    let container = paths().find_map(container);
    let unit = if container.is_some() { None } else { paths().find_map(unit) };
    Cgroup { path, unit, container, pod: paths().find_map(pod) }
}

/// The innermost component that is a container's.
fn container(path: &str) -> Option<Container> {
    let components: Vec<&str> = path.split('/').filter(|c| !c.is_empty()).collect();
    components.iter().enumerate().rev().find_map(|(i, component)| {
        let parent = i.checked_sub(1).map_or("", |p| components[p]);
        component_container(component, parent, path)
    })
}

fn component_container(component: &str, parent: &str, path: &str) -> Option<Container> {
    let found =
        |runtime: &str, id: &str| Some(Container { runtime: runtime.into(), id: id.into() });
    // containerd with the systemd driver, started without a slice: `…slice:cri-containerd:ID`.
    let mut by_colon = component.rsplitn(3, ':');
    if let (Some(id), Some(prefix), Some(_)) = (by_colon.next(), by_colon.next(), by_colon.next())
        && is_id(id)
    {
        return found(runtime(prefix)?, id);
    }
    let name = component.strip_suffix(".scope").unwrap_or(component);
    if let Some((prefix, id)) = name.rsplit_once('-')
        && is_id(id)
    {
        // `crio-conmon-ID` and `libpod-conmon-ID` hold the monitor, not the container.
        return found(runtime(prefix)?, id);
    }
    if let Some(machine) = name.strip_prefix("machine-").filter(|_| name != component) {
        return found("nspawn", &unescape(machine));
    }
    if let Some(payload) = name.strip_prefix("lxc.payload.") {
        return found("lxc", payload);
    }
    if parent == "lxc" || parent == "lxc.payload" {
        return found("lxc", name);
    }
    if !is_id(name) {
        return None;
    }
    let runtime = if path.contains("/kubepods") {
        "kubernetes"
    } else if parent == "docker" || path.contains("/docker/") {
        "docker"
    } else if parent == "libpod_parent" {
        "podman"
    } else if path.contains("/ecs/") {
        "ecs"
    } else {
        "containerd"
    };
    found(runtime, name)
}

/// The runtime that names its scopes so.
fn runtime(prefix: &str) -> Option<&'static str> {
    Some(match prefix {
        "docker" => "docker",
        "cri-containerd" | "containerd" | "nerdctl" => "containerd",
        "crio" => "cri-o",
        "libpod" => "podman",
        _ => return None,
    })
}

/// 64 hexadecimal digits.
fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The innermost `.service`, `.socket` or `.scope`.
fn unit(path: &str) -> Option<Untrusted> {
    let is_unit =
        |c: &&str| [".service", ".socket", ".scope"].iter().any(|suffix| c.ends_with(suffix));
    path.rsplit('/').find(is_unit).map(|name| unescape(name).as_str().into())
}

/// `kubepods-burstable-pod1234_5678.slice` of the systemd driver, `pod1234-5678` of cgroupfs.
fn pod(path: &str) -> Option<Untrusted> {
    path.split(['/', ':']).find_map(|component| {
        let name = component.strip_suffix(".slice").unwrap_or(component);
        let uid = match name.rsplit_once("-pod") {
            Some((before, uid)) if before.starts_with("kubepods") => uid,
            _ => name.strip_prefix("pod")?,
        };
        let uid = uid.replace('_', "-");
        // A UID has 36 characters; a static pod's is the hash of its manifest, 32.
        (uid.len() >= 32).then(|| uid.as_str().into())
    })
}

/// systemd escapes in unit names: `\x2d` is a dash.
fn unescape(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.find("\\x") {
        let (plain, escaped) = rest.split_at(at);
        out.push_str(plain);
        match escaped.get(2..4).and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if byte.is_ascii() => {
                out.push(char::from(byte));
                rest = &escaped[4..];
            }
            _ => {
                out.push_str("\\x");
                rest = &escaped[2..];
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn check(text: &str, unit: Option<&str>, container: Option<&str>, pod: Option<&str>) {
        let cgroup = parse(&text.replace("ID", ID));
        let shown = cgroup.container.as_ref().map(|c| format!("{} {}", c.runtime, c.short_id()));
        assert_eq!(cgroup.unit.as_ref().map(Untrusted::verbatim), unit, "{text}");
        assert_eq!(shown.as_deref(), container, "{text}");
        assert_eq!(cgroup.pod.as_ref().map(Untrusted::verbatim), pod, "{text}");
    }

    #[test]
    fn services() {
        check("0::/system.slice/nginx.service\n", Some("nginx.service"), None, None);
        check("0::/init.scope\n", Some("init.scope"), None, None);
        check(
            "0::/system.slice/system-getty.slice/getty@tty1.service",
            Some("getty@tty1.service"),
            None,
            None,
        );
        check(
            "0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-my\\x2dapp.service",
            Some("app-my-app.service"),
            None,
            None,
        );
        check("0::/\n", None, None, None);
        check("", None, None, None);
    }

    #[test]
    fn the_first_version_names_the_unit_in_the_hierarchy_of_systemd() {
        let text = "12:cpu,cpuacct:/system.slice\n3:memory:/x\n1:name=systemd:/system.slice/sshd.service\n0::/\n";
        check(text, Some("sshd.service"), None, None);
        assert_eq!(parse(text).path, *"/system.slice/sshd.service");
    }

    #[test]
    fn containers_without_an_orchestrator() {
        let docker = Some("docker 0123456789ab");
        check("0::/system.slice/docker-ID.scope\n", None, docker, None);
        check("0::/docker/ID\n", None, docker, None);
        check("0::/docker/ID/init.scope\n", None, docker, None);
        check("1:name=systemd:/docker/ID\n0::/\n", None, docker, None);
        let podman = Some("podman 0123456789ab");
        check("0::/machine.slice/libpod-ID.scope/container\n", None, podman, None);
        check(
            "0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope",
            None,
            podman,
            None,
        );
        check("0::/libpod_parent/libpod-ID", None, podman, None);
        check("0::/system.slice/nerdctl-ID.scope", None, Some("containerd 0123456789ab"), None);
        check("0::/lxc/web1/init.scope", None, Some("lxc web1"), None);
        check("0::/lxc.payload.web1/system.slice/a.service", None, Some("lxc web1"), None);
        check("0::/machine.slice/machine-deb\\x2d12.scope", None, Some("nspawn deb-12"), None);
        check("9:cpu:/ecs/task-1/ID\n", None, Some("ecs 0123456789ab"), None);
    }

    #[test]
    fn a_monitor_is_not_the_container() {
        let text = "0::/machine.slice/libpod-conmon-ID.scope\n";
        check(&text.replace("ID", ID), Some(&format!("libpod-conmon-{ID}.scope")), None, None);
    }

    #[test]
    fn pods() {
        let uid = Some("8b1f3a1c-5a0f-4e8e-9c1d-1f2e3d4c5b6a");
        check(
            "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod8b1f3a1c_5a0f_4e8e_9c1d_1f2e3d4c5b6a.slice/cri-containerd-ID.scope\n",
            None,
            Some("containerd 0123456789ab"),
            uid,
        );
        check(
            "0::/kubepods.slice/kubepods-pod8b1f3a1c_5a0f_4e8e_9c1d_1f2e3d4c5b6a.slice/crio-ID.scope",
            None,
            Some("cri-o 0123456789ab"),
            uid,
        );
        check(
            "11:memory:/kubepods/besteffort/pod8b1f3a1c-5a0f-4e8e-9c1d-1f2e3d4c5b6a/ID\n",
            None,
            Some("kubernetes 0123456789ab"),
            uid,
        );
        check(
            "1:name=systemd:/system.slice/containerd.service/kubepods-besteffort-pod8b1f3a1c_5a0f_4e8e_9c1d_1f2e3d4c5b6a.slice:cri-containerd:ID\n",
            None,
            Some("containerd 0123456789ab"),
            uid,
        );
        check("0::/kubelet.slice/kubelet.service", Some("kubelet.service"), None, None);
    }
}
