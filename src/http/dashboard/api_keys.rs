//! `/service-accounts/{account}/keys`: the keys of an account, from their making to their end.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Path;
use askama::Template;

use super::super::api::api_keys::{IMPORTED, parse_hash, parse_hint};
use super::super::api::fields::Fields;
use super::super::body::Form;
use super::super::error::ApiError;
use super::confirm::{Question, keeps};
use super::edit::{Edit, Text};
use super::ending::{COMPROMISE_KEY, DEACTIVATE_KEY, DELETE_KEY, END_TOKENS_OF_KEY, Ending};
use super::expiration::Expiration;
use super::frame::Frame;
use super::mistakes::Mistakes;
use super::moment::Moment;
use super::service_account::{Rights, find, path_of};
use super::used::Used;
use super::visit::{Visit, to};
use crate::domain::api_key::RawApiKey;
use crate::domain::entity::{KeyDetails, KeyValue, ServiceAccount};
use crate::domain::id::{ApiKeyId, Reference};
use crate::domain::name::Name;
use crate::service::{KeyChange, NewKey, NewKeyValue, Standing};
use crate::store::Holder;

/// From so many days before its end on, a key is said to expire soon.
const SOON_DAYS: i64 = 30;

pub(super) type KeyPath = Path<(String, String)>;

/// A key as the page of its account shows it.
#[expect(clippy::struct_excessive_bools, reason = "each is one thing that is offered or not")]
pub(super) struct KeyRow {
    pub(super) id: ApiKeyId,
    pub(super) name: Name,
    pub(super) hint: String,
    /// The kind of badge and its text.
    pub(super) state: (&'static str, &'static str),
    pub(super) created: Moment,
    pub(super) rotated: Option<Moment>,
    pub(super) expires: Option<Moment>,
    pub(super) used: Option<Used>,
    pub(super) old: Option<OldValue>,
    pub(super) may_rotate: bool,
    pub(super) may_activate: bool,
    /// Whether the visitor may become its maker, so that it does all that its account may.
    pub(super) may_adopt: bool,
    pub(super) may_deactivate: bool,
    pub(super) may_compromise: bool,
}

/// What a key was before, as long as that works.
pub(super) struct OldValue {
    pub(super) hint: String,
    pub(super) used: Option<Used>,
    pub(super) until: Moment,
}

impl OldValue {
    pub(super) fn of(visit: &Visit, details: &KeyDetails) -> Option<Self> {
        let (value, until) = retained(visit, details)?;
        Some(Self { hint: value.hint.clone(), used: Used::new(visit, value.last_use.as_ref()), until: visit.moment(until) })
    }
}

/// The old value and its end, as long as it works.
fn retained<'a>(visit: &Visit, details: &'a KeyDetails) -> Option<(&'a KeyValue, crate::domain::time::Timestamp)> {
    let value = details.retained.as_ref()?;
    let until = value.ends_at().filter(|end| *end > visit.now && details.key.active)?;
    Some((value, until))
}

impl KeyRow {
    pub(super) fn new(visit: &Visit, account: &ServiceAccount, details: KeyDetails, standing: Standing, rights: Rights) -> Self {
        let old = OldValue::of(visit, &details);
        let KeyDetails { key, current, .. } = details;
        let expires = current.expires_at.map(|at| visit.moment(at));
        let compromised = key.compromised_at.is_some();
        let state = match expires {
            _ if compromised => ("bad", "Compromised"),
            _ if !key.active => ("off", "Deactivated"),
            Some(moment) if moment.is_past() => ("bad", "Expired"),
            _ if standing == Standing::Refused => ("bad", "Maker may no longer"),
            _ if standing == Standing::Bounded => ("warning", "Limited by its maker"),
            Some(moment) if moment.is_within_days(SOON_DAYS) => ("warning", "Expires soon"),
            _ => ("good", "Active"),
        };
        Self {
            id: key.id,
            name: key.name,
            hint: current.hint,
            state,
            created: visit.moment(key.created_at),
            rotated: (current.created_at != key.created_at).then(|| visit.moment(current.created_at)),
            expires,
            used: Used::new(visit, key.last_use.as_ref()),
            old,
            may_rotate: rights.keys && rights.covers && account.active && key.active,
            may_activate: rights.keys && rights.covers && !key.active && !compromised,
            may_adopt: rights.keys && rights.covers && key.active && standing != Standing::Full,
            may_deactivate: rights.keys && key.active,
            may_compromise: rights.keys && !compromised,
        }
    }
}

