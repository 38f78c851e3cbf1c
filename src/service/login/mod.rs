//! The exchange: an API key, or a person's password, for a short-lived access token.

mod error;
mod exchange_limit;
mod guesses;
mod identity;
mod scope;
mod sign_in;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Context;
use super::memory::{Known, WorkspaceName};
use super::passwords::Passwords;
use super::rate_limit::{Quota, RateLimiter};
use super::recorder::{RecordError, Recorder};
use crate::domain::access::{Access, Place};
use crate::domain::api_key::{KeyPrefix, RawApiKey};
use crate::domain::attributes::CustomClaims;
use crate::domain::audit::{Action, Actor, Event, Origin, Outcome, Target};
use crate::domain::claims::{AccessTokenClaims, AuthorizationDetail, DetailType, PrincipalType};
use crate::domain::credential::{KeyCredential, Refusal};
use crate::domain::entity::{Session, Workspace};
use crate::domain::id::{AuditEventId, OrganizationId, Reference, SessionId, TokenId};
use crate::domain::permission::{self, Permission};
use crate::domain::secret_filter::holds_secret;
use crate::domain::signing::SigningAlgorithm;
use crate::domain::status::StatusIndex;
use crate::domain::time::Timestamp;
use crate::keys::{self, KeyError, KeySet, SigningKey};
use crate::store::{Holder, NewSession, StoreError, StoredPassword};

use exchange_limit::Beyond;
use guesses::Guesses;
use identity::Unidentified;
use scope::{Held, narrow};

pub use error::LoginError;
pub use exchange_limit::ExchangeLimit;

/// The life of a token for Hourpass itself, in seconds.
const OWN_LIFETIME_SECONDS: i64 = 3_600;
/// The greatest length of a token, in bytes: it travels in a header, which most servers take up to 8 KiB.
const LONGEST_TOKEN: usize = 8_000;
/// Of more parts of Hourpass than this, a token that stands for its holder says nothing.
const MOST_PARTS: usize = 10;
/// Who asks for a person's token: Hourpass's own sign-in.
const OWN_CLIENT_ID: &str = "hourpass";

/// What someone presents.
#[derive(Debug)]
pub enum Presented {
    /// An API key.
    ApiKey(RawApiKey),
    /// A person's address and password.
    Password {
        /// As typed.
        email: String,
        /// As typed.
        password: SecretString,
    },
}

/// Whom the token is to be for.
#[derive(Clone, Debug)]
pub enum Receiver {
    /// Hourpass itself.
    Hourpass,
    /// The workspace of this slug or id.
    Workspace(Reference),
    /// Whoever has this audience: Hourpass itself or a workspace.
    Audience(String),
    /// The workspace that is reached at this host.
    Host(String),
}

/// A wish for a token.
#[derive(Debug)]
pub struct LoginRequest {
    /// Who asks.
    pub presented: Presented,
    /// For whom the token is to be.
    pub receiver: Receiver,
    /// The permissions asked for, with spaces between them; all that are held where this is nothing or empty.
    pub scope: Option<String>,
    /// Whether a page of Hourpass asks: then a token for Hourpass itself that stands for its holder begins a session with a cookie.
    pub browser: bool,
    /// Where the request came from.
    pub origin: Origin,
}

/// What a browser is given to keep, so that it is known again.
#[derive(Debug)]
pub struct Cookie {
    /// The content.
    pub secret: RawApiKey,
    /// Until when it counts.
    pub expires_at: Timestamp,
}

/// An issued token. Its record is durable.
#[derive(Debug)]
pub struct Issued {
    /// The token in compact form.
    pub access_token: String,
    /// Its life in seconds: always `exp - iat`.
    pub expires_in: i64,
    /// Its permissions.
    pub scope: Option<String>,
    /// Its permissions in parts of the receiver only.
    pub authorization_details: Vec<AuthorizationDetail>,
    /// The cookie of the session that began with it.
    pub cookie: Option<Cookie>,
}

/// Who presented a valid secret.
enum Subject {
    Key(Arc<Known<KeyCredential>>),
    User {
        /// With the hash that the password matched.
        stored: Box<StoredPassword>,
        /// A stronger hash of it, where the settings ask for more by now.
        rehashed: Option<SecretString>,
    },
}

impl Subject {
    fn organization(&self) -> OrganizationId {
        match self {
            Self::Key(known) => known.credential.organization.id,
            Self::User { stored, .. } => stored.holder.organization.id,
        }
    }

