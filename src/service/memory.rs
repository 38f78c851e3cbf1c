//! What exchanges and authenticated requests need, held in memory: who a credential is and what they hold, and whom tokens are for.
//!
//! Everything is read from the database when it is first asked for, and held for as long as nothing is known to have changed of it (see `store::Changes`). Of requests that ask for
//! the same at once, one reads. What is not there is never held, so that a flood of unknown keys takes no place. A node that has not been able to follow the changes
//! for longer than the bound holds nothing to be true, and says so.

use std::fmt;
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use moka::future::Cache;
use uuid::Uuid;

use super::makers::{judge, password_counts};
use crate::domain::access::Access;
use crate::domain::api_key::ApiKeyHash;
use crate::domain::claims::PrincipalType;
use crate::domain::credential::{KeyCredential, SessionCredential};
use crate::domain::entity::Workspace;
use crate::domain::id::{OrganizationId, ProjectId, Reference, SessionId, WorkspaceId};
use crate::domain::permission::Permission;
use crate::store::{Holder, Position, Store, StoreError};

/// How long anything is held at most: shorter than changes are remembered.
const HELD: Duration = Duration::from_mins(5);
/// How often a read of somebody else's is waited for that turns out to be too old.
const TRIES: usize = 3;

/// Someone behind a credential, and what they hold.
#[derive(Clone, Debug)]
pub struct Known<T> {
    /// Who.
    pub credential: T,
    /// What they may do with it.
    pub access: Access,
    /// Whether they hold more than that: whoever made the credential may do less than they.
    pub bounded: bool,
}

/// How a workspace is named.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum WorkspaceName {
    /// By its id.
    Id(WorkspaceId),
    /// By its slug.
    Slug(String),
    /// By its audience.
    Audience(String),
    /// By its host.
    Host(String),
}

/// Something held, and from when.
#[derive(Debug)]
struct Held<T> {
    value: Arc<T>,
    position: Position,
    subjects: Vec<Uuid>,
}

type Table<K, T> = Cache<K, Arc<Held<T>>>;

type Hook = Box<dyn Fn(&str) -> BoxFuture<'static, ()> + Send + Sync>;

/// What is waited for after each read of something to be held, before it is held.
#[derive(Default)]
struct AfterRead(OnceLock<Hook>);

impl fmt::Debug for AfterRead {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("AfterRead").field(&self.0.get().is_some()).finish()
    }
}

/// Why nothing was read.
enum Nothing {
    Missing,
    Failed(StoreError),
}

/// What is held in memory.
#[derive(Clone, Debug)]
pub struct Memory {
    store: Store,
    bound: Duration,
    keys: Table<ApiKeyHash, Known<KeyCredential>>,
    grants: Table<SessionId, Known<KeyCredential>>,
    sessions: Table<SessionId, Known<SessionCredential>>,
    cookies: Table<ApiKeyHash, (SessionId, PrincipalType)>,
    workspaces: Table<(OrganizationId, WorkspaceName), Workspace>,
    catalogues: Table<OrganizationId, Vec<Permission>>,
    projects: Table<ProjectId, String>,
    after_read: Arc<AfterRead>,
}

impl Memory {
    /// Holds at most `entries` of each kind. When this node's view of the changes is older than `bound`, it holds nothing to be true.
    #[must_use]
    pub fn new(store: Store, entries: u64, bound: Duration) -> Self {
        Self {
            store,
            bound,
            keys: table("keys", entries),
            grants: table("grants", entries),
            sessions: table("sessions", entries),
            cookies: table("cookies", entries),
            workspaces: table("workspaces", entries),
            catalogues: table("catalogues", entries),
            projects: table("projects", entries),
            after_read: Arc::default(),
        }
    }

    /// Refuses where this node's view is too old to be believed.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: it may pass.
    pub fn believe(&self) -> Result<(), StoreError> {
        let age = self.store.changes().age();
        if age <= self.bound { Ok(()) } else { Err(StoreError::stale(age)) }
    }

    /// Has `hook` waited for after each read of something to be held, before it is held: for tests that hold a read open across a change. It is given the name of the table, which is
    /// that of the field. Only the first hook counts.
    pub fn after_each_read(&self, hook: impl Fn(&str) -> BoxFuture<'static, ()> + Send + Sync + 'static) {
        let _first = self.after_read.0.set(Box::new(hook));
    }

