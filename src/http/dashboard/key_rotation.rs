//! A new value for a key, and how long the old one works on.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use askama::Template;

use super::super::api::fields::Fields;
use super::super::error::ApiError;
use super::api_keys::{KeyPath, OldValue, find_key, references, show_key, update};
use super::expiration::Expiration;
use super::frame::Frame;
use super::mistakes::Mistakes;
use super::retention::Retention;
use super::service_account::path_of;
use super::used::Used;
use super::visit::Visit;
use crate::domain::entity::{KeyDetails, ServiceAccount};
use crate::domain::id::KeyValueId;
use crate::service::{KeyChange, Rotation};
use crate::store::Holder;

/// Where the value that was to be replaced is replaced already.
const TWICE: &str = "This key has another value already: perhaps this form was sent twice. If you did not see the new value, rotate again.";

#[derive(Template)]
#[template(path = "key_rotate.html")]
struct RotateView<'a> {
    frame: &'a Frame,
    account: &'a ServiceAccount,
    details: &'a KeyDetails,
    used: Option<Used>,
    /// The value before, where it still works: this rotation ends it.
    old: Option<OldValue>,
    /// The value that the visitor wants to replace.
    of: KeyValueId,
    retention: &'a Retention,
    expiration: &'a Expiration,
    mistakes: &'a Mistakes,
}

pub(super) async fn ask_rotate(visit: Visit, path: KeyPath) -> Result<HttpResponse, ApiError> {
    let (account, details) = find_key(&visit, &path).await?;
    let retention = Retention::offer(visit.management().max_retention());
    let expiration = Expiration::keep(visit.call.caller.organization().key_policy);
    show_rotate(&visit, &account, &details, &retention, &expiration, &Mistakes::default(), StatusCode::OK)
}

fn show_rotate(
    visit: &Visit,
    account: &ServiceAccount,
    details: &KeyDetails,
    retention: &Retention,
    expiration: &Expiration,
    mistakes: &Mistakes,
    status: StatusCode,
) -> Result<HttpResponse, ApiError> {
    let view = RotateView {
        frame: &visit.frame,
        account,
        details,
        used: Used::new(visit, details.current.last_use.as_ref()),
        old: OldValue::of(visit, details),
        of: details.current.id,
        retention,
        expiration,
        mistakes,
    };
    visit.show_with(status, &view)
}

pub(super) async fn rotate(mut visit: Visit, path: KeyPath) -> Result<HttpResponse, ApiError> {
    let (account, details) = find_key(&visit, &path).await?;
    let mut form = visit.form().await?;
    let retention = Retention::read(&mut form, Retention::offer(visit.management().max_retention()))?;
    let expiration = Expiration::read(&mut form, visit.call.caller.organization().key_policy)?;
    // A form that is sent twice must not rotate away the value that was just copied.
    let wrong = |_| ApiError::invalid_request("the form does not say which value is to be replaced; open it again");
    let of = form.take("of")?.map(|of| of.parse()).transpose().map_err(wrong)?;
    match turn(&visit, &account, &details, &retention, &expiration, of).await {
        Ok(response) => Ok(response),
        Err(error) => {
            let mistakes = if error.code() == "rotated_meanwhile" { Mistakes::only(error.status(), TWICE) } else { Mistakes::of(error, "name")? };
            show_rotate(&visit, &account, &details, &retention, &expiration, &mistakes, mistakes.status())
        }
    }
}

async fn turn(
    visit: &Visit,
    shown: &ServiceAccount,
    details: &KeyDetails,
    retention: &Retention,
    expiration: &Expiration,
    of: Option<KeyValueId>,
) -> Result<HttpResponse, ApiError> {
    let mut fields = Fields::default();
    let (retain_minutes, expires_in_days) = (retention.parse(&mut fields), expiration.parse(&mut fields));
    let rotation = fields.finish_with(retain_minutes.map(|retain_minutes| Rotation { retain_minutes, expires_in_days, of }))?;
    let (account, key) = references(details);
    let made = visit.management().rotate_key(&visit.call.caller, &account, &key, rotation, visit.call.origin.clone()).await;
    visit.commit(made, "rotated", |(details, raw)| show_key(visit, shown, &details, &raw)).await
}

#[derive(Template)]
#[template(path = "key_retained.html")]
struct RetainedView<'a> {
    frame: &'a Frame,
    account: &'a ServiceAccount,
    details: &'a KeyDetails,
    /// Nothing where it works no more.
    old: Option<OldValue>,
    retention: &'a Retention,
    mistakes: &'a Mistakes,
    may_extend: bool,
}

/// What can still be chosen: the end is counted from the rotation.
fn extension(visit: &Visit, details: &KeyDetails) -> Retention {
    let end = details.current.created_at.plus(visit.management().max_retention());
    let end = details.retained.as_ref().and_then(|value| value.expires_at).map_or(end, |expiry| expiry.min(end));
    Retention::extend(end.since(visit.now))
}

pub(super) async fn ask_retained(visit: Visit, path: KeyPath) -> Result<HttpResponse, ApiError> {
    let (account, details) = find_key(&visit, &path).await?;
    let retention = extension(&visit, &details);
    show_retained(&visit, &account, &details, &retention, &Mistakes::default(), StatusCode::OK).await
}

async fn show_retained(
    visit: &Visit,
    account: &ServiceAccount,
    details: &KeyDetails,
    retention: &Retention,
    mistakes: &Mistakes,
    status: StatusCode,
) -> Result<HttpResponse, ApiError> {
    let old = OldValue::of(visit, details);
    let may_extend = retention.max_minutes > 0 && visit.management().covers(&visit.call.caller, Holder::ServiceAccount(account.id)).await?;
    visit.show_with(status, &RetainedView { frame: &visit.frame, account, details, old, retention, mistakes, may_extend })
}

pub(super) async fn retain(mut visit: Visit, path: KeyPath) -> Result<HttpResponse, ApiError> {
    let (account, details) = find_key(&visit, &path).await?;
    let retention = Retention::read(&mut visit.form().await?, extension(&visit, &details))?;
    match hold(&visit, &details, &retention).await {
        Ok(minutes) => Ok(visit.done(&path_of(&account), if minutes == 0 { "old_ended" } else { "old_extended" }).await),
        Err(error) => {
            let mistakes = Mistakes::of(error, "name")?;
            show_retained(&visit, &account, &details, &retention, &mistakes, mistakes.status()).await
        }
    }
}

async fn hold(visit: &Visit, details: &KeyDetails, retention: &Retention) -> Result<u32, ApiError> {
    let mut fields = Fields::default();
    let retain_minutes = retention.parse(&mut fields);
    let minutes = fields.finish_with(retain_minutes)?;
    update(visit, details, KeyChange { retain_minutes: Some(minutes), ..KeyChange::default() }).await?;
    Ok(minutes)
}
