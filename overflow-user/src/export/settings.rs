//! Where to export to and how: the flag, and the environment variables of OpenTelemetry's
//! specification. Pure.

use std::{collections::BTreeMap, fmt, time::Duration};

use hyper::{
    Uri,
    header::{HeaderName, HeaderValue},
};
use serde::{Deserialize, Serialize};

use super::Signal;

/// Where a collector listens by default.
const DEFAULT: &str = "http://localhost:4318";
/// The port of OTLP over HTTP, where a URL has none, is HTTP's own.
const HTTP: u16 = 80;

/// What is exported, and where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where metrics go; `None` for nowhere.
    pub metrics: Option<Target>,
    /// Where logs go; `None` for nowhere.
    pub logs: Option<Target>,
    /// Time between two exports of metrics.
    pub every: Duration,
    /// Attributes of the resource, besides what this program knows: names and values.
    pub resource: BTreeMap<String, String>,
}

/// Where requests of one signal go.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Name or address of the host, an IPv6 address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Host and port as the URL has them.
    pub authority: String,
    /// Path and query.
    pub path: String,
    /// Headers to send; they may hold secrets.
    pub headers: Vec<(String, String)>,
    /// A request may take so long, milliseconds.
    pub timeout_ms: u64,
}

/// An environment variable's value; an empty one is as good as none.
type Variable<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Settings {
    /// Reads them. `asked` is the flag's URL, which comes before the environment's.
    pub fn new(asked: Option<&str>, variable: Variable<'_>) -> Result<Self, String> {
        let variable = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let target = |signal| target(signal, asked, &variable);
        let settings = Self {
            metrics: target(Signal::Metrics)?,
            logs: target(Signal::Logs)?,
            every: milliseconds(&variable, "OTEL_METRIC_EXPORT_INTERVAL", 60_000)?,
            resource: resource(&variable)?,
        };
        if settings.metrics.is_none() && settings.logs.is_none() {
            return Err("OTEL_METRICS_EXPORTER and OTEL_LOGS_EXPORTER are both none, so there is \
                        nothing to export; leave --otlp-endpoint out, or unset one of them"
                .to_owned());
        }
        Ok(settings)
    }

    /// Where it all goes, for people.
    pub fn in_words(&self) -> String {
        let every = self.every.as_secs_f64();
        match (&self.metrics, &self.logs) {
            (Some(metrics), Some(logs)) if metrics.authority == logs.authority => {
                format!("metrics (every {every} s) and logs go to {metrics}")
            }
            (Some(metrics), Some(logs)) => {
                format!("metrics go to {metrics} every {every} s, logs to {logs}")
            }
            (Some(metrics), None) => format!("metrics go to {metrics} every {every} s"),
            (None, Some(logs)) => format!("logs go to {logs}"),
            (None, None) => "nothing is exported".to_owned(),
        }
    }
}

/// Without path and headers: these can be secret.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn target(
    signal: Signal,
    asked: Option<&str>,
    variable: Variable<'_>,
) -> Result<Option<Target>, String> {
    let (exporter, upper, path) = match signal {
        Signal::Metrics => ("OTEL_METRICS_EXPORTER", "METRICS", "v1/metrics"),
        Signal::Logs => ("OTEL_LOGS_EXPORTER", "LOGS", "v1/logs"),
    };
    if variable(exporter).is_some_and(|value| value.trim() == "none") {
        return Ok(None);
    }
    // The signal's own variable comes first; then the name that was found is the one to blame.
    let own = |what: &str| {
        let names =
            [format!("OTEL_EXPORTER_OTLP_{upper}_{what}"), format!("OTEL_EXPORTER_OTLP_{what}")];
        names.into_iter().find_map(|name| variable(&name).map(|value| (name, value)))
    };
    if let Some((name, protocol)) = own("PROTOCOL")
        && protocol.trim() != "http/protobuf"
    {
        return Err(format!(
            "{name} asks for {protocol}, but only http/protobuf is spoken here; set it to that, or \
             unset it, and give the collector's HTTP port, usually 4318"
        ));
    }
    let exact = format!("OTEL_EXPORTER_OTLP_{upper}_ENDPOINT");
    let (name, url, whole) = match (asked, variable(&exact)) {
        (Some(url), _) => ("--otlp-endpoint".to_owned(), url.to_owned(), false),
        (None, Some(url)) => (exact, url, true),
        (None, None) => {
            let name = "OTEL_EXPORTER_OTLP_ENDPOINT";
            let url = variable(name).unwrap_or_else(|| DEFAULT.to_owned());
            (name.to_owned(), url, false)
        }
    };
    let mut target = endpoint(url.trim()).map_err(|why| format!("{name}: {why}"))?;
    if !whole {
        target.path = below(&target.path, path);
    }
    if let Some((name, text)) = own("HEADERS") {
        target.headers = headers(&text).map_err(|why| format!("{name}: {why}"))?;
    }
    let timeout = match own("TIMEOUT") {
        Some((name, _)) => milliseconds(variable, &name, 10_000)?,
        None => Duration::from_secs(10),
    };
    target.timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
    Ok(Some(target))
}

