//! `hourpass admin …`: works on the database directly.

use std::io::{BufRead, Read};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::{Outcome, print, say};
use crate::app::{backup, declare_restored, open_administration, open_signing, restore, system_sources};
use crate::config::Config;
use crate::domain::attributes::{CustomClaims, Labels};
use crate::domain::id::Reference;
use crate::domain::name::{Audience, Email, Invalid, Name, Slug, WorkspaceUrl, check_password};
use crate::domain::signing::SigningAlgorithm;
use crate::domain::time::Timestamp;
use crate::service::{HolderReference, IssueKey, NewWorkspace, Restored, Rotated, generate_password};
use crate::store::Inspection;

/// What to do where a generated password was not seen.
const LOST_PASSWORD: &str = "the password is lost; get another with `hourpass admin reset-password`";

#[derive(Debug, Subcommand)]
pub(super) enum Admin {
    /// Make an API key and print it, and nothing else, on standard output. Makes the service account where it is missing.
    IssueKey(IssueKeyArguments),
    /// Make an organization, with nothing in it yet.
    CreateOrganization(CreateOrganizationArguments),
    /// Make a workspace: something that tokens are for.
    CreateWorkspace(CreateWorkspaceArguments),
    /// Make a person known, who signs in with email and password.
    CreateUser(CreateUserArguments),
    /// Give a service account or a person roles. Those that they hold already are left as they are.
    AssignRole(AssignRoleArguments),
    /// Replace a person's password, and end all their sign-ins.
    ResetPassword(ResetPasswordArguments),
    /// Have another key sign tokens: published ahead, as it happens by itself every `signing.rotation`; or, in an emergency, --now.
    RotateSigningKey(RotateSigningKeyArguments),
    /// Copy the SQLite database into a file while a server runs, and check the copy.
    Backup(BackupArguments),
    /// Put a copy of a back-up in the place of the SQLite database. The server has to be stopped; what was there is moved aside.
    Restore(RestoreArguments),
    /// Say that the database was restored in another way: every token and session from before is revoked, and new status lists are begun.
    Restored(RestoredArguments),
}

#[derive(Debug, Args)]
pub(super) struct BackupArguments {
    /// The file to write.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Replace the file if it is there.
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
pub(super) struct RestoreArguments {
    /// The back-up. It is only read. If a -wal file is beside it, as in a snapshot of a volume, both are read together.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    revoke: RevokeArguments,
}

#[derive(Debug, Args)]
pub(super) struct RestoredArguments {
    /// The time of the back-up, for the audit trail, such as 2026-01-31T12:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
    since: Option<Timestamp>,
    #[command(flatten)]
    revoke: RevokeArguments,
}

#[derive(Debug, Args)]
struct RevokeArguments {
    /// Trust nothing that was made at this time or later, such as 2026-01-31T12:00:00Z: withdraw all signing keys, deactivate the API keys that were created or rotated since, and delete the
    /// invitations from since.
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
    revoke_since: Option<Timestamp>,
}

#[derive(Debug, Args)]
pub(super) struct IssueKeyArguments {
    /// Slug of the organization.
    #[arg(long, value_name = "SLUG")]
    organization: String,
    /// Name of the service account.
    #[arg(long, value_name = "NAME", value_parser = Name::parse)]
    service_account: Name,
    /// A role for the account, such as "Organization Admin" or workspace-viewer; may be given several times.
    #[arg(long = "role", value_name = "ROLE", value_parser = reference)]
    roles: Vec<Reference>,
    /// Slug or id of the workspace in which workspace roles are given.
    #[arg(long, value_name = "SLUG", value_parser = reference)]
    workspace: Option<Reference>,
    /// Name of the key; without it, the key is named after the time.
    #[arg(long, value_name = "NAME", value_parser = Name::parse)]
    key_name: Option<Name>,
    /// Days until the key expires; without it, never.
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u16).range(1..=3_650))]
    expires_in_days: Option<u16>,
}

