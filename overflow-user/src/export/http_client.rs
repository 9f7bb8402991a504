//! Requests by HTTP, one after the other on a connection that is kept.

use std::{io, net::SocketAddr, time::Duration};

use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Request as HttpRequest, Response, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1::{self, SendRequest},
    header::{CONTENT_TYPE, HOST, HeaderMap, RETRY_AFTER, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceResponse, metrics::v1::ExportMetricsServiceResponse,
};
use overflow_core::text::untrusted::escape;
use prost::Message;
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};

use super::{Request, Signal, Target, retry_queue::Attempt};

/// Longest answer that is read, bytes; of a longer one only the status counts.
const MAX_ANSWER: usize = 64 << 10;
/// So much of a collector's message is shown, characters.
const MAX_MESSAGE: usize = 200;
const AGENT: &str = concat!("overflow/", env!("CARGO_PKG_VERSION"));

/// Why an attempt failed that can be repeated.
type Failed = String;

/// A client of one target.
pub(super) struct HttpClient {
    target: Target,
    /// Where the host was found last.
    addresses: Vec<SocketAddr>,
    connection: Option<SendRequest<Full<Bytes>>>,
}

/// An error's body, `google.rpc.Status`, as far as it is for people.
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(string, tag = "2")]
    message: String,
}

impl HttpClient {
    /// Connects to nothing yet.
    pub(super) fn new(target: Target) -> Self {
        Self { target, addresses: Vec::new(), connection: None }
    }

    /// Sends one request and reads the answer.
    pub(super) async fn send(&mut self, request: &Request) -> Attempt {
        let patience = Duration::from_millis(self.target.timeout_ms);
        let answered = match timeout(patience, self.exchange(&request.body)).await {
            Ok(answered) => answered,
            Err(_) => Err(format!("no answer within {} ms", patience.as_millis())),
        };
        match answered {
            Ok((status, headers, body)) => classify(request.signal, status, &headers, &body),
            Err(why) => {
                self.connection = None;
                Attempt::Later { why, retry_after: None }
            }
        }
    }

    async fn exchange(&mut self, body: &[u8]) -> Result<(StatusCode, HeaderMap, Bytes), Failed> {
        if let Some(mut kept) = self.connection.take()
            && kept.ready().await.is_ok()
            && let Ok(response) = kept.send_request(self.request(body)?).await
        {
            return self.read(kept, response).await;
        }
        // A connection that was kept may have been closed meanwhile: that is no failure.
        let mut new = self.connect().await?;
        let sent = new.send_request(self.request(body)?).await;
        let response = sent.map_err(|error| {
            if error.is_canceled() || error.is_incomplete_message() {
                "it closed the connection without an answer to the request".to_owned()
            } else {
                error.to_string()
            }
        })?;
        self.read(new, response).await
    }

    fn request(&self, body: &[u8]) -> Result<HttpRequest<Full<Bytes>>, Failed> {
        let mut request = HttpRequest::post(&self.target.path)
            .header(HOST, &self.target.authority)
            .header(CONTENT_TYPE, "application/x-protobuf")
            .header(USER_AGENT, AGENT);
        for (name, value) in &self.target.headers {
            request = request.header(name, value);
        }
        let body = Full::new(Bytes::copy_from_slice(body));
        request.body(body).map_err(|e| e.to_string())
    }

    async fn read(
        &mut self,
        connection: SendRequest<Full<Bytes>>,
        response: Response<Incoming>,
    ) -> Result<(StatusCode, HeaderMap, Bytes), Failed> {
        let (head, body) = response.into_parts();
        let Ok(body) = Limited::new(body, MAX_ANSWER).collect().await else {
            return Ok((head.status, head.headers, Bytes::new()));
        };
        self.connection = Some(connection);
        Ok((head.status, head.headers, body.to_bytes()))
    }

    async fn connect(&mut self) -> Result<SendRequest<Full<Bytes>>, Failed> {
        match lookup_host((self.target.host.as_str(), self.target.port)).await {
            Ok(found) => self.addresses = found.collect(),
            // It may still be at the address found before.
            Err(_) if !self.addresses.is_empty() => {}
            Err(error) => return Err(format!("its name is not found: {error}")),
        }
        let mut refused = io::Error::other("its name has no address");
        for address in &self.addresses {
            let stream = match TcpStream::connect(address).await {
                Ok(stream) => stream,
                Err(error) => {
                    refused = error;
                    continue;
                }
            };
            let io = TokioIo::new(stream);
            let (sender, connection) = http1::handshake(io).await.map_err(|e| e.to_string())?;
            tokio::spawn(connection);
            return Ok(sender);
        }
        Err(refused.to_string())
    }
}

