//! A small web server for the page, and nothing but the page.
//!
//! Whoever can reach the port can open connections and say nothing on them. Nobody waits for that to
//! end: where there is no room, the connection that is open for longest gives way, and a scraper, which
//! asks at once and is answered at once, is never that one for long.

use std::{
    collections::VecDeque,
    convert::Infallible,
    io,
    net::{SocketAddr, TcpListener as Listening},
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    task::AbortHandle,
    time::{sleep, timeout},
};

use super::{
    encode::{Format, encode},
    families::Families,
    sink::Shared,
};

/// Connections at once; one more ends the oldest.
const AT_ONCE: usize = 64;
/// A scraper that takes longer is left.
const PATIENCE: Duration = Duration::from_secs(10);
/// And one whose request takes longer.
const REQUEST_IN: Duration = Duration::from_secs(3);
/// A request is no longer, bytes, and has no more headers.
const MAX_REQUEST: usize = 16 << 10;
const MAX_HEADERS: usize = 64;

/// A socket that listens for scrapers.
#[derive(Debug)]
pub struct Endpoint {
    listener: TcpListener,
}

impl Endpoint {
    /// Listens at `address`, from inside a runtime and before this process is confined.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = Listening::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener: TcpListener::from_std(listener)? })
    }

    /// Where it listens; the port is known even if 0 was asked for.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers with these numbers for as long as it is awaited.
    pub async fn serve(self, numbers: Shared) -> Infallible {
        let page = Arc::new(Page { numbers, encoded: Mutex::default() });
        // The oldest first.
        let mut open: VecDeque<AbortHandle> = VecDeque::with_capacity(AT_ONCE);
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    if open.len() >= AT_ONCE {
                        open.retain(|connection| !connection.is_finished());
                    }
                    if open.len() >= AT_ONCE
                        && let Some(oldest) = open.pop_front()
                    {
                        oldest.abort();
                    }
                    let answered = tokio::spawn(answer(stream, Arc::clone(&page)));
                    open.push_back(answered.abort_handle());
                }
                Err(error) => {
                    log::warn!("cannot accept a scraper: {error}");
                    // Without descriptors it fails at once, again and again.
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

/// What is served, encoded once however many ask for it.
struct Page {
    numbers: Shared,
    /// The last page in each format, and of which numbers it is.
    encoded: Mutex<[Option<Encoded>; 2]>,
}

type Encoded = (Arc<Families>, Bytes);

impl Page {
    /// The page now; `None` if it cannot be encoded.
    fn now(&self, format: Format) -> Option<Bytes> {
        let families = self.numbers.families();
        let encoded = &mut self.encoded.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = &mut encoded[usize::from(format == Format::Classic)];
        match kept {
            Some((of, page)) if Arc::ptr_eq(of, &families) => Some(page.clone()),
            Some(_) | None => {
                let page = Bytes::from(encode(&families, format).ok()?);
                *kept = Some((families, page.clone()));
                Some(page)
            }
        }
    }
}

/// One request a connection, so that idle ones keep nobody out.
async fn answer(stream: TcpStream, page: Arc<Page>) {
    let service = service_fn(|request: Request<Incoming>| {
        let response = respond(&page, &request);
        async { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_IN)
        .max_buf_size(MAX_REQUEST)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(PATIENCE, pin!(connection)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => log::debug!("a scraper was not answered: {error}"),
        Err(_) => log::debug!("a scraper took too long"),
    }
}

fn respond<B>(page: &Page, request: &Request<B>) -> Response<Full<Bytes>> {
    let plain = |status, text: &'static str| {
        let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
        *response.status_mut() = status;
        response
    };
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/metrics" => {}
        "/" => return plain(StatusCode::OK, "overflow: metrics are at /metrics\n"),
        _ => return plain(StatusCode::NOT_FOUND, "not found; metrics are at /metrics\n"),
    }
    let accept = request.headers().get_all(ACCEPT).iter().filter_map(|v| v.to_str().ok());
    let format = Format::accepted(&accept.collect::<Vec<_>>().join(","));
    let Some(page) = page.now(format) else {
        return plain(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be encoded\n");
    };
    let mut response = Response::new(Full::new(page));
    let content_type = HeaderValue::from_static(format.content_type());
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