/// A URL without headers and time.
fn endpoint(url: &str) -> Result<Target, String> {
    let wanted = "expected http://HOST[:PORT], as in http://localhost:4318";
    let uri: Uri = url.parse().map_err(|_| format!("`{url}` is not a URL; {wanted}"))?;
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => {
            return Err("https needs TLS, which this program does without; give the plain http \
                        port of a collector or agent on this host, and let that one send on by TLS"
                .to_owned());
        }
        _ => return Err(format!("`{url}` does not begin with http://; {wanted}")),
    }
    let authority = uri.authority().ok_or_else(|| format!("`{url}` names no host; {wanted}"))?;
    if authority.as_str().contains('@') {
        return Err("a user name in the URL is not sent; use OTEL_EXPORTER_OTLP_HEADERS".to_owned());
    }
    let port = authority.port_u16().unwrap_or(HTTP);
    if port == 0 {
        return Err(format!("cannot connect to port 0; {wanted}"));
    }
    Ok(Target {
        host: authority.host().trim_matches(['[', ']']).to_owned(),
        port,
        authority: authority.as_str().to_owned(),
        path: uri.path_and_query().map_or("/", |p| p.as_str()).to_owned(),
        headers: Vec::new(),
        timeout_ms: 0,
    })
}

/// A signal's path below a base, in front of its query.
fn below(base: &str, path: &str) -> String {
    let (base, query) = base.split_at(base.find('?').unwrap_or(base.len()));
    format!("{}/{path}{query}", base.trim_end_matches('/'))
}

fn headers(text: &str) -> Result<Vec<(String, String)>, String> {
    let pairs = pairs(text)?;
    for (name, value) in &pairs {
        if HeaderName::from_bytes(name.as_bytes()).is_err() || HeaderValue::from_str(value).is_err()
        {
            return Err(format!("the header `{name}` cannot be sent"));
        }
    }
    Ok(pairs)
}

fn resource(variable: Variable<'_>) -> Result<BTreeMap<String, String>, String> {
    let name = "OTEL_RESOURCE_ATTRIBUTES";
    let given =
        pairs(&variable(name).unwrap_or_default()).map_err(|why| format!("{name}: {why}"))?;
    let mut resource: BTreeMap<_, _> = given.into_iter().collect();
    if let Some(service) = variable("OTEL_SERVICE_NAME") {
        resource.insert("service.name".to_owned(), service);
    }
    Ok(resource)
}