pub(super) async fn find_key(visit: &Visit, path: &KeyPath) -> Result<(ServiceAccount, KeyDetails), ApiError> {
    let account = find(visit, &path.0).await?;
    let details = visit.management().find_key(&visit.call.caller, &Reference::Id(account.id.0), &Reference::from(path.1.as_str())).await?;
    Ok((account, details))
}

#[derive(Template)]
#[template(path = "key_shown.html")]
struct ShownView<'a> {
    frame: &'a Frame,
    account: &'a ServiceAccount,
    key_name: &'a Name,
    expires: Option<Moment>,
    raw: &'a str,
    /// Our public URL.
    issuer: &'a str,
    rotated: bool,
    /// Until when the old value works.
    old_until: Option<Moment>,
}

/// The page that shows a key: this once.
pub(super) fn show_key(visit: &Visit, account: &ServiceAccount, details: &KeyDetails, raw: &RawApiKey) -> Result<HttpResponse, ApiError> {
    let rotated = details.retained.is_some();
    let view = ShownView {
        frame: &visit.frame,
        account,
        key_name: &details.key.name,
        expires: details.current.expires_at.map(|at| visit.moment(at)),
        raw: raw.expose(),
        issuer: visit.call.state.issuer.trim_end_matches('/'),
        rotated,
        old_until: retained(visit, details).map(|(_, until)| visit.moment(until)),
    };
    visit.show_with(if rotated { StatusCode::OK } else { StatusCode::CREATED }, &view)
}

#[derive(Template)]
#[template(path = "key_new.html")]
struct NewView<'a> {
    frame: &'a Frame,
    account: &'a ServiceAccount,
    entered: &'a Entered,
    mistakes: &'a Mistakes,
    /// Whether the key is one of another system.
    import: bool,
}

/// What was entered into the forms for keys.
struct Entered {
    name: String,
    sha256: String,
    hint: String,
    expiration: Expiration,
    /// Of a change: what the form showed.
    shown: String,
}

impl Entered {
    fn offer(visit: &Visit) -> Self {
        let expiration = Expiration::offer(visit.call.caller.organization().key_policy);
        Self { name: String::new(), sha256: String::new(), hint: String::new(), expiration, shown: String::new() }
    }

    fn read(form: &mut Form, visit: &Visit) -> Result<Self, ApiError> {
        let mut take = |name: &str| form.take(name).map(Option::unwrap_or_default);
        Ok(Self {
            name: take("name")?,
            sha256: take("sha256")?,
            hint: take("hint")?,
            expiration: Expiration::read(form, visit.call.caller.organization().key_policy)?,
            shown: String::new(),
        })
    }

    fn of(edit: &Edit, visit: &Visit) -> Self {
        Self { name: edit.text("name"), shown: edit.shown(), ..Self::offer(visit) }
    }

    fn parse(&self) -> Result<NewKey, ApiError> {
        let mut fields = Fields::default();
        let name = fields.check("name", Name::parse(&self.name));
        let expires_in_days = self.expiration.parse(&mut fields);
        fields.finish_with(name.map(|name| NewKey { name, expires_in_days }))
    }

    fn parse_import(&self) -> Result<(NewKey, NewKeyValue), ApiError> {
        let mut fields = Fields::default();
        let name = fields.check("name", Name::parse(&self.name));
        let hash = fields.check("sha256", parse_hash(self.sha256.trim()));
        let hint = fields.optional("hint", Some(self.hint.trim()).filter(|hint| !hint.is_empty()), parse_hint);
        let expires_in_days = self.expiration.parse(&mut fields);
        let value = hash.map(|hash| NewKeyValue { hash, hint: hint.unwrap_or_else(|| IMPORTED.to_owned()) });
        fields.finish_with(name.zip(value).map(|(name, value)| (NewKey { name, expires_in_days }, value)))
    }
}

pub(super) async fn new(visit: Visit, account: Path<String>) -> Result<HttpResponse, ApiError> {
    show_new(&visit, &account, false).await
}

pub(super) async fn new_import(visit: Visit, account: Path<String>) -> Result<HttpResponse, ApiError> {
    show_new(&visit, &account, true).await
}

async fn show_new(visit: &Visit, account: &str, import: bool) -> Result<HttpResponse, ApiError> {
    let account = find(visit, account).await?;
    let (entered, mistakes) = (Entered::offer(visit), Mistakes::default());
    visit.show(&NewView { frame: &visit.frame, account: &account, entered: &entered, mistakes: &mistakes, import })
}

