//! A collector for tests: answers OTLP over HTTP as the test wants, and decodes what it takes.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use opentelemetry_proto::tonic::{
    collector::{logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest},
    common::v1::{KeyValue, any_value::Value},
    logs::v1::LogRecord,
    metrics::v1::{NumberDataPoint, metric::Data, number_data_point},
};
use prost::Message;

/// What a request is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 200.
    Taken,
    /// 200, and without a word the connection is closed.
    TakenLast,
    /// 503, to be tried again in a second.
    Unavailable,
    /// 400, with a reason in text.
    Bad,
}

/// A request as it came.
#[derive(Clone)]
struct Got {
    path: String,
    body: Vec<u8>,
    answer: Answer,
}

/// A collector on loopback, in the namespace of the thread that starts it.
pub struct Collector {
    address: SocketAddr,
    got: Arc<Mutex<Vec<Got>>>,
}

/// A record with its attributes.
#[derive(Debug)]
pub struct Record(LogRecord);

impl Collector {
    /// Answers the requests of each path in this order, and the rest like the last.
    pub fn start(answers: &'static [Answer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let got: Arc<Mutex<Vec<Got>>> = Arc::default();
        let all = Arc::clone(&got);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let got = Arc::clone(&all);
                thread::spawn(move || serve(stream, answers, &got));
            }
        });
        Self { address, got }
    }

    /// What to export to.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many requests came for a path.
    pub fn requests(&self, path: &str) -> usize {
        self.all(path).len()
    }

    /// Whether the first request for a path was turned away, and came again as it was.
    pub fn turned_away(&self, path: &str) -> bool {
        let all = self.all(path);
        let [first, second, ..] = &all[..] else { return false };
        first.answer == Answer::Unavailable && first.body == second.body
    }

    /// The latest value of a metric for these attributes, among others.
    pub fn number(&self, name: &str, labels: &[(&str, &str)]) -> Option<u64> {
        let last = self.taken("/v1/metrics").pop()?;
        let request = ExportMetricsServiceRequest::decode(&last[..]).unwrap();
        let scopes = request.resource_metrics.into_iter().flat_map(|r| r.scope_metrics);
        let mut found = scopes.flat_map(|s| s.metrics).filter(|m| m.name == name);
        let points = match found.next()?.data? {
            Data::Sum(sum) => {
                assert!(sum.is_monotonic);
                sum.data_points
            }
            Data::Gauge(gauge) => gauge.data_points,
            other => panic!("{other:?}"),
        };
        assert!(found.next().is_none(), "{name} is there once");
        let is_it = |p: &&NumberDataPoint| {
            assert!(p.start_time_unix_nano > 0 && p.start_time_unix_nano <= p.time_unix_nano);
            labels.iter().all(|(name, value)| text(&p.attributes, name).as_deref() == Some(*value))
        };
        match points.iter().find(is_it)?.value? {
            number_data_point::Value::AsInt(n) => Some(u64::try_from(n).unwrap()),
            number_data_point::Value::AsDouble(n) => panic!("{name} is {n}"),
        }
    }

    /// All metrics that were taken, for a search.
    pub fn metrics(&self) -> String {
        let requests = self.taken("/v1/metrics");
        let decoded = requests.iter().map(|b| ExportMetricsServiceRequest::decode(&b[..]).unwrap());
        format!("{:?}", decoded.collect::<Vec<_>>())
    }

    /// All log records that were taken.
    pub fn records(&self) -> Vec<Record> {
        let requests = self.taken("/v1/logs");
        let decoded = requests.iter().map(|b| ExportLogsServiceRequest::decode(&b[..]).unwrap());
        let scopes = decoded.flat_map(|r| r.resource_logs).flat_map(|r| r.scope_logs);
        scopes.flat_map(|s| s.log_records).map(Record).collect()
    }

    /// An attribute of the logs' resource.
    pub fn resource(&self, name: &str) -> Option<String> {
        let last = self.taken("/v1/logs").pop()?;
        let request = ExportLogsServiceRequest::decode(&last[..]).unwrap();
        text(&request.resource_logs[0].resource.as_ref()?.attributes, name)
    }

    fn all(&self, path: &str) -> Vec<Got> {
        let got = self.got.lock().unwrap();
        got.iter().filter(|g| g.path == path).cloned().collect()
    }

    fn taken(&self, path: &str) -> Vec<Vec<u8>> {
        let taken = [Answer::Taken, Answer::TakenLast];
        let taken = self.all(path).into_iter().filter(|g| taken.contains(&g.answer));
        taken.map(|g| g.body).collect()
    }
}

impl Record {
    /// The sentence.
    pub fn body(&self) -> String {
        match self.0.body.as_ref().and_then(|b| b.value.clone()) {
            Some(Value::StringValue(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    /// An attribute that is a text.
    pub fn text(&self, name: &str) -> String {
        text(&self.0.attributes, name).unwrap_or_else(|| panic!("no {name} in {:?}", self.0))
    }

    /// An attribute that is a number.
    pub fn number(&self, name: &str) -> i64 {
        match value(&self.0.attributes, name) {
            Some(Value::IntValue(n)) => n,
            other => panic!("{name} is {other:?}"),
        }
    }
}

fn text(attributes: &[KeyValue], name: &str) -> Option<String> {
    match value(attributes, name)? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

fn value(attributes: &[KeyValue], name: &str) -> Option<Value> {
    attributes.iter().find(|a| a.key == name)?.value.clone()?.value
}

/// Requests one after the other, until the client closes.
fn serve(stream: TcpStream, answers: &[Answer], got: &Mutex<Vec<Got>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    while let Some((path, body)) = request(&mut reader) {
        let answer = {
            let mut got = got.lock().unwrap();
            let earlier = got.iter().filter(|g| g.path == path).count();
            let answer = answers[earlier.min(answers.len() - 1)];
            got.push(Got { path, body, answer });
            answer
        };
        let response = match answer {
            Answer::Taken | Answer::TakenLast => {
                "200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n"
            }
            Answer::Unavailable => {
                "503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
            }
            Answer::Bad => {
                "400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nnot like this"
            }
        };
        let written = writer.write_all(format!("HTTP/1.1 {response}").as_bytes());
        if written.is_err() || answer == Answer::TakenLast {
            return;
        }
    }
}

fn request(reader: &mut impl BufRead) -> Option<(String, Vec<u8>)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.strip_prefix("POST ")?.split(' ').next()?.to_owned();
    let mut len = 0;
    let mut protobuf = false;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let (name, value) = match header.trim_end().split_once(':') {
            Some((name, value)) => (name.to_ascii_lowercase(), value.trim()),
            None => break,
        };
        match name.as_str() {
            "content-length" => len = value.parse().unwrap(),
            "content-type" => protobuf = value == "application/x-protobuf",
            _ => {}
        }
    }
    assert!(protobuf);
    let mut body = vec![0; len];
    reader.read_exact(&mut body).ok()?;
    Some((path, body))
}
