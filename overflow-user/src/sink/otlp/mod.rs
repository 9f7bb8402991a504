//! What was traced as OpenTelemetry: the metrics of [`super::metrics`] under names of their own,
//! and a log record for each abnormal handshake, in the messages of OTLP.
//!
//! The names are a contract, see docs/metrics.md. No metric names a client; log records do.

mod causes;
mod logs;
mod metrics;
mod sink;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, any_value::Value},
    resource::v1::Resource,
};

pub use sink::Exported;

use overflow_core::text::untrusted::escape;

/// What all requests are about: names and values, those of `given` before this program's own.
fn resource(given: &BTreeMap<String, String>, kernel: &str, host: &str) -> Resource {
    let own = [
        ("service.name", "overflow"),
        ("service.version", env!("CARGO_PKG_VERSION")),
        // Distinguishes the hosts that send to one collector.
        ("service.instance.id", host),
        ("host.name", host),
        ("os.type", "linux"),
        ("os.version", kernel),
    ];
    let own =
        own.into_iter().filter(|(name, value)| !value.is_empty() && !given.contains_key(*name));
    let mut attributes: Vec<KeyValue> = own.map(|(name, value)| text(name, value)).collect();
    attributes.extend(given.iter().map(|(name, value)| text(name, value)));
    Resource { attributes, ..Resource::default() }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "overflow".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}

fn text(name: &str, value: impl Into<String>) -> KeyValue {
    attribute(name, string(&value.into()))
}

fn number(name: &str, value: impl Into<i64>) -> KeyValue {
    attribute(name, Value::IntValue(value.into()))
}

fn list<'a>(name: &str, values: impl Iterator<Item = &'a str>) -> KeyValue {
    let value = |text: &str| AnyValue { value: Some(string(text)) };
    attribute(name, Value::ArrayValue(ArrayValue { values: values.map(value).collect() }))
}

/// Escaped, should it have come here otherwise: collectors' tools print to terminals.
fn string(text: &str) -> Value {
    Value::StringValue(escape(text).into_owned())
}

fn attribute(name: &str, value: Value) -> KeyValue {
    let value = Some(AnyValue { value: Some(value) });
    KeyValue { key: name.to_owned(), value, ..KeyValue::default() }
}