    fn actor(&self) -> Actor {
        match self {
            Self::Key(known) => Actor::from(&known.credential),
            Self::User { stored, .. } => Actor::from(&stored.holder),
        }
    }

    fn target(&self) -> Target {
        match self {
            Self::Key(known) => Target::from(&known.credential.account),
            Self::User { stored, .. } => Target::from(&stored.holder.user),
        }
    }

    /// Whether their credential does less than they may: whoever made it may do less.
    fn is_bounded(&self) -> bool {
        match self {
            Self::Key(known) => known.bounded,
            Self::User { .. } => false,
        }
    }

    fn check(&self, now: Timestamp) -> Result<(), Refusal> {
        match self {
            Self::Key(known) => known.credential.check(now),
            Self::User { stored, .. } => stored.holder.check(),
        }
    }
}

/// A token that may be issued.
struct Permitted {
    workspace: Option<Arc<Workspace>>,
    held: Held,
}

/// Exchanges credentials for tokens.
#[derive(Debug)]
pub struct Login {
    context: Context,
    passwords: Passwords,
    recorder: Recorder,
    /// How long a session in a browser may last in all.
    longest_session: Duration,
    /// Refusals of people and keys that nobody knows are anybody's to cause, so only so many of them are kept.
    strangers: RateLimiter<()>,
    /// Who began sessions in a browser just now.
    beginners: RateLimiter<Uuid>,
    guesses: Guesses,
    /// How many exchanges service accounts may make.
    exchanges: ExchangeLimit,
}

/// How many refusals of strangers are kept a second, and at once.
const STRANGERS_A_SECOND: NonZeroU32 = NonZeroU32::new(5).unwrap();
const STRANGERS_AT_ONCE: NonZeroU32 = NonZeroU32::new(100).unwrap();

impl Login {
    /// With nothing issued yet. A session in a browser lasts at most `longest_session`.
    #[must_use]
    pub fn new(
        context: Context,
        passwords: Passwords,
        recorder: Recorder,
        longest_session: Duration,
        guesses_a_minute: Option<NonZeroU32>,
        exchanges_a_minute: Option<NonZeroU32>,
    ) -> Self {
        let (strangers, beginners) = (RateLimiter::default(), RateLimiter::default());
        Self {
            context,
            passwords,
            recorder,
            longest_session,
            strangers,
            beginners,
            guesses: Guesses::new(guesses_a_minute),
            exchanges: ExchangeLimit::new(exchanges_a_minute),
        }
    }

    /// Issues a token, after its record is durable.
    ///
    /// # Errors
    /// Why not. A refusal is on record, too, unless what was presented was never a key.
    pub async fn login(&self, request: LoginRequest) -> Result<Issued, LoginError> {
        let LoginRequest { presented, receiver, scope, browser, origin } = request;
        let subject = match self.identify(presented, &origin).await {
            Ok(subject) => subject,
            Err(Unidentified { error, claimed }) => {
                let (organization, actor) = match &claimed {
                    Some(user) => (Some(user.organization.id), Actor::from(user)),
                    None => (None, Actor::unknown()),
                };
                if claimed.is_some() || (error.is_of_a_stranger() && self.is_kept_of_a_stranger()) {
                    self.record_refusal(organization, actor, &error, &receiver, origin, self.context.sources.now(), None).await?;
                }
                return Err(error);
            }
        };
        // Read here and not before: comparing a password can take a while.
        let now = self.context.sources.now();
        if let Err(Beyond { most, wait, unrecorded }) = self.count_exchange(&subject, now) {
            let error = LoginError::TooManyExchanges(most, wait);
            // A flood of refusals is not to fill the trail either.
            if let Some(count) = unrecorded {
                let details = Some(json!({ "exchanges_per_minute": most, "refused_since_the_last_record": count }));
                self.record_refusal(Some(subject.organization()), subject.actor(), &error, &receiver, origin, now, details).await?;
            }
            return Err(error);
        }
        let error = match self.permit(&subject, &receiver, scope.as_deref()).await {
            Ok(permitted) => match self.issue(&subject, permitted, browser, origin.clone(), now).await {
                Ok(issued) => return Ok(issued),
                Err(error) => error,
            },
            Err(error) => error,
        };
        if !error.is_failure() {
            self.record_refusal(Some(subject.organization()), subject.actor(), &error, &receiver, origin, now, None).await?;
        }
        Err(error)
    }