    /// Whose key has this hash.
    ///
    /// # Errors
    /// Where the database fails, or the view is too old.
    pub async fn key(&self, hash: ApiKeyHash) -> Result<Option<Arc<Known<KeyCredential>>>, StoreError> {
        self.get(&self.keys, hash, async || self.with_access(self.store.find_key_credential(&hash).await?).await).await
    }

    /// Whose key has a value with this grant, or whose sign-in with a key has this id. It may be over.
    ///
    /// # Errors
    /// Where the database fails, or the view is too old.
    pub async fn grant(&self, grant: SessionId) -> Result<Option<Arc<Known<KeyCredential>>>, StoreError> {
        self.get(&self.grants, grant, async || self.with_access(self.store.find_key_credential_by_sid(grant).await?).await).await
    }

    /// Which sign-in has a cookie with this hash, and of what kind of principal it is. It may be over.
    ///
    /// # Errors
    /// Where the database fails, or the view is too old.
    pub async fn cookie(&self, hash: ApiKeyHash) -> Result<Option<Arc<(SessionId, PrincipalType)>>, StoreError> {
        // That never changes, so it is about nobody.
        let read = async || Ok(self.store.find_session_by_cookie(&hash).await?.map(|found| (Vec::new(), found)));
        self.get(&self.cookies, hash, read).await
    }

    /// What the account of a key may do with it, and whom that is about: also those who made it.
    async fn with_access(&self, found: Option<KeyCredential>) -> Result<Option<(Vec<Uuid>, Known<KeyCredential>)>, StoreError> {
        let Some(mut credential) = found else { return Ok(None) };
        let assignments = self.store.list_assignments(Holder::ServiceAccount(credential.account.id)).await?;
        // Who was deleted between the two reads holds nothing, and is not there.
        let sid = credential.session.map_or(credential.value.grant, |session| session.id);
        if assignments.is_empty() && self.store.find_key_credential_by_sid(sid).await?.is_none() {
            return Ok(None);
        }
        let mut subjects = vec![credential.organization.id.0, credential.account.id.0];
        let (mut access, mut bounded) = (Access::of(&assignments), false);
        if credential.made_by_other {
            let makers = self.store.list_makers(credential.value.id.0).await?;
            subjects.extend(makers.iter().map(|maker| maker.principal.id()));
            let judged = judge(access, &makers, async |holder| self.store.list_assignments(holder).await).await?;
            credential.left_behind = judged.is_none();
            (access, bounded) = judged.map_or_else(Default::default, |judged| (judged.access, judged.bounded));
        }
        Ok(Some((subjects, Known { credential, access, bounded })))
    }

    /// Whose sign-in this is. It may be over.
    ///
    /// # Errors
    /// Where the database fails, or the view is too old.
    pub async fn session(&self, id: SessionId) -> Result<Option<Arc<Known<SessionCredential>>>, StoreError> {
        self.get(&self.sessions, id, async || {
            let Some(mut credential) = self.store.find_session(id).await? else { return Ok(None) };
            let assignments = self.store.list_assignments(Holder::User(credential.holder.user.id)).await?;
            if assignments.is_empty() && self.store.find_session(id).await?.is_none() {
                return Ok(None);
            }
            let access = Access::of(&assignments);
            let user = credential.holder.user.id.0;
            let mut subjects = vec![credential.holder.organization.id.0, user];
            if credential.holder.user.password_by_other {
                let makers = self.store.list_makers(user).await?;
                subjects.extend(makers.iter().map(|maker| maker.principal.id()));
                let counts = password_counts(access.clone(), &makers, async |holder| self.store.list_assignments(holder).await).await?;
                credential.holder.left_behind = !counts;
            }
            Ok(Some((subjects, Known { credential, access, bounded: false })))
        })
        .await
    }

    /// A workspace of an organization.
    ///
    /// # Errors
    /// Where the database fails, or the view is too old.
    pub async fn workspace(&self, organization: OrganizationId, name: WorkspaceName) -> Result<Option<Arc<Workspace>>, StoreError> {
        let key = (organization, name.clone());
        self.get(&self.workspaces, key, async || {
            let found = match &name {
                WorkspaceName::Id(id) => self.store.find_workspace_by_id(organization, id.0).await?,
                WorkspaceName::Slug(slug) => self.store.find_workspace_by_slug(organization, slug).await?,
                WorkspaceName::Audience(audience) => self.store.find_workspace_by_audience(organization, audience).await?,
                WorkspaceName::Host(host) => self.store.find_workspace_by_host(organization, host).await?,
            };
            Ok(found.map(|found| (vec![organization.0], found)))
        })
        .await
    }

