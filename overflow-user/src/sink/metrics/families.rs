//! The catalog with the numbers of one second: metric families.

use super::{
    catalog::{CATALOG, Exact, LISTENER, Label, Labelled, Metric, Reading, Source, Value},
    rows::{ListenerLabels, Row},
};

/// A metric with all its samples.
#[derive(Clone, Debug)]
pub struct Family {
    /// Which.
    pub metric: &'static Metric,
    /// Never none.
    pub samples: Vec<Sample>,
}

/// One number.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Labels and their values.
    pub labels: Vec<(&'static Label, String)>,
    /// The number.
    pub value: Value,
}

/// Families in the order of the page.
#[derive(Clone, Debug, Default)]
pub struct Families(pub Vec<Family>);

impl Families {
    pub(super) fn new(reading: &Reading<'_>, rows: &[Row]) -> Self {
        let known = |metric: &&Metric| reading.snapshot.accepts || metric.exact != Exact::Accept;
        let families = CATALOG
            .iter()
            .filter(known)
            .map(|metric| Family { metric, samples: samples(metric, reading, rows) });
        Self(families.filter(|family| !family.samples.is_empty()).collect())
    }
}

fn samples(metric: &'static Metric, reading: &Reading<'_>, rows: &[Row]) -> Vec<Sample> {
    let own =
        |labels: &mut Vec<_>, values: Vec<String>| labels.extend(metric.labels.iter().zip(values));
    match metric.source {
        Source::Listener(read) => rows
            .iter()
            .filter_map(|row| Some(Sample { labels: labels(&row.labels), value: read(row)? }))
            .collect(),
        Source::ListenerBy(read) => {
            let sample = |row: &Row, (values, value): Labelled| {
                let mut labels = labels(&row.labels);
                own(&mut labels, values);
                Sample { labels, value }
            };
            rows.iter().flat_map(|row| read(row).into_iter().map(|l| sample(row, l))).collect()
        }
        Source::Trace(read) => {
            let sample = |(values, value): Labelled| {
                let mut labels = Vec::new();
                own(&mut labels, values);
                Sample { labels, value }
            };
            read(reading).into_iter().map(sample).collect()
        }
    }
}

/// An unknown one is left out: to Prometheus an empty label and a missing one are the same.
fn labels(of: &ListenerLabels) -> Vec<(&'static Label, String)> {
    let netns = of.netns.map(|n| n.to_string()).unwrap_or_default();
    let values = [&netns, &of.listener, &of.inode, &of.process, &of.container, &of.pod_uid];
    let known = LISTENER.iter().zip(values).filter(|(_, value)| !value.is_empty());
    known.map(|(label, value)| (label, value.clone())).collect()
}