/// What an answer means, by the specification of OTLP over HTTP.
fn classify(signal: Signal, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Attempt {
    if status.is_success() {
        let (refused, why) = partial(signal, body);
        return Attempt::Delivered { refused, why };
    }
    let why = match message(headers, body) {
        message if message.is_empty() => format!("it answers {status}"),
        message => format!("it answers {status}: {message}"),
    };
    match status.as_u16() {
        429 | 502 | 503 | 504 => Attempt::Later { why, retry_after: retry_after(headers) },
        _ => Attempt::Refused(why),
    }
}

/// How many items the collector did not take, and why.
fn partial(signal: Signal, body: &[u8]) -> (u64, String) {
    let refused = match signal {
        Signal::Logs => ExportLogsServiceResponse::decode(body)
            .ok()
            .and_then(|r| r.partial_success)
            .map(|p| (p.rejected_log_records, p.error_message)),
        Signal::Metrics => ExportMetricsServiceResponse::decode(body)
            .ok()
            .and_then(|r| r.partial_success)
            // What is counted here are exports, not the points in them.
            .map(|p| (p.rejected_data_points.min(1), p.error_message)),
    };
    let (count, why) = refused.unwrap_or_default();
    (u64::try_from(count).unwrap_or(0), printable(&why))
}

/// `Retry-After` in seconds; a date is not heeded.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Why the collector did not take it, in its own words.
fn message(headers: &HeaderMap, body: &[u8]) -> String {
    let kind = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if kind.starts_with("application/x-protobuf") {
        printable(&Status::decode(body).unwrap_or_default().message)
    } else if kind.starts_with("text/plain") || kind.starts_with("application/json") {
        printable(&String::from_utf8_lossy(body))
    } else {
        String::new()
    }
}

/// The beginning of a text from outside in one line, as it may be shown.
fn printable(text: &str) -> String {
    let line: Vec<&str> = text.split(|c: char| c.is_control() || c.is_whitespace()).collect();
    let words = line.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    escape(&words.chars().take(MAX_MESSAGE).collect::<String>()).into_owned()
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsPartialSuccess;

    use super::*;

    fn answer(status: u16, kind: &'static str, body: &[u8]) -> Attempt {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(RETRY_AFTER, HeaderValue::from_static("7"));
        classify(Signal::Logs, StatusCode::from_u16(status).unwrap(), &headers, body)
    }

    #[test]
    fn only_four_statuses_are_tried_again() {
        for status in [429, 502, 503, 504] {
            let later = answer(status, "", b"");
            let after = Some(Duration::from_secs(7));
            assert!(
                matches!(later, Attempt::Later { retry_after, .. } if retry_after == after),
                "{status}"
            );
        }
        for status in [301, 400, 401, 404, 408, 413, 500] {
            assert!(matches!(answer(status, "", b""), Attempt::Refused(_)), "{status}");
        }
        assert!(matches!(answer(202, "", b""), Attempt::Delivered { refused: 0, .. }));
    }

    #[test]
    fn the_collectors_message_is_shown_without_control_characters() {
        let status = Status { message: "bad\u{1b}[31m\nrecord".to_owned() }.encode_to_vec();
        let Attempt::Refused(why) = answer(400, "application/x-protobuf", &status) else {
            panic!()
        };
        assert_eq!(why, "it answers 400 Bad Request: bad [31m record");
        let Attempt::Refused(why) = answer(404, "text/plain; charset=utf-8", &[b'x'; 999]) else {
            panic!()
        };
        assert_eq!(why.matches('x').count(), MAX_MESSAGE);
        let Attempt::Refused(why) = answer(404, "text/html", b"<html>") else { panic!() };
        assert_eq!(why, "it answers 404 Not Found");
        // What turns the direction of writing is no control character.
        assert_eq!(printable("a\u{202e}b"), "a\\u202eb");
    }

    #[test]
    fn what_is_taken_in_part_is_reported() {
        let partial = ExportLogsPartialSuccess {
            rejected_log_records: 2,
            error_message: "too old".to_owned(),
        };
        let body = ExportLogsServiceResponse { partial_success: Some(partial) }.encode_to_vec();
        let taken = answer(200, "application/x-protobuf", &body);
        assert_eq!(taken, Attempt::Delivered { refused: 2, why: "too old".to_owned() });
    }
}
