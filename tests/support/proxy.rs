//! A TCP proxy that a test can cut: the network between a server and its database.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What becomes of connections.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Cut,
    /// They stay, and nothing passes.
    Stalled,
}

/// Passes connections on, as long as it is not cut.
pub struct Proxy {
    pub address: SocketAddr,
    state: Arc<watch::Sender<State>>,
}

impl Proxy {
    pub async fn start(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(watch::Sender::new(State::Open));
        let switch = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (target, mut switch) = (target.clone(), switch.subscribe());
                tokio::spawn(async move {
                    let state = *switch.borrow_and_update();
                    if state == State::Open {
                        let mut server = TcpStream::connect(target).await.unwrap();
                        tokio::select! {
                            _ = copy_bidirectional(&mut client, &mut server) => {}
                            _ = switch.changed() => {}
                        }
                    }
                    // Held for as long as nothing passes.
                    let _until_then = switch.wait_for(|state| *state != State::Stalled).await;
                });
            }
        });
        Self { address, state }
    }

    /// Ends all connections and takes no more, or takes them again.
    pub fn set_open(&self, open: bool) {
        self.state.send_replace(if open { State::Open } else { State::Cut });
    }

    /// Lets nothing through any more, without an end.
    pub fn stall(&self) {
        self.state.send_replace(State::Stalled);
    }
}
