//! Who may do what, and why; and why a credential works or does not.

use serde::Serialize;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::assignments::{HolderReference, Spot};
use super::{Management, ManagementError, no, require};
use crate::domain::access::{Access, Assignment, Level, Place};
use crate::domain::api_key::RawApiKey;
use crate::domain::audit::Target;
use crate::domain::claims::{AccessTokenClaims, PrincipalType};
use crate::domain::credential::{KeyCredential, Refusal, UserCredential};
use crate::domain::entity::{ServiceAccount, Workspace};
use crate::domain::id::{ApiKeyId, OrganizationId, Reference, ServiceAccountId, UserId};
use crate::domain::name::Invalid;
use crate::domain::permission::{HOURPASS, Permission};
use crate::domain::time::Timestamp;
use crate::keys::{KeySet, TokenError, inspect};
use crate::service::makers::{judge, password_counts};
use crate::service::{Caller, ExchangeLimit};
use crate::store::{Holder, StoreError};

/// Whose access is asked for, and where.
#[derive(Clone, Debug)]
pub struct AccessQuery {
    /// Id or name of an account, a person or a team.
    pub principal: Reference,
    /// In which workspace; at Hourpass without one.
    pub workspace: Option<Reference>,
    /// In which project of it.
    pub project: Option<Reference>,
}

/// What someone may do at a place.
#[derive(Clone, Debug)]
pub struct AccessAnswer {
    /// Who.
    pub principal: Target,
    /// The place.
    pub level: Level,
    /// Each permission held there.
    pub permissions: Vec<EffectivePermission>,
}

/// A permission, and all that gives it.
#[derive(Clone, Debug)]
pub struct EffectivePermission {
    /// The permission.
    pub permission: Permission,
    /// Whom it is of use with: the workspace, or Hourpass itself.
    pub receiver: ReceiverKind,
    /// Where it comes from; never empty.
    pub sources: Vec<Assignment>,
}

/// Who understands a permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReceiverKind {
    /// A workspace.
    Workspace,
    /// Hourpass itself.
    Hourpass,
}

/// Whether a credential works.
#[derive(Debug)]
pub struct CredentialQuery {
    /// An API key, or an access token.
    pub credential: Zeroizing<String>,
    /// For which workspace; for Hourpass itself without one.
    pub workspace: Option<Reference>,
    /// In which project of it.
    pub project: Option<Reference>,
    /// For what.
    pub permission: Option<Permission>,
}

/// Whether a credential works right now, and the rule that decides it.
#[derive(Clone, Debug)]
pub struct CredentialAnswer {
    /// Whether it works.
    pub works: bool,
    /// The rule: `works`, or the code of the refusal.
    pub code: &'static str,
    /// The same for people.
    pub detail: String,
    /// What it is.
    pub kind: CredentialKind,
    /// Whose it is, where that is known.
    pub principal: Option<Target>,
    /// The key that it is, or was obtained with.
    pub api_key_id: Option<ApiKeyId>,
    /// Whom a token is for, or would be.
    pub audience: Option<String>,
    /// What gives the permission that was asked for, to its holder.
    pub sources: Vec<Assignment>,
}

/// What a credential is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialKind {
    /// An API key.
    ApiKey,
    /// An access token.
    AccessToken,
}

/// A rule that refuses: its code, and a sentence.
type Verdict = (&'static str, String);

/// Someone behind a credential.
struct Bearer {
    organization: OrganizationId,
    holder: Holder,
    target: Target,
    api_key_id: Option<ApiKeyId>,
    /// Why their credential counts no more.
    refused: Option<Verdict>,
    /// What they may do with it, where whoever made it may do less than they.
    bound: Option<Access>,
}

/// What is asked about a credential.
struct Question<'a> {
    /// The workspace that is to take it; nothing where that is Hourpass itself.
    workspace: Option<&'a Workspace>,
    /// The `aud` that a token has to have.
    audience: &'a str,
    permission: Option<&'a Permission>,
    /// Where the permission is to be held.
    place: Place,
}

