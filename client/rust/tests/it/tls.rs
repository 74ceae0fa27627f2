//! TLS, client certificates and tokens, against a server of tonic's own.

use std::path::Path;
use std::process::Command;

use lossd_client::{Client, CrossEntropy, Error, Tls};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};

use crate::calls::{LABELS, LOGITS};
use crate::false_server::Fake;
use crate::replies::right;
use crate::server::Scratch;

/// A certificate of its own for localhost, `NAME.pem`, and its key, `NAME.key`.
fn certificate(directory: &Path, name: &str) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(directory.join(format!("{name}.key")))
        .arg("-out")
        .arg(directory.join(format!("{name}.pem")))
        .output()
        .expect("openssl is there");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// Serves with server.pem, to clients that show client.pem and the token "secret".
fn serve(directory: &Path) -> u16 {
    let read = |name: &str| std::fs::read(directory.join(name)).unwrap();
    let evaluate = |request: tonic::Request<_>, _| match request.metadata().get("authorization") {
        Some(value) if value == "Bearer secret" => Ok(right()),
        _ => Err(tonic::Status::unauthenticated("a token is wanted")),
    };
    let fake = Fake { evaluate: Box::new(evaluate), ..Fake::default() };
    let config = ServerTlsConfig::new()
        .identity(Identity::from_pem(read("server.pem"), read("server.key")))
        .client_ca_root(Certificate::from_pem(read("client.pem")));
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = incoming.local_addr().unwrap().port();
    let server = Server::builder().tls_config(config).unwrap();
    tokio::spawn(server.serve_with_incoming(fake.service(), incoming));
    port
}

/// As README.md shows it.
async fn connect(address: &str, folder: &Path) -> Result<Client, Error> {
    let read = |name: &str| std::fs::read(folder.join(name)).expect("a file of PEM");
    let tls = Tls::new()
        .roots(read("server.pem")) // The system's authorities unless given.
        .identity(read("client.pem"), read("client.key")); // Where the server asks for one.
    let client = Client::builder(address).tls(tls).token("secret").connect().await?;
    Ok(client)
}

#[tokio::test]
async fn certificates_and_tokens() {
    let scratch = Scratch::new();
    let folder = &scratch.0;
    certificate(folder, "server");
    certificate(folder, "client");
    let port = serve(folder);
    let address = format!("localhost:{port}");
    let problem = || CrossEntropy::new(&LOGITS, &LABELS).grad();
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();

    let client = connect(&address, folder).await.unwrap();
    client.evaluate(problem()).await.unwrap();

    let shown =
        || Tls::new().roots(read("server.pem")).identity(read("client.pem"), read("client.key"));
    let tokenless = Client::builder(&address).tls(shown()).connect().await.unwrap();
    let error = tokenless.evaluate(problem()).await.unwrap_err();
    assert!(matches!(error, Error::Unauthenticated(_)), "{error}");

    let by_number = format!("https://127.0.0.1:{port}");
    let named = Client::builder(&by_number).tls(shown().server_name("localhost"));
    named.connect().await.unwrap();

    let refused = [
        ("another name", Client::builder(&by_number).tls(shown())),
        (
            "no client certificate",
            Client::builder(&address).tls(Tls::new().roots(read("server.pem"))),
        ),
        ("the system's roots", Client::builder(&address).tls(Tls::new())),
        ("another root", Client::builder(&address).tls(shown().roots(read("client.pem")))),
        ("no TLS", Client::builder(&address)),
    ];
    for (which, builder) in refused {
        let error = builder.connect().await.expect_err(which);
        assert!(matches!(error, Error::Unavailable(_)), "{which}: {error}");
        assert!(error.message().contains(&port.to_string()), "{which}: {error}");
    }
}

#[tokio::test]
async fn settings_are_checked() {
    let field = |address: &str, tls: Tls| {
        Client::builder(address).tls(tls).connect_lazy().unwrap_err().field().to_owned()
    };
    assert_eq!(field("a:1", Tls::new().roots("no PEM")), "tls.roots");
    assert_eq!(field("a:1", Tls::new().identity("no", "PEM")), "tls.identity");
    assert_eq!(field("unix:/x", Tls::new()), "tls");
    assert_eq!(field("http://a:1", Tls::new()), "address");
}

#[tokio::test]
async fn a_token_goes_over_a_unix_socket() {
    let scratch = Scratch::new();
    let path = scratch.0.join("fake.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let incoming = tokio_stream::wrappers::UnixListenerStream::new(listener);
    let evaluate = |request: tonic::Request<_>, _| {
        let token =
            request.metadata().get("authorization").map(|it| it.to_str().unwrap().to_owned());
        assert_eq!(token.as_deref(), Some("Bearer s3cret"));
        Ok(right())
    };
    let fake = Fake { evaluate: Box::new(evaluate), ..Fake::default() };
    tokio::spawn(Server::builder().serve_with_incoming(fake.service(), incoming));
    let address = format!("unix:{}", path.display());
    let client = Client::builder(address).token("s3cret").connect_lazy().unwrap();
    client.evaluate(CrossEntropy::new(&LOGITS, &LABELS).grad()).await.unwrap();
}
