//! The lab against what must come out: runs it here or in a VM and judges its JSON lines.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result};
use guest_init::plan::Job;
use overflow_core::wire::Known;

use crate::{
    exec,
    expected::{Cell, Group, SCENARIOS, Scenario},
    lines::{self, Connection, Stage},
    needs::{Needs, Verdict},
    progress,
    test::Checks,
    vm::{JobOutput, Vm},
    workspace,
};

/// The lab on this kernel, which may not allow every hook. What it needs is looked for beforehand:
/// the lab itself goes on without tracing, and infers.
pub fn native(overflow: &Path, here: &dyn Needs) -> Result<Checks> {
    let mut checks = Checks::default();
    for need in ["root", "network namespaces"] {
        if let Verdict::Lacking(why) = here.look(need) {
            checks.skip("the lab on this kernel", &format!("needs {need}: {why}"));
            return Ok(checks);
        }
    }
    let tracing = here.look("tracing");
    for scenario in SCENARIOS {
        let limit = Duration::from_mins(5);
        let out = exec::capture_within(Command::new(overflow).args(argv(scenario)), limit)?;
        let code = out.status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(255);
        let output = JobOutput { stdout: out.stdout, stderr: out.stderr, code, files: Vec::new() };
        judge("native", scenario, &output, &[Known::Traced, Known::Inferred], &mut checks)?;
        hooked(scenario.name, &output, &tracing, &mut checks);
    }
    Ok(checks)
}

/// Whether any hook was in use, where the kernel lets one attach.
fn hooked(name: &str, output: &JobOutput, tracing: &Verdict, checks: &mut Checks) {
    let hooks = lines::read(&output.stdout).map_or(0, |lines| lines::hooks(&lines).count());
    match tracing {
        Verdict::Lacking(why) => {
            checks.skip(&format!("tracing, native, {name}"), &format!("needs tracing: {why}"));
        }
        Verdict::Here | Verdict::Unknown(_) => checks.check(hooks > 0, || {
            format!("native, {name}: no hook was in use, although this kernel allows tracing")
        }),
    }
}

/// The lab in a VM, whose kernel allows every hook: all in one boot.
pub fn vm(vm: &Vm) -> Result<Checks> {
    let job = |scenario| {
        let argv = std::iter::once("overflow").chain(argv(scenario)).map(str::to_owned).collect();
        Job { argv, ..Job::default() }
    };
    let jobs: Vec<_> = SCENARIOS.iter().map(job).collect();
    let version = &vm.image().name();
    progress::note(&format!("booting {}", vm.image().release));
    let outputs = vm.run(&jobs, &mut |_, _, _| false)?;
    let mut checks = Checks::default();
    for (scenario, output) in SCENARIOS.iter().zip(&outputs) {
        judge(version, scenario, output, &[Known::Traced], &mut checks)?;
    }
    Ok(checks)
}

fn argv(scenario: &Scenario) -> impl Iterator<Item = &'static str> {
    ["lab", "--output", "json"].into_iter().chain(scenario.args.iter().copied())
}

/// Whether the connection belongs to the group.
fn is(connection: &Connection, group: &Group) -> bool {
    let decisive = |stage: &Stage| {
        let read = stage.values.abort_on_overflow_read;
        // What was not seen says nothing of what was read.
        let unseen = read.is_none() && stage.known == Known::Inferred;
        stage.id.is_under(group.handshake)
            && group.abort_read.is_none_or(|wanted| read == Some(wanted) || unseen)
    };
    connection.stages.first().is_some_and(|stage| stage.id.as_str() == group.first)
        && lines::handshake(connection).any(decisive)
        && group.outcome.is_none_or(|wanted| {
            connection.outcome.is_some_and(|outcome| outcome.as_str() == wanted)
        })
}

fn judge(
    place: &str,
    scenario: &Scenario,
    output: &JobOutput,
    known: &[Known],
    checks: &mut Checks,
) -> Result<()> {
    let log = keep(place, scenario.name, output)?;
    let at = format!("{place}, {}", scenario.name);
    checks.check(output.code == 0, || {
        format!("{at}: exit status {}: {}", output.code, exec::complaint(&output.stderr))
    });
    let connections = match lines::read(&output.stdout) {
        Ok(lines) => lines::connections(&lines).cloned().collect(),
        Err(e) => {
            checks.check(false, || format!("{at}: {e:#}"));
            Vec::new()
        }
    };
    for cell in scenario.cells {
        judge_cell(&at, cell, &connections, checks);
    }

    let disagreeing = connections.iter().find(|line| line.agree != Some(true));
    checks.check(disagreeing.is_none() && !connections.is_empty(), || {
        let why = disagreeing.map(|line| {
            let why = line.disagreement.as_deref().unwrap_or("no reason given");
            format!("{}: {why}", line.client)
        });
        let why = why.unwrap_or_else(|| "there are no connections".to_owned());
        format!("{at}: witnesses must agree on every connection: {why}; see {log}")
    });
    let stages = || connections.iter().flat_map(|line| &line.stages);
    let weaker = stages().find(|stage| !known.contains(&stage.known));
    checks.check(weaker.is_none() && stages().next().is_some(), || {
        let what = weaker.map_or_else(
            || "there are no stages".to_owned(),
            |s| {
                let why = s.why.as_deref().unwrap_or("no reason");
                format!("{} is {} ({why})", s.id, s.known.as_str())
            },
        );
        let known: Vec<_> = known.iter().map(|known| known.as_str()).collect();
        format!("{at}: every stage must be {}: {what}; see {log}", known.join(" or "))
    });
    Ok(())
}

