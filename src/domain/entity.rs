//! The things that Hourpass keeps.

use std::num::NonZeroU32;
use std::time::Duration;

use uuid::Uuid;

use super::attributes::{CustomClaims, Labels};
use super::claims::PrincipalType;
use super::id::{ApiKeyId, KeyValueId, OrganizationId, ProjectId, ServiceAccountId, SessionId, TeamId, UserId, WorkspaceId};
use super::name::{Audience, Email, Invalid, Name, Slug, WorkspaceUrl};
use super::signing::SigningAlgorithm;
use super::time::Timestamp;

/// The tenant, which owns all else. One organization never sees another.
#[derive(Clone, Debug)]
pub struct Organization {
    /// Its id.
    pub id: OrganizationId,
    /// Its short name, unique.
    pub slug: Slug,
    /// Its name.
    pub name: Name,
    /// How long its API keys may live.
    pub key_policy: KeyPolicy,
    /// When it was made.
    pub created_at: Timestamp,
}

/// How long the API keys of an organization may live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyPolicy {
    /// At most so many days; without this, also for ever.
    pub max_days: Option<u16>,
    /// So many days where nothing is asked for; without this, as long as they may.
    pub default_days: Option<u16>,
}

impl KeyPolicy {
    /// The greatest number of days that can be asked for: ten years.
    pub const LIMIT: u16 = 3_650;

    /// The days that a new value of a key lives, or nothing for ever. `asked` is nothing where nothing was said.
    ///
    /// # Errors
    /// Where it is more than the organization allows.
    pub fn lifetime(self, asked: Option<Option<u16>>) -> Result<Option<u16>, Invalid> {
        let days = asked.unwrap_or(self.default_days.or(self.max_days));
        match (days, self.max_days) {
            (None, Some(max)) => Err(Invalid(format!("must be at most {max}, as your organization has it; keys that never expire are not allowed"))),
            (Some(days), Some(max)) if days > max => Err(Invalid(format!("must be at most {max}, as your organization has it"))),
            _ => Ok(days),
        }
    }
}

/// A resource service or environment of an organization: what a token is for.
#[derive(Clone, Debug)]
pub struct Workspace {
    /// Its id.
    pub id: WorkspaceId,
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// Its short name, unique in the organization.
    pub slug: Slug,
    /// Its name.
    pub name: Name,
    /// Where it is reached; a login that asks this host is for this workspace.
    pub url: Option<WorkspaceUrl>,
    /// The `aud` of tokens for it; unique.
    pub audience: Audience,
    /// How long tokens for it live, in seconds.
    pub token_lifetime_seconds: i64,
    /// What tokens for it are signed with.
    pub signing_algorithm: SigningAlgorithm,
    /// What tokens for it are signed with until validators know the first key of `signing_algorithm`, if it was changed to that.
    pub previous_signing_algorithm: Option<SigningAlgorithm>,
    /// What it is found by.
    pub labels: Labels,
    /// What its tokens say besides.
    pub claims: CustomClaims,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A subdivision of a workspace: a place for roles.
#[derive(Clone, Debug)]
pub struct Project {
    /// Its id.
    pub id: ProjectId,
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// The workspace that it is in. It never moves.
    pub workspace_id: WorkspaceId,
    /// Its short name, unique in the workspace.
    pub slug: Slug,
    /// Its name.
    pub name: Name,
    /// What it is for.
    pub description: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A group of service accounts and people, who hold what it was given.
#[derive(Clone, Debug)]
pub struct Team {
    /// Its id.
    pub id: TeamId,
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// Its name, unique in the organization.
    pub name: Name,
    /// What it is for.
    pub description: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A machine's identity.
#[derive(Clone, Debug)]
pub struct ServiceAccount {
    /// Its id: the `sub` of its tokens.
    pub id: ServiceAccountId,
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// Its name, unique in the organization.
    pub name: Name,
    /// What it is for.
    pub description: String,
    /// Whether it may be used at all.
    pub active: bool,
    /// What it is found by.
    pub labels: Labels,
    /// What its tokens say besides.
    pub claims: CustomClaims,
    /// How many exchanges it may make a minute on each node; as the server's setting has it without this.
    pub exchanges_per_minute: Option<NonZeroU32>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When and from where one of its keys was last used.
    pub last_use: Option<LastUse>,
    /// When the first of its active keys expires, or expired.
    pub next_key_expires_at: Option<Timestamp>,
}

/// The greatest number of exchanges a minute that an account may be allowed.
pub const MOST_EXCHANGES_A_MINUTE: u32 = 1_000_000;

/// When and from where something was last used. It may be a minute older than the truth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastUse {
    /// When.
    pub at: Timestamp,
    /// From which address.
    pub address: Option<String>,
    /// With which `User-Agent`.
    pub user_agent: Option<String>,
}

/// A credential of a service account. It keeps its name and its place while its value changes.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// Its id.
    pub id: ApiKeyId,
    /// Whose it is.
    pub service_account_id: ServiceAccountId,
    /// Its name, unique in the account.
    pub name: Name,
    /// Whether it may be used; separate from the account's own flag.
    pub active: bool,
    /// Since when it is known to be in wrong hands. Such a key is never activated again.
    pub compromised_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When and from where it was last used, by whichever value.
    pub last_use: Option<LastUse>,
}

/// A value that a key has or had. The raw value is not kept.
#[derive(Clone, Debug)]
pub struct KeyValue {
    /// Its id.
    pub id: KeyValueId,
    /// Its first characters, by which people recognise it.
    pub hint: String,
    /// What the tokens obtained with it name in `sid`. Another one ends them.
    pub grant: SessionId,
    /// When it was made: with the key, or at a rotation.
    pub created_at: Timestamp,
    /// From when on it is refused; without this, never.
    pub expires_at: Option<Timestamp>,
    /// For a value that was rotated out: until when it works all the same.
    pub retained_until: Option<Timestamp>,
    /// When and from where it was last used.
    pub last_use: Option<LastUse>,
}

impl KeyValue {
    /// When it stops working by itself: it expires, or the time is over for which it was retained.
    #[must_use]
    pub fn ends_at(&self) -> Option<Timestamp> {
        [self.expires_at, self.retained_until].into_iter().flatten().min()
    }
}

/// A key with its values.
#[derive(Clone, Debug)]
pub struct KeyDetails {
    /// The key.
    pub key: ApiKey,
    /// What it is now.
    pub current: KeyValue,
    /// What it was before the last rotation.
    pub retained: Option<KeyValue>,
    /// Who made its current value: another than the account itself. Nothing where nobody knows, as of `hourpass admin`.
    pub made_by: Option<(PrincipalType, Uuid)>,
}

/// A person.
#[derive(Clone, Debug)]
pub struct User {
    /// Its id: the `sub` of their tokens.
    pub id: UserId,
    /// Whose member they are.
    pub organization_id: OrganizationId,
    /// How they sign in; unique.
    pub email: Email,
    /// How they are called; empty where that was not said.
    pub name: String,
    /// Whether they may sign in.
    pub active: bool,
    /// Whether they have a password; an invited person has none yet.
    pub has_password: bool,
    /// Whether somebody else set that password, and so knows it.
    pub password_by_other: bool,
    /// When they were made known.
    pub created_at: Timestamp,
}

/// A sign-in: of a person, or in a browser of a service account. Tokens that it yielded end with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its id: the `sid` of its tokens.
    pub id: SessionId,
    /// When it began.
    pub created_at: Timestamp,
    /// From when on it is over.
    pub expires_at: Timestamp,
    /// For one in a browser: until when its use renews it.
    pub renewable_until: Option<Timestamp>,
}

