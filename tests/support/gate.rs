//! A TCP door in front of a real part, to make it vanish and come back for one client only.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Closed: open connections break off and new ones are reset at once.
#[derive(Debug)]
pub(crate) struct Gate {
    address: SocketAddr,
    open: Arc<watch::Sender<bool>>,
    target: Arc<watch::Sender<String>>,
    task: JoinHandle<()>,
}

impl Gate {
    /// A door to `host:port`, open at first.
    pub(crate) async fn to(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
        let address = listener.local_addr().expect("its address");
        let open = Arc::new(watch::Sender::new(true));
        let state = open.subscribe();
        let target = Arc::new(watch::Sender::new(target.to_owned()));
        let behind = target.subscribe();
        let task = tokio::spawn(async move {
            while let Ok((inner, _)) = listener.accept().await {
                let target = behind.borrow().clone();
                tokio::spawn(pass(inner, target, state.clone()));
            }
        });
        Self { address, open, target, task }
    }

    /// Leads elsewhere from the next connection on: to a part that came up again on another port.
    pub(crate) fn lead_to(&self, target: &str) {
        self.target.send_replace(target.to_owned());
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn close(&self) {
        self.open.send_replace(false);
    }

    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
        self.open.send_replace(false);
    }
}

async fn pass(mut inner: TcpStream, target: String, mut open: watch::Receiver<bool>) {
    let closed = async {
        let _ = open.wait_for(|open| !open).await;
    };
    let through = async {
        if let Ok(mut outer) = TcpStream::connect(&target).await {
            let _ = copy_bidirectional(&mut inner, &mut outer).await;
        }
    };
    tokio::select! {
        biased;
        () = closed => {}
        () = through => {}
    }
}
