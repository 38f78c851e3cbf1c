//! The things that Hourpass keeps.

use super::id::{ApiKeyId, OrganizationId, ServiceAccountId, SessionId, UserId, WorkspaceId};
use super::name::{Audience, Email, Name, Slug, WorkspaceUrl};
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
    /// When it was made.
    pub created_at: Timestamp,
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
    /// When it was made.
    pub created_at: Timestamp,
}

/// A credential of a service account. The key itself is not kept.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// Its id.
    pub id: ApiKeyId,
    /// Whose it is.
    pub service_account_id: ServiceAccountId,
    /// Its name, unique in the account.
    pub name: Name,
    /// Its first characters, by which people recognise it.
    pub hint: String,
    /// Whether it may be used; separate from the account's own flag.
    pub active: bool,
    /// From when on it is refused; without this it lives for ever.
    pub expires_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
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
    /// Whether they may sign in.
    pub active: bool,
    /// When they were made known.
    pub created_at: Timestamp,
}

/// A person's sign-in. Tokens that it yielded end with it.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its id: the `sid` of its tokens.
    pub id: SessionId,
    /// Whose it is.
    pub user_id: UserId,
    /// From when on it is over.
    pub expires_at: Timestamp,
}