pub(super) async fn create(mut visit: Visit, account: Path<String>) -> Result<HttpResponse, ApiError> {
    let account = find(&visit, &account).await?;
    let entered = Entered::read(&mut visit.form().await?, &visit)?;
    match make(&visit, &account, &entered).await {
        Ok(response) => Ok(response),
        Err(error) => again(&visit, &account, &entered, error, false),
    }
}

async fn make(visit: &Visit, account: &ServiceAccount, entered: &Entered) -> Result<HttpResponse, ApiError> {
    let wanted = entered.parse()?;
    let made = visit.management().create_key(&visit.call.caller, &Reference::Id(account.id.0), wanted, visit.call.origin.clone()).await;
    visit.commit(made, "created", |(details, raw)| show_key(visit, account, &details, &raw)).await
}

pub(super) async fn import(mut visit: Visit, account: Path<String>) -> Result<HttpResponse, ApiError> {
    let account = find(&visit, &account).await?;
    let entered = Entered::read(&mut visit.form().await?, &visit)?;
    match take_in(&visit, &account, &entered).await {
        Ok(response) => Ok(response),
        Err(error) => again(&visit, &account, &entered, error, true),
    }
}

async fn take_in(visit: &Visit, account: &ServiceAccount, entered: &Entered) -> Result<HttpResponse, ApiError> {
    let (wanted, value) = entered.parse_import()?;
    let made = visit.management().import_key(&visit.call.caller, &Reference::Id(account.id.0), wanted, value, visit.call.origin.clone()).await;
    visit.commit(made, "imported", |_| to(&path_of(account))).await
}

fn again(visit: &Visit, account: &ServiceAccount, entered: &Entered, error: ApiError, import: bool) -> Result<HttpResponse, ApiError> {
    let mistakes = Mistakes::of(error, "name")?;
    visit.show_with(mistakes.status(), &NewView { frame: &visit.frame, account, entered, mistakes: &mistakes, import })
}

pub(super) fn references(details: &KeyDetails) -> (Reference, Reference) {
    (Reference::Id(details.key.service_account_id.0), Reference::Id(details.key.id.0))
}

#[derive(Template)]
#[template(path = "key_edit.html")]
struct EditView<'a> {
    frame: &'a Frame,
    account: &'a ServiceAccount,
    details: &'a KeyDetails,
    expires: Option<Moment>,
    entered: &'a Entered,
    mistakes: &'a Mistakes,
    /// Whether the visitor may give it another end.
    may_extend: bool,
}

fn texts(details: &KeyDetails) -> Vec<Text> {
    vec![("name", details.key.name.to_string())]
}

fn parse_change(edit: &Edit, expiration: &Expiration) -> Result<KeyChange, ApiError> {
    let mut fields = Fields::default();
    let name = fields.optional("name", edit.changed("name"), Name::parse);
    let change = KeyChange { name, expires_in_days: expiration.parse(&mut fields), ..KeyChange::default() };
    fields.finish()?;
    Ok(change)
}

pub(super) async fn edit(visit: Visit, path: KeyPath) -> Result<HttpResponse, ApiError> {
    let (account, details) = find_key(&visit, &path).await?;
    let expiration = Expiration::keep(visit.call.caller.organization().key_policy);
    let entered = Entered { expiration, ..Entered::of(&Edit::of(texts(&details)), &visit) };
    show_edit(&visit, &account, &details, &entered, &Mistakes::default(), StatusCode::OK).await
}

async fn show_edit(
    visit: &Visit,
    account: &ServiceAccount,
    details: &KeyDetails,
    entered: &Entered,
    mistakes: &Mistakes,
    status: StatusCode,
) -> Result<HttpResponse, ApiError> {
    let expires = details.current.expires_at.map(|at| visit.moment(at));
    let may_extend = visit.management().covers(&visit.call.caller, Holder::ServiceAccount(account.id)).await?;
    visit.show_with(status, &EditView { frame: &visit.frame, account, details, expires, entered, mistakes, may_extend })
}