impl<'a> Question<'a> {
    /// A permission of Hourpass's own is about Hourpass, also in a workspace; one of the catalogue is about the workspace.
    fn new(spot: &'a Spot, issuer: &'a str, catalogue: &[Permission], permission: Option<&'a Permission>) -> Self {
        let own = permission.is_some_and(|permission| permission.built_in().is_some() && !catalogue.contains(permission));
        let workspace = spot.workspace.as_ref().filter(|_| !own);
        let audience = workspace.map_or(issuer, |workspace| workspace.audience.as_str());
        let anywhere = permission.map_or(Place::Organization, Place::at_hourpass);
        Self { workspace, audience, permission, place: if spot.workspace.is_some() { spot.place } else { anywhere } }
    }

    fn no_such_permission(&self, catalogue: &[Permission]) -> Option<Verdict> {
        let permission = self.permission?;
        let (known, whose) = match self.workspace {
            Some(_) => (catalogue.contains(permission), "in the organization's catalogue"),
            None => (permission.built_in().is_some(), "one of Hourpass's own, and no workspace is named"),
        };
        (!known).then(|| ("no_such_permission", format!("{permission} is not {whose}, so that no token for that receiver holds it")))
    }

    /// As the receiver of the token looks at it: a workspace by what it says alone, Hourpass also by what its holder may.
    fn refusal_of_token(&self, claims: &AccessTokenClaims, sources: &[Assignment]) -> Option<Verdict> {
        if claims.aud != self.audience {
            return Some(("wrong_audience", format!("it is for {}, and not for {}; get one for that receiver", claims.aud, self.audience)));
        }
        let permission = self.permission?;
        let says = claims.access();
        let says_so = match self.workspace {
            // Its scope is about the workspace that it is for, and a detail about one of its projects.
            Some(_) => says.holds(permission, Place::at_hourpass(permission)) || says.holds(permission, self.place),
            None => !claims.narrowed || says.holds(permission, self.place),
        };
        if !says_so {
            let why = format!("it does not hold {permission}: it was narrowed, or its holder did not hold that when it was issued; get a new one");
            return Some(("insufficient_scope", why));
        }
        (self.workspace.is_none() && sources.is_empty()).then(|| not_held(permission))
    }

    /// As the exchange and the receiver after it would look at it.
    fn refusal_of_key(&self, assignments: &[Assignment], catalogue: &[Permission], sources: &[Assignment]) -> Option<Verdict> {
        if let Some(workspace) = self.workspace {
            let access = Access::of(assignments);
            if access.at_workspace(workspace.id, catalogue).is_empty() && access.at_projects(workspace.id, catalogue).is_empty() {
                let why = format!("it holds nothing in workspace {}, so that no token for it is issued; give it a role there", workspace.slug);
                return Some(("access_denied", why));
            }
        }
        self.permission.filter(|_| sources.is_empty()).map(not_held)
    }

    /// What its owner holds, and those who made it do not, a credential does not do. `exchanged`: it is to be exchanged for a token.
    fn refusal_of_makers(&self, bound: &Access, catalogue: &[Permission], exchanged: bool) -> Option<Verdict> {
        let nothing = |id| bound.at_workspace(id, catalogue).is_empty() && bound.at_projects(id, catalogue).is_empty();
        let refused = self.permission.is_some_and(|permission| !bound.holds(permission, self.place))
            || exchanged && self.workspace.is_some_and(|workspace| nothing(workspace.id));
        let why = "its account may do that, but whoever made the key may not, and a key does no more than its maker may; have someone who may rotate it, or activate it again";
        refused.then(|| (Refusal::ApiKeyLeftBehind.code(), why.to_owned()))
    }
}

/// That an account has made as many exchanges as it may, on the node that is asked.
fn used_up(limit: &ExchangeLimit, account: &ServiceAccount, now: Timestamp) -> Option<Verdict> {
    let (most, wait) = limit.used_up(account, now)?;
    let why = format!(
        "its account may make {most} exchanges a minute on each node and has made them on this one; the next is allowed in {} s; tokens that were issued go on working",
        wait.as_secs() + 1
    );
    Some(("exchange_rate_limited", why))
}