    /// How many exchanges service accounts may make.
    #[must_use]
    pub fn exchange_limit(&self) -> &ExchangeLimit {
        &self.exchanges
    }

    /// Counts an exchange of a service account.
    fn count_exchange(&self, subject: &Subject, now: Timestamp) -> Result<(), Beyond> {
        let Subject::Key(known) = subject else { return Ok(()) };
        let works = known.credential.check(self.context.sources.latest()).is_ok();
        self.exchanges.count(&known.credential.account, works, now)
    }

    /// Whether the refusal of a stranger is to be recorded.
    fn is_kept_of_a_stranger(&self) -> bool {
        let quota = Quota::per_second(STRANGERS_A_SECOND, STRANGERS_AT_ONCE);
        self.strangers.check(&(), quota, self.context.sources.now()).is_ok()
    }

    async fn permit(&self, subject: &Subject, receiver: &Receiver, scope: Option<&str>) -> Result<Permitted, LoginError> {
        subject.check(self.context.sources.latest())?;
        let workspace = self.find_receiver(subject.organization(), receiver).await?;
        let assigned;
        let access = match subject {
            Subject::Key(known) => &known.access,
            Subject::User { stored, .. } => {
                assigned = Access::of(&self.context.store.list_assignments(Holder::User(stored.holder.user.id)).await?);
                &assigned
            }
        };
        let held = match &workspace {
            Some(workspace) => {
                let catalogue = self.context.memory.catalogue(subject.organization()).await?;
                let (whole, parts) = (access.at_workspace(workspace.id, &catalogue), access.at_projects(workspace.id, &catalogue));
                Held { whole, parts, narrowed: false }
            }
            None => Held { whole: access.at_hourpass(), parts: access.at_parts_of_hourpass(), narrowed: false },
        };
        match &workspace {
            Some(_) if held.whole.is_empty() && held.parts.is_empty() && subject.is_bounded() => Err(Refusal::ApiKeyLeftBehind.into()),
            Some(workspace) if held.whole.is_empty() && held.parts.is_empty() => Err(LoginError::AccessDenied(workspace.slug.to_string())),
            _ => Ok(Permitted { workspace, held: narrow(held, scope)? }),
        }
    }

    /// The workspace that the token is to be for, or nothing where it is for Hourpass itself.
    async fn find_receiver(&self, organization: OrganizationId, receiver: &Receiver) -> Result<Option<Arc<Workspace>>, LoginError> {
        let (workspace, name) = match receiver {
            Receiver::Hourpass => return Ok(None),
            Receiver::Audience(audience) if *audience == self.context.issuer => return Ok(None),
            Receiver::Workspace(reference) => (WorkspaceName::from(reference), reference.to_string()),
            Receiver::Audience(audience) => (WorkspaceName::Audience(audience.clone()), audience.clone()),
            Receiver::Host(host) => (WorkspaceName::Host(host.clone()), host.clone()),
        };
        let found = self.context.memory.workspace(organization, workspace).await?;
        if found.is_none() && matches!(receiver, Receiver::Host(_)) {
            return Err(LoginError::NoTarget);
        }
        // A token for a workspace that had our own audience would look like one for Hourpass itself.
        found.filter(|workspace| workspace.audience.as_str() != self.context.issuer).map(Some).ok_or(LoginError::InvalidTarget(name))
    }