/// Each group is a check, and so is that there is nobody else in the burst.
fn judge_cell(at: &str, cell: &Cell, connections: &[Connection], checks: &mut Checks) {
    let burst: Vec<_> = connections
        .iter()
        .filter(|line| lines::in_burst(line))
        .filter(|line| {
            let rest = line.run.as_deref().and_then(|run| run.strip_prefix(cell.run));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(','))
        })
        .collect();
    let histories = || burst.iter().map(|line| lines::history(line)).collect::<Vec<_>>().join(", ");
    let at = format!("{at}, {}", cell.run);
    // A group takes only whom no earlier group has taken.
    let mut left = burst.clone();
    for group in cell.burst {
        let (members, others): (Vec<_>, Vec<_>) = left.into_iter().partition(|l| is(l, group));
        left = others;
        checks.check(members.len() == group.count, || {
            format!(
                "{at}: expected {} × {}, found {}; the burst: {}",
                group.count,
                group.handshake,
                members.len(),
                histories()
            )
        });
    }
    checks.check(left.is_empty() && !burst.is_empty(), || {
        format!(
            "{at}: {} of {} connections are unexpected: {}",
            left.len(),
            burst.len(),
            histories()
        )
    });
}

/// Keeps the lab's output for whoever has to find out; the path of its JSON lines.
fn keep(place: &str, name: &str, output: &JobOutput) -> Result<String> {
    let dir = workspace::target().join("test").join(place);
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let path = dir.join(format!("{name}.jsonl"));
    fs::write(&path, &output.stdout).with_context(|| format!("cannot write {}", path.display()))?;
    fs::write(dir.join(format!("{name}.stderr")), &output.stderr)?;
    Ok(path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expected::{ACCEPTED, COOKIE_DROPPED, group};
    use overflow_core::verdict::VerdictId;

    fn dropped(read: bool) -> Connection {
        let line = format!(
            r#"{{"v":1,"run":"abort=1,syncookies=1","phase":"burst","agree":true,
            "client":"10.7.0.2:1","server":"10.7.0.1:80","t0_ns":0,
            "stages":[{{"id":"syn.cookie","t_ns":0,"known":"traced"}},
            {{"id":"ack.drop.overflow.cookie","t_ns":1,"known":"traced",
            "values":{{"abort_on_overflow_read":{read}}}}},
            {{"id":"later.phantom","t_ns":2,"known":"traced"}}],"outcome":"later.phantom"}}"#
        );
        serde_json::from_str(&line).unwrap()
    }

    fn failures(cell: &Cell, connections: &[Connection]) -> usize {
        let mut checks = Checks::default();
        judge_cell("", cell, connections, &mut checks);
        checks.failed()
    }

    #[test]
    fn a_burst_must_be_whole_and_right() {
        let cell = Cell { run: "abort=1,syncookies=1", burst: &[COOKIE_DROPPED] };
        let three = || [dropped(false), dropped(false), dropped(false)];
        assert_eq!(failures(&cell, &three()), 0);
        assert_eq!(failures(&cell, &three()[..2]), 1);
        assert_eq!(failures(&cell, &[]), 2);
        let [a, b, _] = three();
        assert_eq!(failures(&cell, &[a, b, dropped(true)]), 2);
        let [a, b, mut c] = three();
        c.run = Some("abort=1,syncookies=0".into());
        assert_eq!(failures(&cell, &[a, b, c]), 1);
    }

    #[test]
    fn a_lab_that_could_trace_must() {
        let run = |hooks: &str| {
            JobOutput {
            stdout: format!(
                r#"{{"type":"run","v":1,"tool":"","kernel":"","distro":null,"hooks":[{hooks}],"notes":[]}}"#
            )
            .into(),
            ..JobOutput::default()
        }
        };
        let counted = |hooks: &str, tracing: Verdict| {
            let mut checks = Checks::default();
            hooked("seed", &run(hooks), &tracing, &mut checks);
            checks.counts()
        };
        let hook = r#"{"moment":"SYN","rung":"fentry","hook":"fexit:tcp_conn_request"}"#;
        assert_eq!(counted(hook, Verdict::Here), "1 passed, 0 failed, 0 skipped");
        assert_eq!(counted("", Verdict::Here), "0 passed, 1 failed, 0 skipped");
        let lacking = Verdict::Lacking("no BTF".to_owned());
        assert_eq!(counted("", lacking), "0 passed, 0 failed, 1 skipped");
    }

    #[test]
    fn only_a_traced_path_must_say_what_it_read() {
        let mut cut = dropped(false);
        cut.stages[1].values.to_mut().abort_on_overflow_read = None;
        assert!(!is(&cut, &COOKIE_DROPPED));
        cut.stages[1].known = Known::Inferred;
        assert!(is(&cut, &COOKIE_DROPPED));
        cut.stages[1].values.to_mut().abort_on_overflow_read = Some(true);
        assert!(!is(&cut, &COOKIE_DROPPED));
    }

    #[test]
    fn an_overflow_of_a_cookie_is_not_taken_for_one_of_a_request() {
        assert!(!is(&dropped(false), &group(1, "syn.queued", "ack.drop.overflow")));
        assert!(VerdictId::AckAcceptedCookie.is_under(ACCEPTED));
        assert!(!VerdictId::AckDropOther.is_under(ACCEPTED));
    }
}
