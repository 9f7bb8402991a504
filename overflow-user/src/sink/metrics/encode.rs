//! Families -> the text that is scraped, in either of its two formats.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text},
    metrics::{MetricType, exemplar::Exemplar},
    registry::{Registry, Unit},
};

use overflow_core::text::untrusted::escape;

use super::{
    catalog::{Kind, PREFIX, Value},
    families::{Families, Sample},
};

/// A format of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// What Prometheus had before, and most other scrapers read.
    Classic,
}

impl Format {
    /// The better one of those that an `Accept` header names.
    pub(super) fn accepted(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") {
            Self::OpenMetrics
        } else {
            Self::Classic
        }
    }

    /// As an answer's `Content-Type`.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// The page.
pub(super) fn encode(families: &Families, format: Format) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(families.clone()));
    let mut page = String::new();
    text::encode(&mut page, &registry)?;
    Ok(match format {
        Format::OpenMetrics => page,
        Format::Classic => classic(&page),
    })
}

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for family in &self.0 {
            let metric = family.metric;
            let unit = metric.seconds.then_some(Unit::Seconds);
            let kind = kind(metric.kind);
            let mut metric =
                encoder.encode_descriptor(metric.name, metric.help, unit.as_ref(), kind)?;
            for sample in &family.samples {
                write(&mut metric, sample)?;
            }
        }
        Ok(())
    }
}

fn kind(kind: Kind) -> MetricType {
    match kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
        Kind::Info => MetricType::Info,
        Kind::Histogram => MetricType::Histogram,
    }
}

fn write(metric: &mut MetricEncoder<'_>, sample: &Sample) -> fmt::Result {
    let labels: Vec<(&str, String)> =
        sample.labels.iter().map(|(label, value)| (label.name, escaped(value))).collect();
    if sample.value == Value::Info {
        return metric.encode_info(&labels);
    }
    let none: Option<&Exemplar<NoLabelSet, f64>> = None;
    if labels.is_empty() {
        return number(metric, &sample.value, none);
    }
    number(&mut metric.encode_family(&labels)?, &sample.value, none)
}

/// The library writes values as they are.
fn escaped(value: &str) -> String {
    escape(value).replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n")
}

fn number(
    metric: &mut MetricEncoder<'_>,
    value: &Value,
    exemplar: Option<&Exemplar<NoLabelSet, f64>>,
) -> fmt::Result {
    match value {
        Value::Count(count) => metric.encode_counter(count, exemplar),
        Value::Seconds(seconds) => metric.encode_counter(seconds, exemplar),
        Value::Gauge(now) => metric.encode_gauge(now),
        Value::Info => Ok(()),
        Value::Histogram { buckets, sum } => {
            let count = buckets.iter().map(|(_, n)| n).sum();
            // The library writes this bound as +Inf.
            let finite = |bound: f64| bound.min(f64::MAX);
            let buckets: Vec<_> = buckets.iter().map(|(bound, n)| (finite(*bound), *n)).collect();
            metric.encode_histogram::<NoLabelSet>(*sum, count, &buckets, None)
        }
    }
}

/// OpenMetrics names a counter's family without `_total`, has units, and says where it ends; the
/// older format knows none of it. The samples are the same.
fn classic(page: &str) -> String {
    let mut text = String::with_capacity(page.len());
    let mut help = "";
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ').map_or("", |(_, help)| help);
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let (suffix, kind) = match kind {
                "counter" => (Kind::Counter.suffix(), kind),
                "info" => (Kind::Info.suffix(), "gauge"),
                same => ("", same),
            };
            for part in
                ["# HELP ", name, suffix, " ", help, "\n# TYPE ", name, suffix, " ", kind, "\n"]
            {
                text.push_str(part);
            }
        } else if !line.starts_with("# ") {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}
