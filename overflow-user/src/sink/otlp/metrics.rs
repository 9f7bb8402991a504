//! Families of the metrics page -> one request.

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    metrics::v1::{
        AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
        ResourceMetrics, ScopeMetrics, Sum, metric::Data, number_data_point::Value as Number,
    },
    resource::v1::Resource,
};

use super::{scope, text};
use crate::sink::metrics::{Families, Family, Kind, Sample, Value};

/// Since when counters count, and when they were read; nanoseconds of the UNIX epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) start_ns: u64,
    pub(super) now_ns: u64,
}

/// All metrics at one time.
pub(super) fn request(
    families: &Families,
    resource: &Resource,
    times: Times,
) -> ExportMetricsServiceRequest {
    let metrics = families.0.iter().filter_map(|family| metric(family, times)).collect();
    let scope_metrics =
        vec![ScopeMetrics { scope: Some(scope()), metrics, ..ScopeMetrics::default() }];
    let resource = Some(resource.clone());
    let resource_metrics =
        vec![ResourceMetrics { resource, scope_metrics, ..ResourceMetrics::default() }];
    ExportMetricsServiceRequest { resource_metrics }
}

fn metric(family: &Family, times: Times) -> Option<Metric> {
    let otlp = family.metric.otlp?;
    let numbers = || family.samples.iter().filter_map(|sample| point(sample, times)).collect();
    let aggregation_temporality = AggregationTemporality::Cumulative.into();
    let data = match family.metric.kind {
        Kind::Counter => {
            Data::Sum(Sum { data_points: numbers(), aggregation_temporality, is_monotonic: true })
        }
        Kind::Gauge | Kind::Info => Data::Gauge(Gauge { data_points: numbers() }),
        Kind::Histogram => {
            let points = family.samples.iter().filter_map(|sample| spread(sample, times));
            Data::Histogram(Histogram { data_points: points.collect(), aggregation_temporality })
        }
    };
    Some(Metric {
        name: otlp.name.to_owned(),
        description: family.metric.help.to_owned(),
        unit: otlp.unit.to_owned(),
        data: Some(data),
        ..Metric::default()
    })
}

fn point(sample: &Sample, times: Times) -> Option<NumberDataPoint> {
    let count = |n: u64| Number::AsInt(i64::try_from(n).unwrap_or(i64::MAX));
    let value = match sample.value {
        Value::Count(n) => count(n),
        Value::Seconds(seconds) => Number::AsDouble(seconds),
        Value::Gauge(n) => count(n.into()),
        Value::Info => count(1),
        Value::Histogram { .. } => return None,
    };
    Some(NumberDataPoint {
        attributes: attributes(sample),
        start_time_unix_nano: times.start_ns,
        time_unix_nano: times.now_ns,
        value: Some(value),
        ..NumberDataPoint::default()
    })
}

fn spread(sample: &Sample, times: Times) -> Option<HistogramDataPoint> {
    let Value::Histogram { buckets, sum } = &sample.value else { return None };
    let bucket_counts: Vec<u64> = buckets.iter().map(|(_, n)| *n).collect();
    Some(HistogramDataPoint {
        attributes: attributes(sample),
        start_time_unix_nano: times.start_ns,
        time_unix_nano: times.now_ns,
        count: bucket_counts.iter().sum(),
        sum: Some(*sum),
        bucket_counts,
        // The last bucket has no bound.
        explicit_bounds: buckets
            .iter()
            .map(|(bound, _)| *bound)
            .filter(|b| b.is_finite())
            .collect(),
        ..HistogramDataPoint::default()
    })
}

fn attributes(sample: &Sample) -> Vec<opentelemetry_proto::tonic::common::v1::KeyValue> {
    let labels = sample.labels.iter();
    labels.map(|(label, value)| text(label.otlp, value.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::metrics::catalog::{CATALOG, LISTENER};

    const TIMES: Times = Times { start_ns: 5, now_ns: 9 };

    fn sample(value: Value) -> Sample {
        Sample { labels: vec![(&LISTENER[1], "[::]:80".to_owned())], value }
    }

    fn one(name: &str, value: Value) -> Metric {
        let found = CATALOG.iter().find(|m| m.otlp.is_some_and(|otlp| otlp.name == name));
        let family = Family { metric: found.unwrap(), samples: vec![sample(value)] };
        let families = Families(vec![family]);
        let mut request = request(&families, &Resource::default(), TIMES);
        request.resource_metrics[0].scope_metrics[0].metrics.remove(0)
    }

    #[test]
    fn counters_add_up_from_the_start() {
        let metric = one("overflow.listener.full_time", Value::Seconds(1.5));
        assert_eq!(
            (metric.name.as_str(), metric.unit.as_str()),
            ("overflow.listener.full_time", "s")
        );
        let Some(Data::Sum(sum)) = metric.data else { panic!("{metric:?}") };
        assert!(sum.is_monotonic);
        assert_eq!(sum.aggregation_temporality(), AggregationTemporality::Cumulative);
        let point = &sum.data_points[0];
        assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (5, 9));
        assert_eq!(point.value, Some(Number::AsDouble(1.5)));
        assert_eq!(point.attributes, [text("overflow.listener", "[::]:80")]);
    }

    #[test]
    fn a_histogram_has_one_bound_less_than_buckets() {
        let buckets = vec![(0.1, 2), (0.2, 0), (f64::INFINITY, 1)];
        let metric = one("overflow.listener.queue_wait", Value::Histogram { buckets, sum: 0.7 });
        let Some(Data::Histogram(histogram)) = metric.data else { panic!("{metric:?}") };
        let point = &histogram.data_points[0];
        assert_eq!((point.count, point.sum), (3, Some(0.7)));
        assert_eq!(point.bucket_counts, [2, 0, 1]);
        assert_eq!(point.explicit_bounds, [0.1, 0.2]);
    }
}
