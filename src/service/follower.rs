//! Follows the changes that other nodes make, says how far it has come, and waits for the others where somebody wants to know.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::store::{Node, Store, StoreError};

/// Changes, and nodes that say nothing, are forgotten after this.
const FORGOTTEN: Duration = Duration::from_hours(1);
/// How often that is done.
const TRIM_EVERY: Duration = Duration::from_mins(5);
/// How long a broken connection for listening is waited with, at first and at most.
const LISTEN_AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// For how long a write proves that the database takes writes.
const PROVEN: Duration = Duration::from_secs(1);
/// How long such a proof may take.
const PROVING: Duration = Duration::from_secs(2);
/// How often it is looked whether the other nodes have confirmed.
const CONFIRM_EVERY: Duration = Duration::from_millis(10);
/// How long a list of the nodes is waited for.
const LIST_FOR: Duration = Duration::from_millis(500);

/// How many nodes are alive, and how many of them answer by a change already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Propagation {
    /// Nodes that are alive, with this one.
    pub live_nodes: usize,
    /// Those that have confirmed, with this one.
    pub confirmed: usize,
}

/// Follows the changes.
#[derive(Clone, Debug)]
pub struct Follower {
    store: Store,
    id: Uuid,
    url: String,
    bound: Duration,
    confirm_wait: Duration,
    /// The nodes as they were last listed, for the metrics.
    nodes: Arc<Mutex<Vec<Node>>>,
    /// Held while it is tried whether the database takes writes, so that many who ask try once.
    proving: Arc<tokio::sync::Mutex<()>>,
    /// How many others were alive when they were last counted.
    others: Arc<AtomicUsize>,
}

impl Follower {
    /// As node `id`, which listens at `url`. Looks at the changes at least four times within `bound`.
    #[must_use]
    pub fn new(store: Store, id: Uuid, url: String, bound: Duration, confirm_wait: Duration) -> Self {
        Self { store, id, url, bound, confirm_wait, nodes: Arc::default(), others: Arc::default(), proving: Arc::default() }
    }

    /// Follows until it is dropped.
    pub async fn run(&self) {
        tokio::join!(self.follow(), self.beat(), self.listen(), self.trim());
    }

    /// Says that this node is there, and how far it is.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn join(&self) -> Result<(), StoreError> {
        let node = self.node();
        self.store.beat(&node).await?;
        self.count(node.applied).await?;
        Ok(())
    }

    fn node(&self) -> Node {
        Node { id: self.id, url: self.url.clone(), applied: self.store.changes().applied(), silent: 0 }
    }

    /// Proves that the database takes writes: by a write of the last second, or by writing this node's heartbeat.
    ///
    /// # Errors
    /// If it does not, or not in time.
    pub async fn prove_writable(&self) -> Result<(), StoreError> {
        let _alone = self.proving.lock().await;
        self.store.prove_writable(&self.node(), PROVEN, self.bound.min(PROVING)).await
    }

    /// Says that this node is gone.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn leave(&self) -> Result<(), StoreError> {
        self.store.delete_node(self.id).await
    }

    /// How old this node's view of the changes is.
    #[must_use]
    pub fn view_age(&self) -> Duration {
        self.store.changes().age()
    }

    /// Whether that is this node.
    #[must_use]
    pub fn is_this(&self, node: &Node) -> bool {
        node.id == self.id
    }

    /// The nodes, and by how many changes each is behind; as last seen if the database does not answer soon.
    pub async fn nodes(&self) -> Vec<(Node, i64)> {
        match timeout(LIST_FOR, self.store.list_nodes(self.alive())).await {
            Ok(Ok(nodes)) => *self.nodes.lock().unwrap_or_else(PoisonError::into_inner) = nodes,
            Ok(Err(error)) => tracing::debug!(%error, "the other nodes cannot be listed"),
            Err(_) => tracing::debug!("the other nodes cannot be listed in time"),
        }
        let newest = self.store.changes().applied();
        let nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.iter().map(|node| (node.clone(), newest.saturating_sub(node.applied).max(0))).collect()
    }

    /// Waits until all live nodes answer by everything that this one has changed so far, or for as long as the settings allow.
    pub async fn confirm(&self) -> Propagation {
        let wanted = self.store.changes().own();
        let mut last = None;
        let confirming = timeout(self.confirm_wait, async {
            loop {
                match self.count(wanted).await {
                    Ok(seen) if seen.confirmed == seen.live_nodes => return seen,
                    Ok(seen) => last = Some(seen),
                    Err(error) => tracing::debug!(%error, "the other nodes cannot be asked for"),
                }
                sleep(CONFIRM_EVERY).await;
            }
        });
        match confirming.await {
            Ok(seen) => seen,
            // Nobody is known to have confirmed but this node.
            Err(_) => last.unwrap_or_else(|| Propagation { live_nodes: 1 + self.others.load(Ordering::Relaxed), confirmed: 1 }),
        }
    }

    /// Counts the live nodes, and those that answer by the changes up to `wanted`.
    async fn count(&self, wanted: i64) -> Result<Propagation, StoreError> {
        let (others, confirmed) = self.store.count_nodes(self.alive(), self.id, wanted).await?;
        let number = |count: i64| usize::try_from(count).unwrap_or_default();
        self.others.store(number(others), Ordering::Relaxed);
        Ok(Propagation { live_nodes: 1 + number(others), confirmed: 1 + number(confirmed) })
    }

    /// For how long a node counts as alive that says nothing: beyond the bound it refuses by itself.
    fn alive(&self) -> Duration {
        self.bound * 2
    }

    async fn follow(&self) {
        let mut told = false;
        loop {
            // One that hangs is given up, so that the next can succeed within the bound.
            let failed = match timeout(self.bound / 2, self.store.follow_changes()).await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => {
                    self.store.suspect();
                    Some("the database does not answer".to_owned())
                }
            };
            match &failed {
                Some(error) if !told => tracing::warn!(error, "the changes of others cannot be followed; this node refuses when that lasts"),
                None if told => tracing::info!("the changes of others are followed again"),
                _ => {}
            }
            told = failed.is_some();
            // When it fails at once, it is not tried again at once.
            if told {
                sleep(self.bound / 16).await;
            }
            let _woken_or_due = timeout(self.store.look_every(self.bound / 4), self.store.changes().woken()).await;
        }
    }

    /// Apart from following, which a write that has to wait is not to hold up.
    async fn beat(&self) {
        loop {
            if let Ok(Err(error)) = timeout(self.bound, self.join()).await {
                tracing::debug!(%error, "the other nodes cannot be told how far this one is");
            }
            let _advanced_or_due = timeout(self.bound / 2, self.store.changes().advanced()).await;
        }
    }

    async fn listen(&self) {
        let mut wait = LISTEN_AGAIN.0;
        loop {
            #[expect(clippy::disallowed_methods, reason = "how long a connection lasted is measured on the monotonic clock")]
            let began = Instant::now();
            if let Err(error) = self.store.listen_to_changes().await {
                tracing::debug!(%error, "not listening for changes, only looking for them");
            }
            wait = if began.elapsed() > LISTEN_AGAIN.1 { LISTEN_AGAIN.0 } else { (wait * 2).min(LISTEN_AGAIN.1) };
            sleep(wait).await;
            self.store.changes().wake();
        }
    }

    async fn trim(&self) {
        loop {
            sleep(TRIM_EVERY).await;
            if let Err(error) = self.store.trim_changes(FORGOTTEN).await {
                tracing::warn!(%error, "old changes are kept for now");
            }
        }
    }
}