    async fn issue(&self, subject: &Subject, permitted: Permitted, browser: bool, origin: Origin, now: Timestamp) -> Result<Issued, LoginError> {
        let (algorithm, previous, lifetime, audience) = match &permitted.workspace {
            Some(workspace) => {
                let (algorithm, previous) = (workspace.signing_algorithm, workspace.previous_signing_algorithm);
                (algorithm, previous, workspace.token_lifetime_seconds, workspace.audience.to_string())
            }
            None => (SigningAlgorithm::Es256, None, OWN_LIFETIME_SECONDS, self.context.issuer.clone()),
        };
        let keys = self.context.signing.with_key_for(algorithm).await?;
        let key = published_key(&keys, algorithm, previous, now)?;
        // A token for Hourpass that was not narrowed stands for its holder, whatever it says, so that it need not say everything.
        let unsaid = permitted.workspace.is_none() && !permitted.held.narrowed && permitted.held.parts.len() > MOST_PARTS;
        let parts = if unsaid { &[][..] } else { &permitted.held.parts };
        let authorization_details = self.details(subject.organization(), parts).await?;
        let mut actor = subject.actor();
        // A session may do all that its holder may, so whoever asks for less gets none.
        let browser = browser && permitted.workspace.is_none() && !permitted.held.narrowed;
        if let Some(id) = actor.id.filter(|_| browser) {
            self.check_beginner(id, now)?;
        }
        let cookie = browser.then(|| RawApiKey::generate(&KeyPrefix::session(), self.context.sources.random()));
        let (status, sign_in) = match subject {
            Subject::Key(known) if !browser => match known.credential.status {
                Some(status) => (status, None),
                None => (Box::pin(self.add_status(known, now)).await?, None),
            },
            _ => {
                let id = SessionId::generate(now, self.context.sources.random());
                actor.session_id = Some(id);
                // By the clock that says whether it is over.
                let begun = self.context.sources.latest();
                let mut session = Session::begin(id, begun, browser.then_some(self.longest_session));
                session.expires_at = session.expires_at.min(begun.plus(Duration::from_secs(lifetime.unsigned_abs())));
                let new = NewSession { session, cookie: cookie.as_ref().map(RawApiKey::hash), origin: &origin };
                let (tx, status) = Box::pin(self.begin_sign_in(&new, subject)).await?;
                (status, Some(tx))
            }
        };
        let cookie = cookie.map(|secret| Cookie { secret, expires_at: self.context.sources.latest().plus(Session::LIFETIME) });
        let issued_at = now.as_seconds();
        let subject_id = actor.id.map(|id| id.to_string()).unwrap_or_default();
        let (principal_type, client_id) = match subject {
            Subject::Key(_) => (PrincipalType::ServiceAccount, subject_id.clone()),
            Subject::User { .. } => (PrincipalType::User, OWN_CLIENT_ID.to_owned()),
        };
        let claims = AccessTokenClaims {
            iss: self.context.issuer.clone(),
            sub: subject_id,
            aud: audience,
            client_id,
            iat: issued_at,
            exp: issued_at + lifetime,
            nbf: None,
            jti: TokenId::generate(now, self.context.sources.random()),
            scope: permission::to_scope(&permitted.held.whole),
            authorization_details,
            narrowed: permitted.held.narrowed,
            org_id: subject.organization(),
            workspace_id: permitted.workspace.as_ref().map(|workspace| workspace.id),
            api_key_id: actor.api_key_id,
            sid: actor.session_id,
            status: Some(status.claim(&self.context.issuer)),
            principal_type,
            name: actor.name.clone(),
            custom: match (subject, &permitted.workspace) {
                (Subject::Key(known), Some(workspace)) => known.credential.account.claims.clone().overridden_by(&workspace.claims),
                (Subject::Key(known), None) => known.credential.account.claims.clone().overridden_by(&CustomClaims::default()),
                (Subject::User { .. }, Some(workspace)) => workspace.claims.clone().overridden_by(&CustomClaims::default()),
                (Subject::User { .. }, None) => BTreeMap::new(),
            },
        };
        let access_token = keys::mint(key, &claims)?;
        if access_token.len() > LONGEST_TOKEN {
            return Err(LoginError::TokenTooLarge(access_token.len()));
        }

        let event = Event {
            id: AuditEventId::generate(now, self.context.sources.random()),
            organization_id: Some(claims.org_id),
            occurred_at: now,
            actor,
            action: Action::TokenIssue,
            target: permitted.workspace.as_deref().map_or_else(Target::hourpass, Target::from),
            outcome: Outcome::Granted,
            origin: origin.clone(),
            token_expires_at: Some(Timestamp::from_seconds(claims.exp)),
            details: Some(on_record(&claims, browser)),
        };
        // The token leaves only after its record is durable.
        match sign_in {
            Some(mut tx) => {
                tx.insert_event(&event).await?;
                tx.commit().await?;
            }
            None => self.recorder.record(event).await?,
        }
        // Its record may have waited for long: what has changed meanwhile, whoever asks again gets right.
        if self.context.signing.keys().await?.find(key.kid()).is_none() {
            return Err(StoreError::changed_meanwhile().into());
        }
        if let Subject::Key(known) = subject {
            self.check_again(known).await?;
            self.context.usage.note(&known.credential, &origin, now);
        }
        Ok(Issued { access_token, expires_in: lifetime, scope: claims.scope, authorization_details: claims.authorization_details, cookie })
    }

