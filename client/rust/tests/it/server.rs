//! A real server process.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use lossd_client::Client;

/// lossd on a free port and on a Unix socket; ended when it is dropped.
pub(crate) struct Server {
    process: Child,
    directory: Scratch,
    pub(crate) tcp: String,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    pub(crate) fn with(flags: &[&str]) -> Self {
        let bin = std::env::var("LOSSD_BIN").expect("LOSSD_BIN names the folder of lossd");
        let directory = Scratch::new();
        let socket = format!("unix:{}", directory.0.join("lossd.sock").display());
        let mut process = Command::new(PathBuf::from(bin).join("lossd"))
            .args(["--listen", "127.0.0.1:0", "--listen", &socket, "--threads", "2"])
            .args(flags)
            .stderr(Stdio::piped())
            .spawn()
            .expect("lossd starts");
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("state=serving") {
            line.clear();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "lossd ended before it served");
        }
        let address = line.split("listen=").nth(1).expect("an address");
        let tcp = address.split([',', ' ']).next().unwrap().to_owned();
        // A full pipe would stop the server.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { process, directory, tcp }
    }

    pub(crate) fn unix(&self) -> String {
        format!("unix:{}", self.directory.0.join("lossd.sock").display())
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(&self.tcp).await.expect("the server answers")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A folder of its own, gone when dropped.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("lossd-rust-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
