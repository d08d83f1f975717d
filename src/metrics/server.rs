//! As much of HTTP/1.1 as a scraper and a probe need: one GET a connection, answered and closed.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::{Page, render};

/// A request is read up to here; scrapers send a few hundred bytes.
const REQUEST_BYTES_MAX: usize = 8 << 10;
/// Whoever is slower is cut off.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Connections at a time.
const CONNECTIONS_MAX: usize = 16;

/// What is answered: status line, type and body.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: &'static str,
    content_type: &'static str,
    body: String,
}

/// Answers for ever.
pub(super) async fn serve(listener: TcpListener, page: Page) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let page = Arc::new(page);
    loop {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let page = Arc::clone(&page);
                tokio::spawn(async move {
                    let answered = tokio::time::timeout(TIMEOUT, converse(stream, &page)).await;
                    if !matches!(answered, Ok(Ok(()))) {
                        tracing::debug!(?answered, "a scraper went away");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the metrics page cannot take a connection");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn converse(mut stream: TcpStream, page: &Page) -> std::io::Result<()> {
    let mut request = Vec::with_capacity(1024);
    let mut piece = [0; 1024];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let length = stream.read(&mut piece).await?;
        if length == 0 || request.len() + length > REQUEST_BYTES_MAX {
            return Ok(());
        }
        request.extend_from_slice(piece.get(..length).unwrap_or_default());
    }
    let head = String::from_utf8_lossy(&request);
    let line = head.lines().next().unwrap_or_default();
    let answer = answer(line, page);
    let head = format!(
        "HTTP/1.1 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        answer.status,
        answer.content_type,
        answer.body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    if !line.starts_with("HEAD ") {
        stream.write_all(answer.body.as_bytes()).await?;
    }
    stream.shutdown().await
}

/// The answer to a request line.
fn answer(line: &str, page: &Page) -> Answer {
    let text = |status, body: String| Answer {
        status,
        content_type: "text/plain; charset=utf-8",
        body,
    };
    let mut words = line.split(' ');
    let (method, path) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    if !matches!(method, "GET" | "HEAD") {
        return text("405 Method Not Allowed", "GET only\n".to_owned());
    }
    match path.split('?').next().unwrap_or_default() {
        "/metrics" => Answer {
            status: "200 OK",
            content_type: "text/plain; version=0.0.4; charset=utf-8",
            body: render::metrics(&page.pipeline, &page.progress),
        },
        "/livez" => text("200 OK", "ok\n".to_owned()),
        "/readyz" => match page.readiness() {
            Ok(()) => text("200 OK", "ok\n".to_owned()),
            Err(why) => text("503 Service Unavailable", format!("{why}\n")),
        },
        _ => text(
            "404 Not Found",
            "try /metrics, /livez or /readyz\n".to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use ingest::pipeline::Progress;
    use table_format::env::{Env, MemoryBudget};

    use super::*;

    fn page() -> Page {
        let memory = MemoryBudget::new(1 << 20);
        let clock = Env::system(memory.clone()).clock;
        let progress = Arc::new(Progress::new(memory, clock));
        Page::new("shop", progress, Duration::from_secs(1))
    }

    #[test]
    fn probes_and_scrapers_get_their_answers() {
        let status = |line: &str| answer(line, &page()).status;
        assert_eq!(status("GET /livez HTTP/1.1"), "200 OK");
        assert_eq!(status("GET /metrics?x=1 HTTP/1.1"), "200 OK");
        assert_eq!(status("GET / HTTP/1.1"), "404 Not Found");
        assert_eq!(status("POST /metrics HTTP/1.1"), "405 Method Not Allowed");
        assert_eq!(status(""), "405 Method Not Allowed");
        let starting = answer("GET /readyz HTTP/1.1", &page());
        assert_eq!(
            (starting.status, starting.body.as_str()),
            ("503 Service Unavailable", "starting\n")
        );
    }
}