impl Management {
    /// What someone may do at a place, and where each permission comes from.
    ///
    /// # Errors
    /// Where the caller is neither they themselves nor may read the audit trail, or something named does not exist.
    pub async fn access(&self, caller: &Caller, query: &AccessQuery) -> Result<AccessAnswer, ManagementError> {
        let organization = caller.organization().id;
        let own = caller.actor();
        let themselves = match &query.principal {
            Reference::Id(id) => own.id == Some(*id),
            Reference::Name(name) => *name == own.name || own.kind == "user" && name.to_lowercase() == own.name,
        };
        // Who may ask about others, is told where a name is that of several.
        let by_name = matches!(query.principal, Reference::Name(_)) && caller.access.holds(&Permission::AUDIT_READ, Place::Organization);
        let themselves = themselves && !by_name;
        if !themselves {
            require(caller, &Permission::AUDIT_READ, Place::Organization)?;
        }
        let (holder, principal) = match own.id {
            Some(id) if themselves => {
                let (holder, kind) = match caller.principal.member() {
                    crate::store::Member::ServiceAccount(id) => (Holder::ServiceAccount(id), "service_account"),
                    crate::store::Member::User(id) => (Holder::User(id), "user"),
                };
                (holder, Target::new(kind, id, own.name))
            }
            _ => self.find_principal(organization, &query.principal).await?,
        };
        let spot = self.find_spot(organization, query.workspace.as_ref(), query.project.as_ref()).await?;
        let assignments = self.store.list_assignments(holder).await?;
        let level = spot.place.level();
        let permissions = self.effective(organization, &assignments, spot.place).await?;
        Ok(AccessAnswer { principal, level, permissions })
    }

    async fn effective(
        &self,
        organization: OrganizationId,
        assignments: &[Assignment],
        place: Place,
    ) -> Result<Vec<EffectivePermission>, ManagementError> {
        let catalogue = self.store.list_catalogue(organization).await?;
        let own = HOURPASS.iter().filter(|it| place.level() <= it.narrowest || it.narrowest == Level::Platform && place == Place::Organization);
        let own =
            own.map(|it| (it.permission.clone(), ReceiverKind::Hourpass, if it.narrowest == Level::Platform { Place::Platform } else { place }));
        let theirs = catalogue.into_iter().map(|permission| (permission, ReceiverKind::Workspace, place));
        let all = theirs.chain(own).map(|(permission, receiver, place)| {
            let sources = sources(assignments, &permission, place);
            EffectivePermission { permission, receiver, sources }
        });
        Ok(all.filter(|it| !it.sources.is_empty()).collect())
    }

    /// Whether a credential works right now, for a receiver and a permission; and if not, the rule that refuses it.
    ///
    /// # Errors
    /// Where the caller is neither its holder nor may read the audit trail, or something named does not exist.
    pub async fn explain(
        &self,
        caller: &Caller,
        keys: &KeySet,
        issuer: &str,
        limit: &ExchangeLimit,
        query: CredentialQuery,
    ) -> Result<CredentialAnswer, ManagementError> {
        let reads = caller.access.holds(&Permission::AUDIT_READ, Place::Organization);
        let organization = caller.organization().id;
        let spot = self.find_spot(organization, query.workspace.as_ref(), query.project.as_ref()).await?;
        let credential = query.credential.trim();
        let token = credential.starts_with("eyJ") && credential.matches('.').count() == 2;
        let kind = if token { CredentialKind::AccessToken } else { CredentialKind::ApiKey };
        let (bearer, claims) = if token {
            let inspected = inspect(keys, credential, issuer);
            match inspected {
                Ok(claims) => (Ok(self.bearer_of_token(&claims).await?), Some(claims)),
                Err(error) => (Err(unreadable(&error)), None),
            }
        } else {
            (self.bearer_of_key(&RawApiKey::from_presented(credential.to_owned()), limit).await?, None)
        };
        // What another organization's is, is nothing here.
        let bearer = bearer.and_then(|bearer| if bearer.organization == organization { Ok(bearer) } else { Err(unknown()) });
        // That it is nothing here, whoever presents it at the login is told as well.
        let others = bearer.as_ref().is_ok_and(|bearer| bearer.target.id != caller.actor().id);
        if !reads && others {
            require(caller, &Permission::AUDIT_READ, Place::Organization)?;
        }
        let catalogue = self.store.list_catalogue(organization).await?;
        let question = Question::new(&spot, issuer, &catalogue, query.permission.as_ref());
        let mut answer = CredentialAnswer {
            works: false,
            code: "works",
            detail: String::new(),
            kind,
            principal: None,
            api_key_id: None,
            audience: Some(question.audience.to_owned()),
            sources: Vec::new(),
        };
        let bearer = match bearer {
            Ok(bearer) => bearer,
            Err((code, detail)) => return Ok(CredentialAnswer { code, detail, audience: None, ..answer }),
        };
        let assignments = self.store.list_assignments(bearer.holder).await?;
        answer.sources = question.permission.map(|permission| sources(&assignments, permission, question.place)).unwrap_or_default();
        answer.principal = Some(bearer.target);
        answer.api_key_id = bearer.api_key_id;
        let refused = bearer.refused.or_else(|| question.no_such_permission(&catalogue)).or_else(|| match &claims {
            Some(claims) => question.refusal_of_token(claims, &answer.sources),
            None => question.refusal_of_key(&assignments, &catalogue, &answer.sources),
        });
        // A workspace goes by what a token says, which was decided when it was issued.
        let own = question.workspace.is_none() || claims.is_none();
        let refused =
            refused.or_else(|| bearer.bound.filter(|_| own).and_then(|bound| question.refusal_of_makers(&bound, &catalogue, claims.is_none())));
        if let Some(claims) = claims {
            answer.audience = Some(claims.aud);
        }
        (answer.works, answer.code, answer.detail) = match refused {
            Some((code, detail)) => (false, code, detail),
            None => (true, "works", works(kind, question.permission, &answer.sources)),
        };
        Ok(answer)
    }

