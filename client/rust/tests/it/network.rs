//! Servers that are not there, are others, or break.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use lossd_client::{Client, CrossEntropy, Error, TensorRef};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::calls::{LABELS, LOGITS, large};
use crate::server::Server;

fn problem() -> CrossEntropy<'static, f32> {
    CrossEntropy::new(&LOGITS, &LABELS)
}

/// Where nobody listens.
async fn nowhere() -> String {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string()
}

#[tokio::test]
async fn nobody_listens() {
    for address in [nowhere().await, "unix:/nonexistent/lossd.sock".to_owned()] {
        let error = Client::connect(&address).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)), "{error}");
        assert!(error.message().starts_with(&address), "{error}");
        let client = Client::builder(&address).connect_lazy().unwrap();
        let many = client.evaluate_many([problem(), problem()]).await;
        assert!(many.iter().all(|it| matches!(it, Err(Error::Unavailable(_)))), "{many:?}");
    }
}

#[tokio::test]
async fn another_service_answers() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let _ = socket.read(&mut [0; 1024]).await;
                let answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
                let _ = socket.write_all(answer).await;
            });
        }
    });
    let error = Client::connect(&address).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
    assert!(error.message().contains(&address), "{error}");
}

#[tokio::test]
async fn nobody_says_a_word() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let begin = Instant::now();
    let silent = Client::builder(address).timeout(Duration::from_millis(200));
    let error = silent.connect().await.unwrap_err();
    assert!(matches!(error, Error::DeadlineExceeded(_)), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(5));
    drop(listener);
}

#[tokio::test]
async fn a_server_that_ends_mid_stream_is_unavailable() {
    let server = Server::start();
    let client = Client::connect(server.unix()).await.unwrap();
    let server = Mutex::new(Some(server));
    let (x, y) = large(2000, 1000);
    let problem = CrossEntropy::new(TensorRef::new(&x, [2000, 1000]), &y).grad().progress(|it| {
        if it.received > 0 {
            server.lock().unwrap().take(); // Ends it.
        }
    });
    let error = client.evaluate(problem).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
    assert!(server.lock().unwrap().is_none());
}

#[tokio::test]
async fn a_server_that_comes_back_is_found() {
    let client = {
        let server = Server::start();
        let client = server.client().await;
        client.evaluate(problem()).await.unwrap();
        client
    };
    let error = client.evaluate(problem()).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
    let address = error.message().split(": ").next().unwrap().to_owned();
    let _again = Server::with(&["--listen", &address]);
    client.evaluate(problem()).await.unwrap();
}
