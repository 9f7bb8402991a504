//! The metrics of one export, as a collector gets them.

use std::fmt::Write;

use opentelemetry_proto::tonic::{
    common::v1::{KeyValue, any_value::Value},
    metrics::v1::{Metric, metric::Data, number_data_point::Value as Number},
    resource::v1::Resource,
};

use super::metrics::{Times, request};
use crate::sink::metrics::tests::{expect, shared};

fn attributes(attributes: &[KeyValue]) -> String {
    let texts = attributes.iter().map(|attribute| {
        let Some(Value::StringValue(value)) = &attribute.value.as_ref().unwrap().value else {
            panic!("{attribute:?}")
        };
        format!("{}={value}", attribute.key)
    });
    texts.collect::<Vec<_>>().join(" ")
}

fn dump(text: &mut String, metric: &Metric) {
    let Metric { name, description, unit, .. } = metric;
    let (numbers, spreads, kind) = match metric.data.as_ref().unwrap() {
        Data::Sum(sum) => {
            let kind =
                format!("{:?} monotonic={}", sum.aggregation_temporality(), sum.is_monotonic);
            (&sum.data_points[..], &[][..], kind)
        }
        Data::Gauge(gauge) => (&gauge.data_points[..], &[][..], "Gauge".to_owned()),
        Data::Histogram(histogram) => {
            let kind = format!("{:?} histogram", histogram.aggregation_temporality());
            (&[][..], &histogram.data_points[..], kind)
        }
        other => panic!("{other:?}"),
    };
    writeln!(text, "{name} {unit} {kind}: {description}").unwrap();
    for point in numbers {
        let value = match point.value.unwrap() {
            Number::AsInt(n) => n.to_string(),
            Number::AsDouble(x) => format!("{x:?}"),
        };
        let times = (point.start_time_unix_nano, point.time_unix_nano);
        writeln!(text, "  {times:?} {} = {value}", attributes(&point.attributes)).unwrap();
    }
    for point in spreads {
        let times = (point.start_time_unix_nano, point.time_unix_nano);
        writeln!(text, "  {times:?} {}", attributes(&point.attributes)).unwrap();
        writeln!(text, "    count {} sum {:?}", point.count, point.sum.unwrap()).unwrap();
        writeln!(text, "    counts {:?}", point.bucket_counts).unwrap();
        writeln!(text, "    bounds {:?}", point.explicit_bounds).unwrap();
    }
}

#[test]
fn a_collector_gets_every_metric() {
    let families = shared("nginx").families();
    let request = request(&families, &Resource::default(), Times { start_ns: 5, now_ns: 9 });
    let mut text = String::new();
    for metric in &request.resource_metrics[0].scope_metrics[0].metrics {
        dump(&mut text, metric);
    }
    expect("metrics-otlp", &text);
}