    /// All that an organization's workspaces know.
    ///
    /// # Errors
    /// Where the database fails, or the view is too old.
    pub async fn catalogue(&self, organization: OrganizationId) -> Result<Arc<Vec<Permission>>, StoreError> {
        let read = async || Ok(Some((vec![organization.0], self.store.list_catalogue(organization).await?)));
        Ok(self.get(&self.catalogues, organization, read).await?.unwrap_or_default())
    }

    /// The slug of a project of a workspace.
    ///
    /// # Errors
    /// Where the database fails, or the view is too old.
    pub async fn project_slug(&self, organization: OrganizationId, workspace: WorkspaceId, id: ProjectId) -> Result<Option<Arc<String>>, StoreError> {
        self.get(&self.projects, id, async || {
            let found = self.store.find_project_by_id(workspace, id.0).await?;
            Ok(found.map(|found| (vec![organization.0], found.slug.to_string())))
        })
        .await
    }

    /// What is held and still counts, or else what `read` finds, with what it is about.
    async fn get<K: Hash + Eq + Clone + Send + Sync + 'static, T: Send + Sync + 'static>(
        &self,
        table: &Table<K, T>,
        key: K,
        read: impl AsyncFn() -> Result<Option<(Vec<Uuid>, T)>, StoreError>,
    ) -> Result<Option<Arc<T>>, StoreError> {
        self.believe()?;
        if let Some(held) = table.get(&key).await
            && self.store.changes().hold(held.position, &held.subjects)
        {
            return Ok(Some(Arc::clone(&held.value)));
        }
        // Apart, as it is large and seldom needed: whoever waits for this carries its size along.
        Box::pin(self.fill(table, key, read)).await
    }

    async fn fill<K: Hash + Eq + Clone + Send + Sync + 'static, T: Send + Sync + 'static>(
        &self,
        table: &Table<K, T>,
        key: K,
        read: impl AsyncFn() -> Result<Option<(Vec<Uuid>, T)>, StoreError>,
    ) -> Result<Option<Arc<T>>, StoreError> {
        let changes = self.store.changes();
        for _ in 0..TRIES {
            let own = AtomicBool::new(false);
            let reading = async {
                own.store(true, Ordering::Relaxed);
                self.hold(table, &read).await
            };
            let held = match table.try_get_with_by_ref(&key, reading).await {
                Ok(held) => held,
                Err(nothing) => match &*nothing {
                    // Somebody else's read may have begun before what this request asks for was made.
                    Nothing::Missing if !own.load(Ordering::Relaxed) => continue,
                    Nothing::Missing => return Ok(None),
                    Nothing::Failed(error) => return Err(StoreError::of_another(error)),
                },
            };
            if changes.hold(held.position, &held.subjects) {
                return Ok(Some(Arc::clone(&held.value)));
            }
            table.invalidate(&key).await;
            // What this request itself has read may be half from before a change and half from after it. What is read now is as it is since.
            if own.load(Ordering::Relaxed) {
                break;
            }
        }
        Ok(read().await?.map(|(_, value)| Arc::new(value)))
    }

    /// Reads something to be held: as of where the changes were followed to before.
    async fn hold<K: Hash + Eq + Send + Sync + 'static, T: Send + Sync + 'static>(
        &self,
        table: &Table<K, T>,
        read: &impl AsyncFn() -> Result<Option<(Vec<Uuid>, T)>, StoreError>,
    ) -> Result<Arc<Held<T>>, Nothing> {
        let position = self.store.changes().position();
        let read = read().await;
        if let Some(hook) = self.after_read.0.get() {
            hook(table.name().unwrap_or_default()).await;
        }
        match read {
            Ok(Some((subjects, value))) => Ok(Arc::new(Held { value: Arc::new(value), position, subjects })),
            Ok(None) => Err(Nothing::Missing),
            Err(error) => Err(Nothing::Failed(error)),
        }
    }
}

fn table<K: Hash + Eq + Send + Sync + 'static, T: Send + Sync + 'static>(name: &str, entries: u64) -> Table<K, T> {
    Cache::builder().name(name).max_capacity(entries).time_to_live(HELD).build()
}

impl From<&Reference> for WorkspaceName {
    fn from(reference: &Reference) -> Self {
        match reference {
            Reference::Id(id) => Self::Id(WorkspaceId(*id)),
            Reference::Name(slug) => Self::Slug(slug.clone()),
        }
    }
}
