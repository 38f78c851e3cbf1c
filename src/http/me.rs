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
use uuid::Uuid;

/// Who is calling.
#[derive(Serialize)]
pub(super) struct Me {
    id: Uuid,
    name: String,
    email: Option<Email>,
    principal_type: PrincipalType,
    is_service_account: bool,
    active: bool,
    organization_id: OrganizationId,
    organization: Slug,
    api_key_id: Option<ApiKeyId>,
    permissions: Vec<Permission>,
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