/// `name=value,name=value`, with %XX for what has a meaning here, as in W3C Baggage.
fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let some = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    some.map(|pair| {
        let (name, value) = pair.split_once('=').ok_or_else(|| format!("`{pair}` has no ="))?;
        let plain = |text: &str| {
            decoded(text.trim())
                .ok_or_else(|| format!("`{pair}` has a % that is followed by no code"))
        };
        Ok((plain(name)?, plain(value)?))
    })
    .collect()
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let code = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(str::from_utf8(&code).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

fn milliseconds(variable: Variable<'_>, name: &str, default: u64) -> Result<Duration, String> {
    let Some(text) = variable(name) else { return Ok(Duration::from_millis(default)) };
    match text.trim().parse() {
        Ok(n) if n > 0 => Ok(Duration::from_millis(n)),
        _ => Err(format!("{name} is `{text}`; expected milliseconds, as in {default}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(asked: Option<&str>, environment: &[(&str, &str)]) -> Result<Settings, String> {
        Settings::new(asked, &|name| {
            let found = environment.iter().find(|(n, _)| *n == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    /// `AUTHORITY PATH` of metrics and of logs.
    fn places(settings: &Settings) -> [Option<String>; 2] {
        let place = |t: &Option<Target>| t.as_ref().map(|t| format!("{} {}", t.authority, t.path));
        [place(&settings.metrics), place(&settings.logs)]
    }

    fn check(asked: Option<&str>, environment: &[(&str, &str)], metrics: &str, logs: &str) {
        let found = places(&read(asked, environment).unwrap());
        assert_eq!(found.map(Option::unwrap_or_default), [metrics, logs]);
    }

    #[test]
    fn the_flag_comes_before_the_environment() {
        let general = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318/base/");
        let own = ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://d:9/in?x=1");
        check(None, &[], "localhost:4318 /v1/metrics", "localhost:4318 /v1/logs");
        check(None, &[general], "c:4318 /base/v1/metrics", "c:4318 /base/v1/logs");
        check(None, &[general, own], "c:4318 /base/v1/metrics", "d:9 /in?x=1");
        check(Some("http://[::1]:1"), &[general, own], "[::1]:1 /v1/metrics", "[::1]:1 /v1/logs");
        check(Some("http://c?t=1"), &[], "c /v1/metrics?t=1", "c /v1/logs?t=1");
        check(
            None,
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")],
            "localhost:4318 /v1/metrics",
            "localhost:4318 /v1/logs",
        );
        check(None, &[("OTEL_LOGS_EXPORTER", "none")], "localhost:4318 /v1/metrics", "");
        let host = read(Some("http://[::1]:1"), &[]).unwrap().logs.unwrap();
        assert_eq!((host.host.as_str(), host.port), ("::1", 1));
        assert_eq!(read(Some("http://c"), &[]).unwrap().logs.unwrap().port, 80);
    }

    #[test]
    fn what_the_environment_adds() {
        let settings = read(
            None,
            &[
                ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20eA==, x-a=1,"),
                ("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "x-b=2"),
                ("OTEL_EXPORTER_OTLP_TIMEOUT", "250"),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
                ("OTEL_METRIC_EXPORT_INTERVAL", "5000"),
                ("OTEL_RESOURCE_ATTRIBUTES", "k8s.node.name=n1,service.name=a,x=%2C"),
                ("OTEL_SERVICE_NAME", "b"),
            ],
        )
        .unwrap();
        let (metrics, logs) = (settings.metrics.clone().unwrap(), settings.logs.clone().unwrap());
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(metrics.headers, [pair("authorization", "Basic eA=="), pair("x-a", "1")]);
        assert_eq!(logs.headers, [pair("x-b", "2")]);
        assert_eq!((metrics.timeout_ms, settings.every), (250, Duration::from_secs(5)));
        let resource: Vec<_> = settings.resource.clone().into_iter().collect();
        assert_eq!(
            resource,
            [pair("k8s.node.name", "n1"), pair("service.name", "b"), pair("x", ",")]
        );
        // Where it goes is shown, what opens the door is not.
        let shown = format!("{} {settings:?} {metrics}", settings.in_words());
        assert!(!shown.contains("Basic"), "{shown}");
        assert!(
            shown.contains("metrics (every 5 s) and logs go to http://localhost:4318"),
            "{shown}"
        );
    }

    #[test]
    fn what_cannot_be_done_is_an_error() {
        let check = |asked: Option<&str>, environment: &[(&str, &str)], expect: &str| {
            let why = read(asked, environment).unwrap_err();
            assert!(why.contains(expect), "{why}");
        };
        check(Some("https://c"), &[], "--otlp-endpoint: https needs TLS");
        check(Some("localhost:4318"), &[], "http://");
        check(Some("http://u:p@c"), &[], "HEADERS");
        check(Some("http://c:0"), &[], "port 0");
        check(Some("http://"), &[], "is not a URL");
        let grpc = [("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "grpc")];
        check(None, &grpc, "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL asks for grpc");
        check(None, &[("OTEL_EXPORTER_OTLP_HEADERS", "a b=c")], "cannot be sent");
        check(None, &[("OTEL_EXPORTER_OTLP_HEADERS", "a=b%0Ac")], "cannot be sent");
        check(None, &[("OTEL_EXPORTER_OTLP_TIMEOUT", "10s")], "expected milliseconds");
        check(None, &[("OTEL_RESOURCE_ATTRIBUTES", "a=%4")], "%");
        check(
            None,
            &[("OTEL_LOGS_EXPORTER", "none"), ("OTEL_METRICS_EXPORTER", "none")],
            "nothing",
        );
    }
}