#[derive(Debug, Args)]
pub(super) struct CreateOrganizationArguments {
    /// Short name, unique.
    #[arg(long, value_parser = Slug::parse)]
    slug: Slug,
    /// Name for people; without it, the slug.
    #[arg(long, value_parser = Name::parse)]
    name: Option<Name>,
}

#[derive(Debug, Args)]
pub(super) struct CreateWorkspaceArguments {
    /// Slug of the organization.
    #[arg(long, value_name = "SLUG")]
    organization: String,
    /// Short name, unique in the organization.
    #[arg(long, value_parser = Slug::parse)]
    slug: Slug,
    /// Name for people; without it, the slug.
    #[arg(long, value_parser = Name::parse)]
    name: Option<Name>,
    /// Where it is reached, such as <https://workspace.example.com>; a login that asks this host is for this workspace.
    #[arg(long, value_parser = WorkspaceUrl::parse)]
    url: Option<WorkspaceUrl>,
    /// The "aud" of its tokens; without it, the URL, and without that urn:hourpass:ORGANIZATION:SLUG.
    #[arg(long, value_name = "URI", value_parser = Audience::parse)]
    audience: Option<Audience>,
    /// What its tokens are signed with: ES256, `EdDSA` or RS256.
    #[arg(long, default_value = "ES256")]
    signing_algorithm: SigningAlgorithm,
    /// How long its tokens live: 1m to 1h.
    #[arg(long, default_value = "1h", value_parser = token_lifetime)]
    token_lifetime: Duration,
}

#[derive(Debug, Args)]
pub(super) struct CreateUserArguments {
    /// Slug of the organization.
    #[arg(long, value_name = "SLUG")]
    organization: String,
    /// How they sign in.
    #[arg(long, value_parser = Email::parse)]
    email: Email,
    /// A role in the organization, such as "Organization Admin"; may be given several times.
    #[arg(long = "role", value_name = "ROLE", value_parser = reference)]
    roles: Vec<Reference>,
    #[command(flatten)]
    password: PasswordArguments,
}

