//! A storm: hundreds of thousands of segments that the queues drop, from many addresses, while a
//! tool traces.

use std::{
    collections::BTreeMap,
    fs::File,
    io::BufReader,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use guest_bench::storm::{COUNTERS, Storm, StormReport};

use crate::{
    load::{self, Times, WAYS},
    net::{self, Wire},
    tool::{self, Running},
    tool_output,
};

/// How long a tool may make nothing new until it counts as attached.
const SETTLE: Duration = Duration::from_millis(1500);
/// Of all segments, so many in ten are SYNs that meet a full accept queue; the other ways share the
/// rest.
const SYNS_IN_TEN: usize = 6;

/// Starts the tool, sends the segments, stops the tool and reports what both sides counted.
pub fn storm(storm: &Storm) -> Result<StormReport> {
    let mut wires = vec![Wire::new()?];
    wires[0].spread()?;
    for number in 1..storm.threads {
        wires.push(Wire::another(number)?);
    }
    let running = Running::start(&storm.tool, SETTLE, true)?;
    running.forget_peak()?;
    let before = running.memory()?;
    let counted = net::counters(COUNTERS)?;
    let begun = Instant::now();
    let sent = send_all(&mut wires, storm.syns)?;
    let took_ns = u64::try_from(begun.elapsed().as_nanos())?;
    let counters = COUNTERS.iter().zip(net::counters(COUNTERS)?).zip(counted);
    let counters = counters.map(|((name, after), before)| ((*name).to_owned(), after - before));
    let counters = counters.collect();
    thread::sleep(Duration::from_millis(storm.rest_ms));
    let after = running.memory()?;
    let stderr = running.stop()?.stderr;
    let stdout = File::open(tool::STDOUT).context("the tool's output is not there")?;
    let output = tool_output::read(BufReader::new(stdout))
        .with_context(|| format!("its standard error ends with: {stderr}"))?;
    Ok(StormReport { sent, counters, output, before, after, took_ns, stderr })
}

/// Every way to overflow, one after the other; how many segments of each.
fn send_all(wires: &mut [Wire], all: usize) -> Result<BTreeMap<String, u64>> {
    let syns = all / 10 * SYNS_IN_TEN;
    let each = (all - syns) / (WAYS.len() - 1);
    let mut sent = BTreeMap::new();
    let mut times = Times::default();
    for (number, (verdict, work)) in WAYS.into_iter().enumerate() {
        let n = match wires {
            [first, others @ ..] if number == 0 && !others.is_empty() => {
                together(first, others, syns)?
            }
            [first, ..] => work(first, if number == 0 { syns } else { each }, &mut times)?,
            [] => return Err(anyhow!("there is no wire")),
        };
        sent.insert(verdict.to_owned(), n as u64);
    }
    Ok(sent)
}

/// SYNs to a full accept queue, from several processors at once.
fn together(first: &mut Wire, others: &mut [Wire], n: usize) -> Result<usize> {
    let each = n / (1 + others.len());
    let syns = |wire: &mut Wire| (0..each).try_for_each(|_| wire.syn().map(drop));
    load::while_full(first, each * (1 + others.len()), |first| {
        thread::scope(|scope| {
            let threads: Vec<_> =
                others.iter_mut().map(|wire| scope.spawn(move || syns(wire))).collect();
            syns(first)?;
            let ended =
                threads.into_iter().map(|t| t.join().map_err(|_| anyhow!("it panicked"))?);
            ended.collect()
        })
    })
}
