//! `GET /users/me`: who is calling, with any credential.

use actix_web::web::Json;
use serde::Serialize;

use super::credential::Call;
use super::error::ApiError;
use crate::domain::claims::PrincipalType;
use crate::domain::entity::Organization;
use crate::domain::id::{ApiKeyId, OrganizationId};
use crate::domain::name::{Email, Slug};
use crate::domain::permission::Permission;
use crate::domain::time::Timestamp;
use crate::service::{Caller, Principal};
use utoipa::ToSchema;
use uuid::Uuid;

/// Who is calling.
#[derive(Serialize, ToSchema)]
pub(super) struct Me {
    /// Their id.
    id: Uuid,
    /// The name of the account, or the email address of the person.
    #[schema(example = "deployer")]
    name: String,
    /// The email address of a person.
    email: Option<Email>,
    principal_type: PrincipalType,
    /// Whether it is a machine.
    is_service_account: bool,
    /// Whether they may sign in.
    active: bool,
    organization_id: OrganizationId,
    /// Its slug.
    #[schema(example = "default")]
    organization: Slug,
    /// The key that was used.
    api_key_id: Option<ApiKeyId>,
    /// What they may do at Hourpass, somewhere.
    #[schema(example = json!(["service_accounts.read"]))]
    permissions: Vec<Permission>,
    /// Since when they are known.
    created_at: Timestamp,
}

pub(super) async fn me(call: Call) -> Result<Json<Me>, ApiError> {
    let permissions = call.caller.access.at_hourpass();
    let Caller { principal, .. } = call.caller;
    let organization = |organization: Organization| (organization.id, organization.slug);
    Ok(Json(match principal {
        Principal::ServiceAccount(credential) => {
            let (organization_id, organization) = organization(credential.organization);
            Me {
                id: credential.account.id.0,
                name: credential.account.name.to_string(),
                email: None,
                principal_type: PrincipalType::ServiceAccount,
                is_service_account: true,
                active: credential.account.active,
                organization_id,
                organization,
                api_key_id: Some(credential.key.id),
                permissions,
                created_at: credential.account.created_at,
            }
        }
        Principal::User(credential) => {
            let (organization_id, organization) = organization(credential.holder.organization);
            let user = credential.holder.user;
            Me {
                id: user.id.0,
                name: user.email.to_string(),
                email: Some(user.email),
                principal_type: PrincipalType::User,
                is_service_account: false,
                active: user.active,
                organization_id,
                organization,
                api_key_id: None,
                permissions,
                created_at: user.created_at,
            }
        }
    }))
}
