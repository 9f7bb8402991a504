//! A small web server for the page, and nothing but the page.

use std::{
    convert::Infallible,
    io,
    net::{SocketAddr, TcpListener as Listening},
    pin::pin,
    sync::Arc,
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
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};

use super::{
    encode::{Format, encode},
    sink::Shared,
};

/// Scrapers that are answered at once; more wait in the accept queue.
const AT_ONCE: usize = 8;
/// A scraper that takes longer is left.
const PATIENCE: Duration = Duration::from_secs(10);
/// A request is no longer, bytes.
const MAX_REQUEST: usize = 16 << 10;

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
        let room = Arc::new(Semaphore::new(AT_ONCE));
        loop {
            let permit = Arc::clone(&room).acquire_owned().await;
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let shared = numbers.clone();
                    tokio::spawn(async move {
                        answer(stream, shared).await;
                        drop(permit);
                    });
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

/// One request a connection, so that idle ones keep nobody out.
async fn answer(stream: TcpStream, shared: Shared) {
    let service = service_fn(|request: Request<Incoming>| {
        let response = respond(&shared, &request);
        async { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(MAX_REQUEST)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(PATIENCE, pin!(connection)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => log::debug!("a scraper was not answered: {error}"),
        Err(_) => log::debug!("a scraper took too long"),
    }
}

fn respond<B>(shared: &Shared, request: &Request<B>) -> Response<Full<Bytes>> {
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
    let Ok(page) = encode(&shared.families(), format) else {
        return plain(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be encoded\n");
    };
    let mut response = Response::new(Full::new(Bytes::from(page)));
    let content_type = HeaderValue::from_static(format.content_type());
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
