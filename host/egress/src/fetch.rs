//! Documents that the host itself needs from a place a person named, such as the keys of an authorization server. Not for guests: no
//! policy is asked, because nobody but a person chooses the place.

use crate::connections::Connections;
use reqwest::{Client, StatusCode, Url, redirect};
use std::time::Duration;

/// How long it may take.
const TIME_MAX: Duration = Duration::from_secs(10);

/// A place from which documents are fetched.
#[derive(Debug)]
pub struct Source {
    url: Url,
    client: Client,
}

impl Source {
    /// Whether `text` reads as the URL of such a place; it may also be meant as a file.
    pub fn is_url(text: &str) -> bool {
        Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
    }

    /// The place at `url`. Connects to nothing yet.
    ///
    /// # Errors
    /// In words: it is no URL, or one over which anybody on the way could send something else.
    pub fn new(url: &str) -> Result<Self, String> {
        let url = Url::parse(url).map_err(|error| error.to_string())?;
        let local = matches!(url.host_str(), Some("127.0.0.1" | "[::1]" | "localhost"));
        if url.scheme() != "https" && !(url.scheme() == "http" && local) {
            return Err(format!("{url} is not https, so anybody on the way could put something else there"));
        }
        let tls = Connections::new(&[]).map_err(|error| error.to_string())?.tls();
        let client =
            Client::builder().redirect(redirect::Policy::none()).timeout(TIME_MAX).tls_backend_preconfigured(tls);
        // The proxy that this process is configured with may be the only way to a place elsewhere, and cannot read TLS. What is
        // on this machine it cannot reach, and over http it could answer in its stead.
        let client = if local { client.no_proxy() } else { client };
        Ok(Self { url, client: client.build().map_err(|error| error.to_string())? })
    }

    /// The document, of at most `bytes_max` bytes. No redirect is followed.
    ///
    /// # Errors
    /// Why it cannot be had, in words.
    pub async fn fetch(&self, bytes_max: u64) -> Result<Vec<u8>, String> {
        let wrong = |error: reqwest::Error| error.without_url().to_string();
        let mut response = self.client.get(self.url.clone()).send().await.map_err(wrong)?;
        if response.status() != StatusCode::OK {
            return Err(format!("it answers {}", response.status()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(wrong)? {
            body.extend_from_slice(&chunk);
            if body.len() as u64 > bytes_max {
                return Err(format!("it sends more than {bytes_max} bytes"));
            }
        }
        Ok(body)
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        self.url.as_str()
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::disallowed_methods,
        reason = "answers as a server and as a proxy, and starts itself under a proxy"
    )]
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::process::Command;

    /// Where the second process fetches from.
    const PLACE: &str = "VESPIARY_TEST_FETCH_FROM";

    /// Answers one request with `body`. Gives its port.
    fn answer(body: &'static str) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let _ = stream.read(&mut [0; 4096]);
                let _ = write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            }
        });
        port
    }

    /// Environments belong to processes, so this test starts itself once more, under a proxy.
    #[tokio::test]
    async fn what_is_on_this_machine_is_asked_without_a_proxy() {
        let Ok(place) = std::env::var(PLACE) else {
            let (place, proxy) = (answer("the keys"), format!("http://127.0.0.1:{}", answer("forged keys")));
            let name = "fetch::tests::what_is_on_this_machine_is_asked_without_a_proxy";
            let again = Command::new(std::env::current_exe().unwrap())
                .args([name, "--exact"])
                .env(PLACE, place.to_string())
                .env_remove("NO_PROXY")
                .env_remove("no_proxy")
                .envs(["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"].map(|variable| (variable, &proxy)))
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&again.stdout);
            assert!(again.status.success() && said.contains("1 passed"), "{said}");
            return;
        };
        for host in ["127.0.0.1", "localhost"] {
            let source = Source::new(&format!("http://{host}:{place}/keys")).unwrap();
            assert_eq!(source.fetch(100).await.as_deref(), Ok(b"the keys".as_slice()), "{host}");
        }
    }
}