impl Session {
    /// How long a sign-in lasts without being renewed, and so how long its token lives.
    pub const LIFETIME: Duration = Duration::from_hours(1);

    /// One that begins `now`: in a browser one whose use renews it for `longest` in all.
    #[must_use]
    pub fn begin(id: SessionId, now: Timestamp, longest: Option<Duration>) -> Self {
        let renewable_until = longest.map(|longest| now.plus(longest));
        let expires_at = now.plus(Self::LIFETIME);
        Self { id, created_at: now, expires_at: renewable_until.map_or(expires_at, |end| expires_at.min(end)), renewable_until }
    }

    /// Whether it counts at `now`.
    #[must_use]
    pub fn is_valid(&self, now: Timestamp) -> bool {
        now < self.expires_at
    }

    /// Until when its use at `now` renews it; nothing where it is still too new for that, is over, or has come to its end.
    #[must_use]
    pub fn renewed(&self, now: Timestamp) -> Option<Timestamp> {
        let expires_at = now.plus(Self::LIFETIME).min(self.renewable_until?);
        let due = now.plus(Self::LIFETIME / 2) >= self.expires_at;
        (self.is_valid(now) && due && expires_at > self.expires_at).then_some(expires_at)
    }
}

/// A sign-in as its owner sees it in a list.
#[derive(Clone, Debug)]
pub struct SessionDetails {
    /// The sign-in.
    pub session: Session,
    /// From which address it began.
    pub address: Option<String>,
    /// With which `User-Agent` it began.
    pub user_agent: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_in_a_browser_is_renewed_in_its_second_half_and_up_to_its_end() {
        let at = |minutes: u64| Timestamp::from_seconds(1_000_000).plus(Duration::from_mins(minutes));
        let id = SessionId(Uuid::nil());
        let session = Session::begin(id, at(0), Some(Duration::from_mins(150)));
        assert_eq!((session.expires_at, session.renewed(at(29)), session.renewed(at(60))), (at(60), None, None));
        assert_eq!(session.renewed(at(30)), Some(at(90)));
        let renewed = Session { expires_at: at(120), ..session };
        assert_eq!(renewed.renewed(at(119)), Some(at(150)));
        let last = Session { expires_at: at(150), ..session };
        assert_eq!((last.renewed(at(149)), last.is_valid(at(149)), last.is_valid(at(150))), (None, true, false));
        assert_eq!(Session::begin(id, at(0), None).renewed(at(40)), None);
        assert_eq!(Session::begin(id, at(0), Some(Duration::from_mins(5))).expires_at, at(5));
    }

    #[test]
    fn a_key_lives_as_long_as_the_organization_allows() {
        let free = KeyPolicy::default();
        assert_eq!((free.lifetime(None), free.lifetime(Some(None)), free.lifetime(Some(Some(7)))), (Ok(None), Ok(None), Ok(Some(7))));
        let strict = KeyPolicy { max_days: Some(90), default_days: Some(30) };
        assert_eq!((strict.lifetime(None), strict.lifetime(Some(Some(90)))), (Ok(Some(30)), Ok(Some(90))));
        assert!(strict.lifetime(Some(None)).is_err() && strict.lifetime(Some(Some(91))).is_err());
        assert_eq!(KeyPolicy { max_days: Some(90), default_days: None }.lifetime(None), Ok(Some(90)));
    }
}
