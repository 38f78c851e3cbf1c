//! Use cases. Each reads the clock once, decides by the rules of the domain, and writes a change and its audit event in one transaction.
//!
//! May not know: HTTP, SQL.

mod administration;
mod audit_log;
mod authentication;
mod bootstrap;
mod follower;
mod idempotency;
mod login;
mod makers;
mod management;
mod memory;
mod passwords;
mod rate_limit;
mod recorder;
mod restoration;
mod sessions;
mod signing;
mod status;
mod traffic;
mod upkeep;
mod usage;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::domain::api_key::KeyPrefix;
use crate::domain::random::Random;
use crate::domain::time::{Clock, Timestamp};
use crate::store::Store;

pub use administration::{Administration, AdministrationError, IssueKey};
pub use audit_log::{ActionFilter, AuditLog, EventQuery, Selection};
pub use authentication::{AuthenticationError, Authenticator, Caller, Principal};
pub use bootstrap::{FirstStart, generate_password};
pub use follower::{Follower, Propagation};
pub use idempotency::{Attempt, KeptAnswer, Uncommitted};
pub use login::{Cookie, ExchangeLimit, Issued, Login, LoginError, LoginRequest, Presented, Receiver};
pub use management::{
    AccessAnswer, AccessQuery, AccountChange, AssignmentQuery, CredentialAnswer, CredentialKind, CredentialQuery, EffectivePermission, FirstAccess,
    HolderReference, Impact, Invitation, KeyChange, LeftBehindCount, Management, ManagementError, NewAccount, NewAssignment, NewGiven, NewKey,
    NewKeyValue, NewOrganization, NewPermission, NewProject, NewRole, NewTeam, NewUser, NewWorkspace, OrganizationChange, Overview, Page,
    ProjectChange, Reach, ReceiverKind, RoleChange, Rotation, Rules, Standing, TeamChange, UserChange, WorkspaceChange,
};
pub use memory::{Known, Memory, WorkspaceName};
pub use passwords::{PasswordError, Passwords};
pub use rate_limit::{Quota, RateLimiter};
pub use recorder::{RecordError, Recorder};
pub use restoration::{Declaration, Restoration, Restored};
pub use sessions::Sessions;
pub use signing::{KeyInfo, NewSigningKey, Published, Rotated, RotatedBy, Signing, SigningError, Turn};
pub use status::{StatusList, StatusLists, StatusPublisher, StatusRules};
pub use traffic::{Counted, Span, Traffic};
pub use upkeep::Upkeep;
pub use usage::{Flushed, Usage};

/// Where the present and randomness come from.
#[derive(Clone)]
pub struct Sources {
    /// The present.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// The latest present that was seen, in microseconds since the Unix epoch.
    latest: Arc<AtomicI64>,
}

impl Sources {
    /// Of this clock and this randomness.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        Self { clock, random, latest: Arc::new(AtomicI64::new(i64::MIN)) }
    }

    /// The latest present that was ever seen: what decides whether a key or a sign-in is over, so that none comes back when the clock is set back.
    #[must_use]
    pub fn latest(&self) -> Timestamp {
        let now = self.now().as_micros();
        Timestamp::from_micros(self.latest.fetch_max(now, Ordering::Relaxed).max(now))
    }

    /// The present.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Randomness.
    #[must_use]
    pub fn random(&self) -> &dyn Random {
        self.random.as_ref()
    }
}

/// What the login and the authentication have in common.
#[derive(Clone, Debug)]
pub struct Context {
    /// The database.
    pub store: Store,
    /// What is held of it in memory.
    pub memory: Memory,
    /// The signing keys.
    pub signing: Arc<Signing>,
    /// Where uses of keys are noted.
    pub usage: Arc<Usage>,
    /// Time and randomness.
    pub sources: Sources,
    /// The `iss` of tokens, and the `aud` of those for Hourpass itself.
    pub issuer: String,
    /// What our keys begin with: the checksum of such a key has to hold.
    pub prefix: KeyPrefix,
}

impl std::fmt::Debug for Sources {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Sources")
    }
}
