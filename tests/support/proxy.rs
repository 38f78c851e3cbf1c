//! A TCP proxy that a test can cut: the network between a server and its database.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Passes connections on, as long as it is not cut.
pub struct Proxy {
    pub address: SocketAddr,
    open: Arc<watch::Sender<bool>>,
}

impl Proxy {
    pub async fn start(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let open = Arc::new(watch::Sender::new(true));
        let switch = Arc::clone(&open);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (target, mut switch) = (target.clone(), switch.subscribe());
                tokio::spawn(async move {
                    if !*switch.borrow_and_update() {
                        return;
                    }
                    let mut server = TcpStream::connect(target).await.unwrap();
                    tokio::select! {
                        _ = copy_bidirectional(&mut client, &mut server) => {}
                        _ = switch.changed() => {}
                    }
                });
            }
        });
        Self { address, open }
    }

    /// Ends all connections and takes no more, or takes them again.
    pub fn set_open(&self, open: bool) {
        self.open.send_replace(open);
    }
}
