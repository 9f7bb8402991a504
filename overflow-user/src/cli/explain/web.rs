//! `--web`: the site that `cargo xtask site` makes, for a browser on this host.

use std::{
    collections::BTreeMap, convert::Infallible, fs, net::Ipv4Addr, path::Path, process::ExitCode,
    sync::Arc, time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use overflow::pipeline::Stop;
use tokio::{net::TcpListener, runtime, time::timeout};

/// The first page.
const FIRST: &str = "index.html";
/// The first page in this program, compressed by gzip; empty unless `OVERFLOW_SITE` named a site when it
/// was built.
const EMBEDDED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/site-first-page.gz"));
/// A site is smaller than that, bytes.
const LARGEST: u64 = 32 << 20;
/// A browser on the same host that takes longer is left.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a browser is told of a file, by its ending; others are not served.
const TYPES: &[(&str, &str)] =
    &[("html", "text/html; charset=utf-8"), ("json", "application/json"), ("png", "image/png")];

/// A file as it is served.
#[derive(Debug)]
struct Served {
    bytes: Bytes,
    content_type: &'static str,
    gzip: bool,
}

/// All that is served, by path.
type Site = BTreeMap<String, Served>;

/// Serves `dir`, or what this program carries, on loopback until it is interrupted.
pub(super) fn serve(dir: Option<&Path>, port: u16) -> Result<ExitCode> {
    let site = Arc::new(match dir {
        Some(dir) => read(dir)?,
        None => embedded()?,
    });
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let stop = Stop::catch().context("cannot wait for signals")?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .with_context(|| format!("cannot listen on port {port} of 127.0.0.1"))?;
        let address = listener.local_addr()?;
        overflow::show!("http://{address}/");
        overflow::say!("open it in a browser on this host; Ctrl-C ends it");
        tokio::select! {
            () = stop.asked() => Ok(ExitCode::SUCCESS),
            never = accept(&listener, &site) => match never {},
        }
    })
}

async fn accept(listener: &TcpListener, site: &Arc<Site>) -> Infallible {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Without descriptors it fails at once, again and again.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let site = Arc::clone(site);
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let response = respond(&site, request.method(), request.uri().path());
                async { Ok::<_, Infallible>(response) }
            });
            let connection = http1::Builder::new()
                .keep_alive(false)
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .serve_connection(TokioIo::new(stream), service);
            // A browser that went away needs no answer.
            let _ = timeout(PATIENCE, connection).await;
        });
    }
}

fn respond(site: &Site, method: &Method, path: &str) -> Response<Full<Bytes>> {
    let name = path.trim_start_matches('/');
    let name = if name.is_empty() { FIRST } else { name };
    let (status, bytes, content_type, gzip) = match site.get(name) {
        _ if !matches!(*method, Method::GET | Method::HEAD) => {
            (StatusCode::METHOD_NOT_ALLOWED, Bytes::new(), "text/plain", false)
        }
        Some(served) => (StatusCode::OK, served.bytes.clone(), served.content_type, served.gzip),
        None => {
            let text = "This page is not served here. `overflow explain TOPIC` explains a topic in a \
                        terminal; `overflow explain --web --site DIR` serves all that \
                        `cargo xtask site` made.\n";
            (StatusCode::NOT_FOUND, Bytes::from_static(text.as_bytes()), "text/plain", false)
        }
    };
    let mut response = Response::new(Full::new(bytes));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

fn embedded() -> Result<Site> {
    if EMBEDDED.is_empty() {
        bail!(
            "this program was built without the page: make it by `cargo xtask site`, and name its \
             directory by --site"
        );
    }
    let (bytes, content_type) = (Bytes::from_static(EMBEDDED), TYPES[0].1);
    Ok(Site::from([(FIRST.to_owned(), Served { bytes, content_type, gzip: true })]))
}

/// Every page of a site and what it shows, into memory: nothing is looked up while it is served.
fn read(dir: &Path) -> Result<Site> {
    ensure!(
        dir.join(FIRST).is_file(),
        "{} holds no {FIRST}: make a site by `cargo xtask site`",
        dir.display()
    );
    let (mut site, mut left) = (Site::new(), LARGEST);
    for folder in ["", "images"] {
        let folder_path = dir.join(folder);
        if !folder_path.is_dir() {
            continue;
        }
        let entries = fs::read_dir(&folder_path)
            .with_context(|| format!("cannot read {}", folder_path.display()))?;
        for entry in entries {
            let path = entry?.path();
            let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
            let known = TYPES.iter().find(|(known, _)| *known == ending);
            let name = path.file_name().and_then(|name| name.to_str());
            let (Some((_, content_type)), Some(name)) = (known, name) else { continue };
            let bytes = path.metadata().map_or(0, |meta| meta.len());
            left = left.checked_sub(bytes).with_context(|| {
                format!("{} is larger than a site: name the directory of one", dir.display())
            })?;
            let bytes =
                fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let name = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
            site.insert(name, Served { bytes: bytes.into(), content_type, gzip: false });
        }
    }
    Ok(site)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> Site {
        let page = Served { bytes: "page".into(), content_type: TYPES[0].1, gzip: true };
        Site::from([(FIRST.to_owned(), page)])
    }

    #[test]
    fn only_what_is_there_is_served() {
        let site = site();
        let status = |method: Method, path: &str| respond(&site, &method, path).status().as_u16();
        assert_eq!(status(Method::GET, "/"), 200);
        assert_eq!(status(Method::HEAD, "/index.html"), 200);
        assert_eq!(status(Method::GET, "/../index.html"), 404);
        assert_eq!(status(Method::GET, "/etc/passwd"), 404);
        assert_eq!(status(Method::POST, "/"), 405);
        let page = respond(&site, &Method::GET, "/");
        assert_eq!(page.headers()[CONTENT_ENCODING], "gzip");
        assert_eq!(page.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
    }

    #[test]
    fn a_directory_must_hold_a_site() {
        let dir = std::env::temp_dir().join(format!("overflow-web-{}", std::process::id()));
        fs::create_dir_all(dir.join("images")).unwrap();
        assert!(read(&dir).unwrap_err().to_string().contains("cargo xtask site"));
        for (name, text) in [(FIRST, "a"), ("b.html", "b"), ("c.sh", "c"), ("images/d.png", "d")] {
            fs::write(dir.join(name), text).unwrap();
        }
        let site = read(&dir);
        fs::remove_dir_all(&dir).unwrap();
        let names: Vec<_> = site.unwrap().into_keys().collect();
        assert_eq!(names, ["b.html", "images/d.png", FIRST]);
    }
}