#[derive(Debug, Args)]
pub(super) struct AssignRoleArguments {
    /// Slug of the organization.
    #[arg(long, value_name = "SLUG")]
    organization: String,
    #[command(flatten)]
    holder: HolderArguments,
    /// A role, such as "Organization Admin" or platform-admin; may be given several times.
    #[arg(long = "role", value_name = "ROLE", value_parser = reference, required = true)]
    roles: Vec<Reference>,
    /// Slug or id of the workspace in which workspace roles are given.
    #[arg(long, value_name = "SLUG", value_parser = reference)]
    workspace: Option<Reference>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct HolderArguments {
    /// Name or id of a service account.
    #[arg(long, value_name = "NAME", value_parser = reference)]
    service_account: Option<Reference>,
    /// Email address or id of a person.
    #[arg(long, value_name = "EMAIL", value_parser = reference)]
    user: Option<Reference>,
    /// Name or id of a team.
    #[arg(long, value_name = "NAME", value_parser = reference)]
    team: Option<Reference>,
}

#[derive(Debug, Args)]
pub(super) struct ResetPasswordArguments {
    /// How they sign in.
    #[arg(long, value_parser = Email::parse)]
    email: Email,
    #[command(flatten)]
    password: PasswordArguments,
}

#[derive(Debug, Args)]
pub(super) struct RotateSigningKeyArguments {
    /// The algorithm whose key is to be replaced: ES256, `EdDSA` or RS256.
    #[arg(long, default_value = "ES256")]
    algorithm: SigningAlgorithm,
    /// Sign with the new key at once, and withdraw the old one, as when it has got into wrong hands: every token that it signed ends.
    #[arg(long)]
    now: bool,
}

#[derive(Debug, Args)]
struct PasswordArguments {
    /// Read the password from standard input (its first line). Without this, one is generated and printed.
    #[arg(long)]
    password_stdin: bool,
}

impl PasswordArguments {
    /// The password, and whether it is to be printed.
    fn get(&self) -> Result<(SecretString, bool), Box<dyn std::error::Error>> {
        if !self.password_stdin {
            return Ok((generate_password(system_sources().random()), true));
        }
        let mut line = Zeroizing::new(String::new());
        std::io::stdin().lock().take(10_000).read_line(&mut line)?;
        let password = SecretString::from(line.trim_end_matches(['\r', '\n']));
        check_password(&password).map_err(|why| format!("the password {why}"))?;
        Ok((password, false))
    }
}

impl Admin {
    pub(super) async fn run(self, config: Config) -> Outcome {
        let administration = async || open_administration(&config, &system_sources()).await;
        match self {
            Self::IssueKey(arguments) => {
                let IssueKeyArguments { organization, service_account, roles, workspace, key_name, expires_in_days } = arguments;
                let key = administration()
                    .await?
                    .issue_key(IssueKey { organization, service_account, key_name, roles, workspace, expires_in_days })
                    .await?;
                print(&format!("{}\n", key.expose()), "the key is lost; delete it, and make another")?;
            }
            Self::CreateOrganization(arguments) => {
                let organization = administration().await?.create_organization(arguments.slug, arguments.name).await?;
                say(&format!("made organization {}", organization.slug));
                print(&format!("{}\n", organization.id), "it was made")?;
            }
            Self::CreateWorkspace(arguments) => {
                let CreateWorkspaceArguments { organization, slug, name, url, audience, signing_algorithm, token_lifetime } = arguments;
                let (labels, claims) = (Labels::default(), CustomClaims::default());
                let wanted = NewWorkspace { slug, name, url, audience, signing_algorithm, token_lifetime, labels, claims };
                let workspace = administration().await?.create_workspace(&organization, wanted).await?;
                say(&format!("made workspace {}; its tokens have the audience {}", workspace.slug, workspace.audience));
                print(&format!("{}\n", workspace.id), "it was made")?;
            }
            Self::CreateUser(arguments) => {
                let (password, generated) = arguments.password.get()?;
                let user = administration().await?.create_user(&arguments.organization, arguments.email, &arguments.roles, &password).await?;
                say(&format!("made user {}", user.email));
                if generated {
                    print(&format!("{}\n", password.expose_secret()), LOST_PASSWORD)?;
                }
            }
            Self::AssignRole(arguments) => {
                let HolderArguments { service_account, user, team } = arguments.holder;
                let holder =
                    service_account.map(HolderReference::ServiceAccount).or(user.map(HolderReference::User)).or(team.map(HolderReference::Team));
                let holder = holder.ok_or("name whom the roles are for: --service-account, --user or --team")?;
                administration().await?.assign_roles(&arguments.organization, &holder, &arguments.roles, arguments.workspace.as_ref()).await?;
                say("given");
            }
            Self::ResetPassword(arguments) => {
                let (password, generated) = arguments.password.get()?;
                administration().await?.reset_password(&arguments.email, &password).await?;
                say(&format!("replaced the password of {} and ended their sign-ins", arguments.email));
                if generated {
                    print(&format!("{}\n", password.expose_secret()), LOST_PASSWORD)?;
                }
            }
            Self::Backup(BackupArguments { file, force }) => {
                let made = backup(&config, &system_sources(), &file, force).await?;
                say(&format!("wrote {}: {}", file.display(), describe(&made.inspection)));
                say(&format!("the master key is not in it; it is {}. Keep a copy of that in another place", made.master_key));
            }
            Self::Restore(RestoreArguments { file, revoke }) => {
                let done = restore(&config, &system_sources(), &file, revoke.revoke_since).await?;
                for moved in &done.moved {
                    say(&format!("moved aside: {}", moved.display()));
                }
                say(&format!("restored {} from {}: {}", done.file.display(), file.display(), describe(&done.inspection)));
                say("start the server: it revokes every token and session from before. API keys and passwords go on working");
                say(&do_again(done.inspection.last_event_at));
            }
            Self::Restored(RestoredArguments { since, revoke }) => {
                let (restored, withdrawn) = declare_restored(&config, &system_sources(), since, revoke.revoke_since).await?;
                let Restored { epoch, last_event_at, deactivated_keys, deleted_invitations } = restored;
                say(&format!("epoch {} begins: every token and session from before is revoked. API keys and passwords go on working", epoch.number));
                for key in deactivated_keys {
                    say(&format!("deactivated: API key {key}"));
                }
                for kid in withdrawn {
                    say(&format!("withdrawn: signing key {kid}"));
                }
                if deleted_invitations > 0 {
                    say(&format!("deleted: {deleted_invitations} invitations"));
                }
                say(&do_again(since.or(last_event_at)));
            }
            Self::RotateSigningKey(arguments) => return rotate_signing_key(&config, arguments).await,
        }
        Ok(())
    }
}

fn describe(found: &Inspection) -> String {
    let counts = found.counts;
    let last = found.last_event_at.map_or_else(|| "there is no event yet".to_owned(), |at| format!("the last event is of {at}"));
    format!(
        "schema version {}, {} organizations, {} service accounts, {} API keys, {} users, {} audit events; {last}",
        found.schema, counts.organizations, counts.service_accounts, counts.api_keys, counts.users, counts.audit_events
    )
}

/// What nobody but the operator can know.
fn do_again(since: Option<Timestamp>) -> String {
    let since = since.map_or_else(|| "the back-up".to_owned(), |at| at.to_string());
    format!(
        "DO AGAIN what was done after {since}, because the restored database does not know of it: deactivate and delete accounts, API keys and users; rotate API keys that \
         leaked; unassign roles; and if a signing key was withdrawn since, `hourpass admin rotate-signing-key --now`"
    )
}

async fn rotate_signing_key(config: &Config, RotateSigningKeyArguments { algorithm, now }: RotateSigningKeyArguments) -> Outcome {
    let signing = open_signing(config, &system_sources()).await?;
    let rotated = signing.rotate_by_operator(algorithm, now).await?;
    let ended = signing.count_ended(&rotated).await.map_or_else(|| "all unexpired".to_owned(), |count| format!("at most {count}"));
    let Rotated { kid, active_from, withdrawn, .. } = rotated;
    if now {
        say(&format!("key {kid} signs {algorithm} tokens from now on"));
        for kid in withdrawn {
            say(&format!("withdrawn: key {kid}"));
        }
        say(&format!(
            "what stops working: {ended} tokens, those that the withdrawn keys signed. This Hourpass refuses them within {}, a resource service as soon as it \
             reads {} again; clients get new ones by exchanging their API keys, which go on working, and people sign in again. Validators refuse the new key's tokens until they have \
             read the keys again: up to a minute behind a cache, and longer if they do not do so for an unknown kid",
            humantime::format_duration(config.staleness.bound),
            "/.well-known/jwks.json",
        ));
    } else {
        say(&format!("key {kid} is published, and signs {algorithm} tokens from {active_from} on; nothing stops working"));
    }
    print(&format!("{kid}\n"), "it was rotated")
}

#[expect(clippy::unnecessary_wraps, reason = "the form that clap asks for")]
fn reference(text: &str) -> Result<Reference, Invalid> {
    Ok(Reference::from(text))
}

fn token_lifetime(text: &str) -> Result<Duration, String> {
    let bounds = Duration::from_mins(1)..=Duration::from_hours(1);
    humantime::parse_duration(text).ok().filter(|duration| bounds.contains(duration)).ok_or_else(|| "must be a duration from 1m to 1h".to_owned())
}
