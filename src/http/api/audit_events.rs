//! `/api/v1/audit_events`: a list, and an export as NDJSON.

use actix_web::HttpResponse;
use actix_web::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use actix_web::web::{Bytes, Json};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use super::super::credential::Call;
use super::super::error::ApiError;
use super::fields::Fields;
use super::page::{Asked, Items};
use crate::domain::id::Reference;
use crate::domain::name::Invalid;
use crate::domain::time::Timestamp;
use crate::service::{ActionFilter, EventQuery};
use crate::store::StoredEvent;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AuditEventsQuery)]
pub(crate) struct ListQuery {
    /// At most so many items.
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Only what this one did: an id, or a name as it was then.
    actor: Option<String>,
    /// Only what was done to this one: an id, or a name as it was then.
    target: Option<String>,
    /// Only this action, or all of a resource, such as `api_key`.
    action: Option<String>,
    /// Only what was `granted`, or `denied`.
    outcome: Option<String>,
    /// Only from then on.
    #[schema(value_type = Option<Timestamp>)]
    since: Option<String>,
    /// Only before then.
    #[schema(value_type = Option<Timestamp>)]
    until: Option<String>,
}

impl ListQuery {
    fn parse(&self) -> Result<EventQuery, ApiError> {
        let mut fields = Fields::default();
        let outcome = |text: &str| {
            ["granted", "denied"].into_iter().find(|known| *known == text).ok_or_else(|| Invalid("must be granted or denied".to_owned()))
        };
        let query = EventQuery {
            actor: self.actor.as_deref().map(Reference::from),
            target: self.target.as_deref().map(Reference::from),
            action: fields.optional("action", self.action.as_deref(), ActionFilter::parse),
            outcome: fields.optional("outcome", self.outcome.as_deref(), outcome),
            since: fields.time("since", self.since.as_deref()),
            until: fields.time("until", self.until.as_deref()),
        };
        fields.finish()?;
        Ok(query)
    }
}

/// An audit event.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditEvent)]
pub(crate) struct EventBody {
    /// Ids are in the order of time.
    id: Uuid,
    /// When it happened.
    occurred_at: Timestamp,
    /// Whose it is.
    organization_id: Option<Uuid>,
    /// `service_account`, `user`, `operator`, `system` or `unknown`.
    #[schema(example = "service_account")]
    actor_kind: String,
    /// Who did it; null when they are gone.
    actor_id: Option<Uuid>,
    /// What they were called.
    #[schema(example = "deployer")]
    actor_name: String,
    /// The key that was used.
    api_key_id: Option<Uuid>,
    /// The key value or sign-in that was used: `sid` of tokens.
    session_id: Option<Uuid>,
    /// `resource.verb`.
    #[schema(example = "token.issue")]
    action: String,
    /// To what it was done.
    #[schema(example = "workspace")]
    target_kind: String,
    /// Its id.
    target_id: Option<Uuid>,
    /// What it was called.
    #[schema(example = "production")]
    target_name: String,
    /// `granted` or `denied`.
    #[schema(example = "granted")]
    outcome: String,
    /// The code of the error, where it was denied.
    reason: Option<String>,
    /// From where.
    #[schema(example = "198.51.100.7")]
    address: Option<String>,
    /// With what.
    #[schema(example = "python-requests/2.32")]
    user_agent: Option<String>,
    /// The request, as in the log.
    request_id: Option<Uuid>,
    /// When the token expires that was issued.
    token_expires_at: Option<Timestamp>,
    /// As it was written; nothing is gained by taking it apart.
    #[schema(value_type = Option<utoipa::openapi::Object>, example = json!({"audience": "https://workspace.example.com"}))]
    details: Option<Box<RawValue>>,
}

impl From<StoredEvent> for EventBody {
    fn from(event: StoredEvent) -> Self {
        Self {
            id: event.id,
            occurred_at: Timestamp::from_micros(event.occurred_at),
            organization_id: event.organization_id,
            actor_kind: event.actor_kind,
            actor_id: event.actor_id,
            actor_name: event.actor_name,
            api_key_id: event.api_key_id,
            session_id: event.session_id,
            action: event.action,
            target_kind: event.target_kind,
            target_id: event.target_id,
            target_name: event.target_name,
            outcome: event.outcome,
            reason: event.reason,
            address: event.address,
            user_agent: event.user_agent,
            request_id: event.request_id,
            token_expires_at: event.token_expires_at.map(Timestamp::from_micros),
            details: event.details.and_then(|details| RawValue::from_string(details).ok()),
        }
    }
}

pub(crate) async fn list(call: Call) -> Result<Json<Items<EventBody>>, ApiError> {
    let query: ListQuery = call.query().await?;
    let asked = Asked::parse(query.limit.as_deref(), query.cursor.as_deref())?;
    let selection = call.state.audit_log.select(&call.caller, query.parse()?)?;
    let page = asked.page();
    // Newest first, so the cursor is where the next page has to end; without one it is nil.
    let cursor = Some(page.after).filter(|cursor| !cursor.is_nil());
    let found = call.state.audit_log.page(&selection, cursor, page.limit).await?;
    Ok(Json(asked.answer(found, |event| event.id, EventBody::from)))
}

/// Every event of a selection, a line each, newest first, read as fast as the caller takes it.
pub(crate) async fn export(call: Call) -> Result<HttpResponse, ApiError> {
    let query: ListQuery = call.query().await?;
    if query.limit.is_some() || query.cursor.is_some() {
        return Err(ApiError::invalid_request("an export holds everything; narrow it with since and until instead of limit and cursor"));
    }
    let selection = call.state.audit_log.select(&call.caller, query.parse()?)?;
    let (first, rest) = call.state.audit_log.export(call.state.audit_log.until_now(selection)).await?;
    let (state, caller) = (call.state.clone(), call.caller.clone());
    // The first batch is read before the answer begins, so that a sick database is still a 503. Later on, all that can be done is to break off.
    // Each other batch is read when the one before was sent: a slow reader holds one, and no connection to the database.
    let lines = stream::try_unfold((Some(first), rest), move |(read, mut rest)| {
        let (state, caller) = (state.clone(), caller.clone());
        async move {
            let batch = if let Some(first) = read {
                first
            } else {
                // The caller may take all day, and what they called with may have ended since.
                state.audit_log.require_read(&state.authenticator.authenticate_again(&caller).await?)?;
                let (batch, next) = state.audit_log.export(rest).await?;
                rest = next;
                batch
            };
            if batch.is_empty() {
                return Ok(None);
            }
            let mut text = Vec::new();
            for event in batch {
                serde_json::to_writer(&mut text, &EventBody::from(event)).map_err(|error| ApiError::from_internal(&error))?;
                text.push(b'\n');
            }
            Ok::<_, ApiError>(Some((Bytes::from(text), (None, rest))))
        }
    });
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "application/x-ndjson"))
        .insert_header((CONTENT_DISPOSITION, "attachment; filename=\"audit_events.ndjson\""))
        .streaming(lines))
}
