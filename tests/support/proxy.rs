//! A TCP proxy that a test can cut: the network between a server and its database.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// PostgreSQL's message for a simple query COMMIT, as sqlx sends it.
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";
const ROLLBACK: &[u8] = b"Q\0\0\0\x0dROLLBACK\0";

/// Where a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The message never reaches the database.
    Before,
    /// The database has answered the message, and its answer never comes back.
    After,
}

/// What becomes of connections.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Closed,
    /// They stay, and nothing passes.
    Stalled,
}

/// Which connection to cut, once, and at which message.
struct Plan {
    /// A text that was sent on this connection since its last transaction ended.
    marker: Vec<u8>,
    /// What the message contains.
    trigger: Vec<u8>,
    cut: Cut,
    /// Whether no connection is taken from then on.
    close: bool,
}

/// Passes connections on, as long as it is not cut.
pub struct Proxy {
    pub address: SocketAddr,
    state: Arc<watch::Sender<State>>,
    plan: Arc<Mutex<Option<Plan>>>,
}

impl Proxy {
    pub async fn start(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(watch::Sender::new(State::Open));
        let plan = Arc::new(Mutex::new(None));
        let (switch, planned) = (Arc::clone(&state), Arc::clone(&plan));
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (target, mut switched) = (target.clone(), switch.subscribe());
                let (switch, planned) = (Arc::clone(&switch), Arc::clone(&planned));
                tokio::spawn(async move {
                    let state = *switched.borrow_and_update();
                    // A database that is just being restarted refuses connections.
                    let server = if state == State::Open { TcpStream::connect(target).await.ok() } else { None };
                    if let Some(mut server) = server {
                        tokio::select! {
                            close = pass(&mut client, &mut server, &planned) => {
                                if close {
                                    switch.send_replace(State::Closed);
                                }
                                return;
                            }
                            _ = switched.changed() => {}
                        }
                        // Held for as long as nothing passes.
                        let _until_then = switched.wait_for(|state| *state != State::Stalled).await;
                    } else if state == State::Stalled {
                        let _until_then = switched.wait_for(|state| *state != State::Stalled).await;
                    }
                });
            }
        });
        Self { address, state, plan }
    }

    /// Ends all connections and takes no more, or takes them again.
    pub fn set_open(&self, open: bool) {
        self.state.send_replace(if open { State::Open } else { State::Closed });
    }

    /// Lets nothing through any more, without an end.
    pub fn stall(&self) {
        self.state.send_replace(State::Stalled);
    }

    /// Cuts the connection, once, at the COMMIT of the transaction in which this text is sent. `close`: and takes no connections from then on.
    pub fn cut_commit_of(&self, marker: &str, cut: Cut, close: bool) {
        self.plan_cut(marker, COMMIT, cut, close);
    }

    /// Cuts the connection, once, at a message with these two texts, whether or not it is in a transaction.
    pub fn cut_at(&self, texts: [&str; 2], cut: Cut) {
        self.plan_cut(texts[0], texts[1].as_bytes(), cut, false);
    }

    fn plan_cut(&self, marker: &str, trigger: &[u8], cut: Cut, close: bool) {
        *self.plan.lock().unwrap() = Some(Plan { marker: marker.as_bytes().to_vec(), trigger: trigger.to_vec(), cut, close });
    }

    /// Whether the planned cut was made.
    pub fn has_cut(&self) -> bool {
        self.plan.lock().unwrap().is_none()
    }
}

/// Passes a connection on until it ends or is cut. Returns whether no other is to be taken from then on.
async fn pass(client: &mut TcpStream, server: &mut TcpStream, planned: &Mutex<Option<Plan>>) -> bool {
    const LONGEST: usize = 128;
    let (mut from_client, mut from_server) = (vec![0; 65_536], vec![0; 65_536]);
    // The end of what was sent before: a text may be split. And whether the marker was sent in this transaction.
    let (mut tail, mut marked) = (Vec::new(), false);
    loop {
        tokio::select! {
            read = client.read(&mut from_client) => {
                let Some(length) = read.ok().filter(|length| *length > 0) else { return false };
                let chunk = &from_client[..length];
                let sent = [tail.as_slice(), chunk].concat();
                let has = |text: &[u8]| sent.windows(text.len()).any(|part| part == text);
                let due = planned.lock().unwrap().take_if(|plan| {
                    marked |= has(&plan.marker);
                    marked && has(&plan.trigger)
                });
                if let Some(plan) = due {
                    if plan.cut == Cut::After {
                        server.write_all(chunk).await.unwrap();
                        assert!(server.read(&mut from_server).await.unwrap() > 0, "the database did not answer");
                    }
                    return plan.close;
                }
                if has(COMMIT) || has(ROLLBACK) {
                    marked = false;
                    tail.clear();
                } else {
                    tail = sent[sent.len().saturating_sub(LONGEST)..].to_vec();
                }
                if server.write_all(chunk).await.is_err() {
                    return false;
                }
            }
            read = server.read(&mut from_server) => {
                let Some(length) = read.ok().filter(|length| *length > 0) else { return false };
                if client.write_all(&from_server[..length]).await.is_err() {
                    return false;
                }
            }
        }
    }
}
