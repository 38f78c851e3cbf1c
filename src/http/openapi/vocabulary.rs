//! How the words of the domain look in JSON. The domain itself knows nothing of documents.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::json;
use utoipa::openapi::schema::{Array, Object, ObjectBuilder, SchemaFormat, SchemaType, Type};
use utoipa::openapi::{KnownFormat, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::domain::access::Level;
use crate::domain::attributes::{CustomClaims, Labels};
use crate::domain::claims::{AuthorizationDetail, DetailType, PrincipalType};
use crate::domain::id::{
    ApiKeyId, OrganizationId, PermissionId, ProjectId, RoleAssignmentId, RoleId, ServiceAccountId, SessionId, TeamId, UserId, WorkspaceId,
};
use crate::domain::name::{Audience, Email, Name, Slug, WorkspaceUrl};
use crate::domain::permission::Permission;
use crate::domain::signing::{KeyState, SigningAlgorithm};
use crate::domain::time::Timestamp;
use crate::service::{CredentialKind, ReceiverKind};

/// An id that the examples use for everything.
pub(super) const ID: &str = "019b7700-6400-7c3e-9f1a-2b3c4d5e6f70";

fn text(description: &str) -> ObjectBuilder {
    Object::builder().schema_type(SchemaType::new(Type::String)).description(Some(description))
}

fn id(description: &str) -> ObjectBuilder {
    text(description).format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid))).examples([ID])
}

/// One of a few texts: as they are written in JSON.
fn one_of<T: Serialize>(description: &str, values: &[T]) -> ObjectBuilder {
    text(description).enum_values(Some(values.iter().map(|value| json!(value))))
}

/// Says for types how they look.
macro_rules! words {
    ($($name:ident $schema:expr;)+) => {$(
        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                $schema.into()
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed(stringify!($name))
            }
        }
    )+};
}

words! {
    OrganizationId id("The organization's id.");
    WorkspaceId id("The workspace's id.");
    ProjectId id("The project's id.");
    ServiceAccountId id("The service account's id.");
    ApiKeyId id("The API key's id.");
    UserId id("The person's id.");
    SessionId id("The sign-in's id: the `sid` of its token.");
    TeamId id("The team's id.");
    PermissionId id("The permission's id.");
    RoleId id("The role's id.");
    RoleAssignmentId id("The assignment's id.");
    Timestamp text("A time, in UTC (RFC 3339).").format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime))).examples(["2026-01-31T12:00:00Z"]);
    Name text("What people call it.").min_length(Some(1)).max_length(Some(Name::MAX)).examples(["deployer"]);
    Slug text("Its name in URLs and tokens; it stays as it is.").min_length(Some(1)).max_length(Some(Slug::MAX)).examples(["production"]);
    Email text("An email address, in small letters.").max_length(Some(Email::MAX)).examples(["ada@example.com"]);
    Audience text("Whom tokens are for: an absolute URI.").max_length(Some(Audience::MAX)).examples(["https://workspace.example.com"]);
    WorkspaceUrl text("Scheme, host and port.").examples(["https://workspace.example.com"]);
    Permission text("`resource.action`.").max_length(Some(100)).pattern(Some("^[a-z0-9_]+\\.[a-z0-9_]+$")).examples(["pipelines.deploy"]);
    Labels Object::builder().description(Some("Texts by which it is found: at most 50.")).max_properties(Some(Labels::MAX))
        .additional_properties(Some(text("A text.").max_length(Some(Labels::LONGEST_VALUE)))).examples([json!({"team": "data"})]);
    CustomClaims Object::builder().description(Some("What goes into its tokens; names are URIs in a namespace of yours.")).max_properties(Some(CustomClaims::MOST))
        .additional_properties(Some(Object::builder().schema_type(SchemaType::AnyValue))).examples([json!({"https://example.com/tier": "gold"})]);
    Level one_of("How far it reaches.", &[Level::Organization, Level::Workspace, Level::Project, Level::Platform]);
    SigningAlgorithm one_of("How tokens are signed.", &SigningAlgorithm::ALL);
    KeyState one_of("`next` is published and will sign, `current` signs, `previous` is still published, `retired` is not.",
        &[KeyState::Current, KeyState::Next, KeyState::Previous, KeyState::Retired]);
    PrincipalType one_of("What kind of caller it is.", &[PrincipalType::ServiceAccount, PrincipalType::User]);
    DetailType one_of("What kind of part it is about.", &[DetailType::Project, DetailType::Workspace]);
    CredentialKind one_of("What the credential is.", &[CredentialKind::ApiKey, CredentialKind::AccessToken]);
    ReceiverKind one_of("Who understands it: the workspace, or Hourpass itself.", &[ReceiverKind::Workspace, ReceiverKind::Hourpass]);
}

impl PartialSchema for AuthorizationDetail {
    fn schema() -> RefOr<Schema> {
        Object::builder()
            .description(Some("Permissions that are held in a part of the receiver only (RFC 9396)."))
            .property("type", DetailType::schema())
            .property("identifier", id("The id of that project or workspace."))
            .property("slug", Slug::schema())
            .property("workspace_id", id("The workspace that a project is in."))
            .property("actions", Array::builder().items(Permission::schema()).description(Some("The permissions.")))
            .required("type")
            .required("identifier")
            .required("slug")
            .required("actions")
            .into()
    }
}

impl ToSchema for AuthorizationDetail {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("AuthorizationDetail")
    }
}

/// How many nodes there are, and how many answer by a change.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what the extractor of callers writes")]
pub(super) struct Propagation {
    /// Nodes that answer at the moment.
    live_nodes: u32,
    /// How many of them confirmed that they answer by the change.
    confirmed: u32,
}

/// Always null.
pub(in crate::http) fn null() -> Object {
    Object::builder().schema_type(SchemaType::new(Type::Null)).description(Some("Always null.")).build()
}

/// Who holds something that was given.
pub(in crate::http) fn holder_kind() -> Object {
    one_of("Who holds it.", &["service_account", "user", "team"]).build()
}

/// The names of permissions in a role: built-in ones have `*` and `*.read`, too.
pub(in crate::http) fn role_permissions() -> Array {
    let permission = text("A permission; `*` is everything, and `*.read` all that only looks.").examples(["pipelines.deploy"]);
    Array::builder().items(permission).description(Some("What it gives; only built-in roles have `*` and `*.read`.")).build()
}
