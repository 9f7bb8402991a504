//! A soak: a burst of everything in each second, for a long time, while a tool traces.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use guest_bench::soak::{Soak, SoakReport};

use crate::{
    load::{self, Times, WAYS},
    net::{self, Wire},
    tool::Running,
};

/// How long a tool may make nothing new until it counts as attached.
const SETTLE: Duration = Duration::from_millis(1500);
/// Healthy handshakes in each burst, and segments of each way to overflow.
const HEALTHY: usize = 20;
const EACH: usize = 8;
/// Listeners take turns on so many ports; each is opened and closed anew with each burst.
const FIRST_PORT: u16 = 8000;
const PORTS: u64 = 100;
/// Seconds between readings of the metrics.
const SCRAPE: u64 = 15;
const OVERFLOWS: &str = "overflow_listener_overflows_total";

/// Starts the tool, drives the load and reports what the tool had in memory.
pub fn soak(soak: &Soak) -> Result<SoakReport> {
    let mut wire = Wire::new()?;
    wire.spread()?;
    let mut running = Running::start(&soak.tool, SETTLE, true)?;
    let mut report = SoakReport { samples: vec![running.memory()?], ..SoakReport::default() };
    let before = net::listen_overflows()?;
    let begun = Instant::now();
    for second in 0..soak.minutes * 60 {
        burst(&mut wire, second, &mut report.load)?;
        if second % SCRAPE == SCRAPE - 1 {
            // What happened in this second is in the metrics of the next.
            report.metrics_overflows = overflows(&scrape(&soak.metrics)?);
            report.scrapes += 1;
        }
        thread::sleep(Duration::from_secs(second + 1).saturating_sub(begun.elapsed()));
        if second % 60 == 59 {
            report.samples.push(running.memory()?);
            report.lines = running.consumed()?.lines;
        }
    }
    thread::sleep(Duration::from_secs(2));
    report.metrics_overflows = overflows(&scrape(&soak.metrics)?);
    report.overflows = net::listen_overflows()? - before;
    report.lines = running.consumed()?.lines;
    report.stderr = running.stop()?.stderr;
    Ok(report)
}

/// Healthy handshakes, then every way to overflow, each at a listener of its own.
fn burst(wire: &mut Wire, second: u64, sums: &mut BTreeMap<String, u64>) -> Result<()> {
    wire.aim(FIRST_PORT + u16::try_from(second % PORTS)?);
    load::handshakes(wire, HEALTHY)?;
    *sums.entry("healthy handshakes".to_owned()).or_default() += HEALTHY as u64;
    let mut times = Times::default();
    for (verdict, work) in WAYS {
        *sums.entry(verdict.to_owned()).or_default() += work(wire, EACH, &mut times)? as u64;
    }
    Ok(())
}

/// The metrics, as Prometheus would read them.
fn scrape(address: &str) -> Result<String> {
    let context = || format!("cannot read the metrics at {address}");
    let mut stream = TcpStream::connect(address).with_context(context)?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).with_context(context)?;
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).with_context(context)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).with_context(context)?;
    anyhow::ensure!(answer.starts_with("HTTP/1.1 200"), "{}: {answer:.100}", context());
    Ok(answer)
}

/// The sum of the counter over all listeners.
fn overflows(metrics: &str) -> u64 {
    let lines = metrics.lines().filter(|line| line.starts_with(OVERFLOWS));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_summed_over_listeners() {
        let text = "# TYPE overflow_listener_overflows counter\n\
            overflow_listener_overflows_total{listener=\"10.99.0.1:8000\"} 7\n\
            overflow_listener_overflows_total{listener=\"10.99.0.1:8001\"} 5\n\
            overflow_listener_phantoms_total{listener=\"10.99.0.1:8001\"} 3\n";
        assert_eq!(overflows(text), 12);
    }
}