    async fn bearer_of_key(&self, key: &RawApiKey, limit: &ExchangeLimit) -> Result<Result<Bearer, Verdict>, StoreError> {
        if !key.may_exist(&self.rules.prefix) {
            let why = "this is not an API key of this server, or not all of it: its checksum does not hold; check that it was copied whole";
            return Ok(Err(("malformed", why.to_owned())));
        }
        let Some(mut found) = self.store.find_key_credential(&key.hash()).await? else { return Ok(Err(unknown())) };
        let bound = self.judge_key(&mut found).await?;
        let now = self.sources.now();
        let refused = found.check(now).err().map(verdict).or_else(|| used_up(limit, &found.account, now));
        Ok(Ok(Bearer {
            organization: found.organization.id,
            holder: Holder::ServiceAccount(found.account.id),
            target: Target::from(&found.account),
            api_key_id: Some(found.key.id),
            refused,
            bound,
        }))
    }

    /// Finds out whether those who made a key may still make it, and what it does, where that is less than its account may do.
    async fn judge_key(&self, found: &mut KeyCredential) -> Result<Option<Access>, StoreError> {
        if !found.made_by_other {
            return Ok(None);
        }
        let owners = Access::of(&self.store.list_assignments(Holder::ServiceAccount(found.account.id)).await?);
        let makers = self.store.list_makers(found.value.id.0).await?;
        let judged = judge(owners, &makers, async |holder| self.store.list_assignments(holder).await).await?;
        found.left_behind = judged.is_none();
        Ok(judged.filter(|judged| judged.bounded).map(|judged| judged.access))
    }

    /// Finds out whether a user's password is one that somebody else set who may not do so any more.
    async fn judge_password(&self, found: &mut UserCredential) -> Result<(), StoreError> {
        if found.user.password_by_other {
            let owners = Access::of(&self.store.list_assignments(Holder::User(found.user.id)).await?);
            let makers = self.store.list_makers(found.user.id.0).await?;
            found.left_behind = !password_counts(owners, &makers, async |holder| self.store.list_assignments(holder).await).await?;
        }
        Ok(())
    }