    /// Gives a key value its place in the status lists, where a node of an earlier version made it.
    async fn add_status(&self, known: &Known<KeyCredential>, now: Timestamp) -> Result<StatusIndex, StoreError> {
        let KeyCredential { account, value, .. } = &known.credential;
        let mut tx = self.context.store.begin().await?;
        // Of several at once, one adds it.
        tx.lock_service_account(account.organization_id, account.id).await?;
        let status = tx.ensure_status(account.id, value, now).await?;
        tx.commit().await?;
        Ok(status)
    }

    /// Looks at a key again, after its record was waited for: what was held of it then may be too old by now.
    async fn check_again(&self, known: &Arc<Known<KeyCredential>>) -> Result<(), LoginError> {
        let now = self.context.memory.grant(known.credential.value.grant).await?.ok_or(LoginError::UnknownKey)?;
        now.credential.check(self.context.sources.latest())?;
        // Whoever asks again gets what is right now.
        if now.access == known.access { Ok(()) } else { Err(StoreError::changed_meanwhile().into()) }
    }

    /// As RFC 9396 writes them, with the slugs of the parts.
    async fn details(&self, organization: OrganizationId, parts: &[(Place, Vec<Permission>)]) -> Result<Vec<AuthorizationDetail>, StoreError> {
        let mut details = Vec::new();
        for (place, actions) in parts {
            let (kind, identifier, slug) = match *place {
                Place::Project(workspace, id) => {
                    (DetailType::Project, id.0, self.context.memory.project_slug(organization, workspace, id).await?.map(|slug| slug.to_string()))
                }
                Place::Workspace(id) => (
                    DetailType::Workspace,
                    id.0,
                    self.context.memory.workspace(organization, WorkspaceName::Id(id)).await?.map(|it| it.slug.to_string()),
                ),
                Place::Organization | Place::Platform => continue,
            };
            // Deleted just now.
            let Some(slug) = slug else { continue };
            let workspace_id = place.project().and(place.workspace());
            details.push(AuthorizationDetail { kind, identifier, slug, workspace_id, actions: actions.clone() });
        }
        Ok(details)
    }

    #[expect(clippy::too_many_arguments, reason = "an event has that many independent parts")]
    async fn record_refusal(
        &self,
        organization_id: Option<OrganizationId>,
        actor: Actor,
        error: &LoginError,
        receiver: &Receiver,
        origin: Origin,
        now: Timestamp,
        details: Option<Value>,
    ) -> Result<(), RecordError> {
        let target = match receiver {
            Receiver::Hourpass => Target::hourpass(),
            Receiver::Workspace(reference) => asked(&reference.to_string()),
            Receiver::Audience(name) | Receiver::Host(name) => asked(name),
        };
        let id = AuditEventId::generate(now, self.context.sources.random());
        let (action, outcome) = (Action::TokenIssue, Outcome::Denied(error.code()));
        let event = Event { id, organization_id, occurred_at: now, actor, action, target, outcome, origin, token_expires_at: None, details };
        self.recorder.record(event).await
    }
}

/// The key that signs for `algorithm`. Until its first key is published for long enough, a workspace that changed its algorithm signs with the `previous` one.
fn published_key(keys: &KeySet, algorithm: SigningAlgorithm, previous: Option<SigningAlgorithm>, now: Timestamp) -> Result<&SigningKey, LoginError> {
    let key = keys.current(algorithm, now).or_else(|| keys.current(previous?, now));
    key.ok_or_else(|| match keys.awaited(algorithm, now) {
        Some(at) => LoginError::NotYetPublished(algorithm, at.since(now)),
        None => KeyError::Crypto(algorithm).into(),
    })
}

/// What the audit trail says of an issued token.
fn on_record(claims: &AccessTokenClaims, browser: bool) -> Value {
    let mut details = json!({ "jti": claims.jti, "audience": claims.aud, "scope": claims.scope });
    if let Some(members) = details.as_object_mut() {
        if !claims.authorization_details.is_empty() {
            members.insert("authorization_details".to_owned(), json!(claims.authorization_details));
        }
        if browser {
            members.insert("session".to_owned(), json!("in a browser"));
        }
    }
    details
}

/// A receiver that was asked for, in the caller's own words: cut, and left out where they could be a secret in the wrong field.
fn asked(name: &str) -> Target {
    const LONGEST: usize = 100;
    let secret = holds_secret(name) || !name.contains(['.', ':', '/', '-']) && name.len() > 40;
    let name = if secret { "(left out)".to_owned() } else { name.chars().take(LONGEST).collect() };
    Target { kind: "workspace", id: None, name }
}