pub(super) async fn save(mut visit: Visit, path: KeyPath) -> Result<HttpResponse, ApiError> {
    let (account, details) = find_key(&visit, &path).await?;
    let mut form = visit.form().await?;
    let edit = Edit::read(&mut form, texts(&details))?;
    let expiration = Expiration::read(&mut form, visit.call.caller.organization().key_policy)?;
    let saved = match parse_change(&edit, &expiration) {
        Ok(change) => update(&visit, &details, change).await,
        Err(error) => Err(error),
    };
    match saved {
        Ok(()) => Ok(visit.done(&path_of(&account), "saved").await),
        Err(error) => {
            let mistakes = Mistakes::of(error, "name")?;
            let entered = Entered { expiration, ..Entered::of(&edit, &visit) };
            show_edit(&visit, &account, &details, &entered, &mistakes, mistakes.status()).await
        }
    }
}

pub(super) async fn update(visit: &Visit, details: &KeyDetails, change: KeyChange) -> Result<(), ApiError> {
    let (account, key) = references(details);
    visit.management().update_key(&visit.call.caller, &account, &key, change, visit.call.origin.clone()).await?;
    Ok(())
}

async fn ask(visit: &Visit, path: &KeyPath, ending: &Ending) -> Result<HttpResponse, ApiError> {
    let (account, details) = find_key(visit, path).await?;
    ending.ask(visit, &account, Some(&details)).await
}

pub(super) async fn ask_deactivate(visit: Visit, path: KeyPath) -> Result<HttpResponse, ApiError> {
    ask(&visit, &path, &DEACTIVATE_KEY).await
}

pub(super) async fn deactivate(mut visit: Visit, path: KeyPath) -> Result<HttpResponse, ApiError> {
    let (account, details) = find_key(&visit, &path).await?;
    let keep_credentials = keeps(&mut visit).await?;
    update(&visit, &details, KeyChange { active: Some(false), keep_credentials, ..KeyChange::default() }).await?;
    Ok(visit.done(&path_of(&account), "key_deactivated").await)
}

fn activation(account: &ServiceAccount, details: &KeyDetails) -> Question {
    let name = &details.key.name;
    Question {
        title: format!("Activate {name}?"),
        about: vec![
            "The key works then as before. Tokens from before stay ended.".to_owned(),
            "Where whoever made it may not make it any more, you become its maker: they still know it. If they must not use it, rotate the key."
                .to_owned(),
        ],
        button: format!("Activate {name}"),
        back: path_of(account),
        back_label: account.name.to_string(),
        danger: false,
    }
}

pub(super) async fn activate(visit: Visit, path: KeyPath) -> Result<HttpResponse, ApiError> {
    let (account, details) = find_key(&visit, &path).await?;
    match update(&visit, &details, KeyChange { active: Some(true), ..KeyChange::default() }).await {
        Ok(()) => Ok(visit.done(&path_of(&account), "activated").await),
        Err(error) => activation(&account, &details).refuse(&visit, error),
    }
}

pub(super) async fn ask_end_tokens(visit: Visit, path: KeyPath) -> Result<HttpResponse, ApiError> {
    ask(&visit, &path, &END_TOKENS_OF_KEY).await
}

pub(super) async fn end_tokens(visit: Visit, path: KeyPath) -> Result<HttpResponse, ApiError> {
    let (account, details) = find_key(&visit, &path).await?;
    let (of, key) = references(&details);
    visit.management().revoke_key_tokens(&visit.call.caller, &of, &key, visit.call.origin.clone()).await?;
    Ok(visit.done(&path_of(&account), "revoked").await)
}

pub(super) async fn ask_compromise(visit: Visit, path: KeyPath) -> Result<HttpResponse, ApiError> {
    ask(&visit, &path, &COMPROMISE_KEY).await
}

pub(super) async fn compromise(visit: Visit, path: KeyPath) -> Result<HttpResponse, ApiError> {
    let (account, details) = find_key(&visit, &path).await?;
    let (of, key) = references(&details);
    visit.management().compromise_key(&visit.call.caller, &of, &key, visit.call.origin.clone()).await?;
    Ok(visit.done(&path_of(&account), "compromised").await)
}

pub(super) async fn ask_delete(visit: Visit, path: KeyPath) -> Result<HttpResponse, ApiError> {
    ask(&visit, &path, &DELETE_KEY).await
}

pub(super) async fn delete(visit: Visit, path: KeyPath) -> Result<HttpResponse, ApiError> {
    let (account, details) = find_key(&visit, &path).await?;
    let (of, key) = references(&details);
    visit.management().delete_key(&visit.call.caller, &of, &key, visit.call.origin.clone()).await?;
    Ok(visit.done(&path_of(&account), "key_deleted").await)
}