    async fn bearer_of_token(&self, claims: &AccessTokenClaims) -> Result<Bearer, StoreError> {
        let now = self.sources.now();
        let ended = || Some(("token_revoked", "what this token was obtained with is gone, or its tokens were ended; get a new one".to_owned()));
        let subject = claims.sub.parse::<Uuid>().unwrap_or_default();
        let (holder, kind) = match claims.principal_type {
            PrincipalType::ServiceAccount => (Holder::ServiceAccount(ServiceAccountId(subject)), "service_account"),
            PrincipalType::User => (Holder::User(UserId(subject)), "user"),
        };
        let mut bound = None;
        let refused = match (claims.principal_type, claims.sid) {
            (PrincipalType::ServiceAccount, Some(grant)) => match self.store.find_key_credential_by_sid(grant).await? {
                Some(mut found) if found.session.is_none_or(|session| session.is_valid(now)) => {
                    bound = self.judge_key(&mut found).await?;
                    found.check(now).err().map(verdict)
                }
                _ => ended(),
            },
            (PrincipalType::User, Some(session)) => match self.store.find_session(session).await? {
                Some(mut found) if found.session.is_valid(now) => {
                    self.judge_password(&mut found.holder).await?;
                    found.holder.check().err().map(verdict)
                }
                _ => ended(),
            },
            (_, None) => ended(),
        };
        let expired = || (claims.exp <= now.as_seconds()).then(|| ("token_expired", "its time is over; get a new one".to_owned()));
        Ok(Bearer {
            organization: claims.org_id,
            holder,
            target: Target::new(kind, subject, &claims.name),
            api_key_id: claims.api_key_id,
            refused: expired().or(refused),
            bound,
        })
    }

    /// Whoever has this id or name: an account, a person or a team.
    async fn find_principal(&self, organization: OrganizationId, reference: &Reference) -> Result<(Holder, Target), ManagementError> {
        let candidates =
            [HolderReference::ServiceAccount(reference.clone()), HolderReference::User(reference.clone()), HolderReference::Team(reference.clone())];
        let mut found = Vec::new();
        for candidate in candidates {
            match self.find_holder(organization, &candidate).await {
                Ok(holder) => found.push((holder.holder, holder.target)),
                Err(ManagementError::NotFound(..)) => {}
                Err(error) => return Err(error),
            }
        }
        match (found.pop(), found.pop()) {
            (Some(one), None) => Ok(one),
            (Some(_), Some(_)) => {
                let why = Invalid(format!("{reference} is the name of more than one of a service account, a user and a team; use the id"));
                Err(ManagementError::OutOfRange("principal", why))
            }
            (None, _) => Err(no("service account, user or team", reference)),
        }
    }
}

/// What of these gives `permission` at `place`.
fn sources(assignments: &[Assignment], permission: &Permission, place: Place) -> Vec<Assignment> {
    let gives = |it: &&Assignment| std::iter::once((it.place, it.given.grant())).collect::<Access>().holds(permission, place);
    assignments.iter().filter(gives).cloned().collect()
}

fn verdict(refusal: Refusal) -> Verdict {
    (refusal.code(), refusal.to_string())
}

fn not_held(permission: &Permission) -> Verdict {
    ("permission_denied", format!("its holder does not hold {permission} there, by no role, team or direct permission"))
}

fn unknown() -> Verdict {
    ("unknown", "this credential is not known in your organization; check that it was copied whole, and that it is one of this server".to_owned())
}

fn unreadable(error: &TokenError) -> Verdict {
    match error {
        TokenError::Malformed => ("malformed", "this is not an access token, or not all of it; check that it was copied whole".to_owned()),
        TokenError::Signature => {
            ("invalid_signature", "it was not signed by a key of this server, or altered since; get a new one from this server".to_owned())
        }
        TokenError::Purpose | TokenError::Expired | TokenError::NotYetValid => {
            ("not_an_access_token", "it is signed by this server's keys, but is no access token of it".to_owned())
        }
    }
}

fn works(kind: CredentialKind, permission: Option<&Permission>, sources: &[Assignment]) -> String {
    let what = permission.map_or_else(String::new, |permission| format!(" for {permission}"));
    match kind {
        CredentialKind::ApiKey => format!("it works{what}"),
        CredentialKind::AccessToken if permission.is_some() && sources.is_empty() => {
            format!("it works{what}, because it was issued so; its holder does not hold that any more, and the next token will not")
        }
        CredentialKind::AccessToken => format!("it works{what} until it expires"),
    }
}
