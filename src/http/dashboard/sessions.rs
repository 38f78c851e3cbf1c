//! `/sessions`: the visitor's own sign-ins, and, of a person, the password.

use actix_web::HttpResponse;
use actix_web::web::Path;
use askama::Template;
use secrecy::{ExposeSecret, SecretString};

use super::super::api::fields::Fields;
use super::super::body::Form;
use super::super::error::{ApiError, FieldError};
use super::confirm::Question;
use super::frame::Frame;
use super::mistakes::Mistakes;
use super::moment::Moment;
use super::visit::Visit;
use super::words;
use crate::domain::entity::SessionDetails;
use crate::domain::id::SessionId;
use crate::domain::name::{Invalid, check_password};
use crate::service::Principal;

const PATH: &str = "/sessions";

#[derive(Template)]
#[template(path = "sessions.html")]
struct View<'a> {
    frame: &'a Frame,
    about: &'static str,
    rows: Vec<Row>,
    /// Whether there are others than the one that asks.
    others: bool,
    /// Whether the visitor has a password.
    person: bool,
    mistakes: &'a Mistakes,
}

struct Row {
    id: SessionId,
    current: bool,
    browser: bool,
    program: String,
    /// What the program called itself.
    user_agent: String,
    began: Moment,
    address: Option<String>,
    until: Moment,
    /// Until when its use has it last.
    renewable_until: Option<Moment>,
}

pub(super) async fn list(visit: Visit) -> Result<HttpResponse, ApiError> {
    show(&visit, &Mistakes::default()).await
}

async fn show(visit: &Visit, mistakes: &Mistakes) -> Result<HttpResponse, ApiError> {
    let caller = &visit.call.caller;
    let current = caller.session().map(|session| session.id);
    let rows: Vec<_> = visit.call.state.sessions.list(caller).await?.into_iter().map(|details| row(visit, details, current)).collect();
    let (others, person) = (rows.iter().any(|row| !row.current), matches!(caller.principal, Principal::User(_)));
    let about = if person {
        "Where you are signed in. End what you do not know."
    } else {
        "Where somebody is signed in with a browser as this service account, by one of its API keys. End what you do not know."
    };
    visit.show_with(mistakes.status(), &View { frame: &visit.frame, about, rows, others, person, mistakes })
}

fn row(visit: &Visit, SessionDetails { session, address, user_agent }: SessionDetails, current: Option<SessionId>) -> Row {
    Row {
        id: session.id,
        current: current == Some(session.id),
        browser: session.renewable_until.is_some(),
        program: words::program(user_agent.as_deref().unwrap_or_default()),
        user_agent: user_agent.unwrap_or_default(),
        began: visit.moment(session.created_at),
        address,
        until: visit.moment(session.expires_at),
        renewable_until: session.renewable_until.map(|at| visit.moment(at)),
    }
}

fn gone(session: &str) -> ApiError {
    ApiError::new("not_found", format!("there is no sign-in {session} of yours; it may be over"))
}

pub(super) async fn ask_to_end(visit: Visit, session: Path<String>) -> Result<HttpResponse, ApiError> {
    let found = visit.call.state.sessions.list(&visit.call.caller).await?;
    let found = found.into_iter().find(|it| it.session.id.to_string() == *session).ok_or_else(|| gone(&session))?;
    let program = words::program(found.user_agent.as_deref().unwrap_or_default());
    let from = found.address.map(|address| format!(", which began from {address}")).unwrap_or_default();
    Question {
        title: format!("End the session of {program}?"),
        about: vec![format!("The session of {program}{from}, and the tokens that it yielded, count no more. Whoever has it signs in anew.")],
        button: format!("End the session of {program}"),
        back: PATH.to_owned(),
        back_label: "My sessions".to_owned(),
        danger: true,
    }
    .ask(&visit)
}

pub(super) async fn end(visit: Visit, session: Path<String>) -> Result<HttpResponse, ApiError> {
    let id = session.parse::<SessionId>().map_err(|_| gone(&session))?;
    let own = visit.call.caller.session().is_some_and(|current| current.id == id);
    if !visit.call.state.sessions.end(&visit.call.caller, id, visit.call.origin.clone()).await? {
        return Err(gone(&session));
    }
    if own {
        visit.call.end_cookie().await?;
        return Ok(visit.done("/sign-in", "signed_out").await);
    }
    Ok(visit.done(PATH, "ended").await)
}

pub(super) async fn ask_to_end_others(visit: Visit) -> Result<HttpResponse, ApiError> {
    Question {
        title: "End all other sessions?".to_owned(),
        about: vec!["All your sessions but this one, and the tokens that they yielded, count no more. API keys go on working.".to_owned()],
        button: "End all other sessions".to_owned(),
        back: PATH.to_owned(),
        back_label: "My sessions".to_owned(),
        danger: true,
    }
    .ask(&visit)
}

pub(super) async fn end_others(visit: Visit) -> Result<HttpResponse, ApiError> {
    visit.call.state.sessions.end_others(&visit.call.caller, visit.call.origin.clone()).await?;
    Ok(visit.done(PATH, "others_ended").await)
}

pub(super) async fn change_password(mut visit: Visit) -> Result<HttpResponse, ApiError> {
    let mut form = visit.form().await?;
    match replace_password(&visit, &mut form).await {
        Ok(()) => {
            visit.call.end_cookie().await?;
            Ok(visit.done("/sign-in", "password_changed").await)
        }
        Err(error) => show(&visit, &Mistakes::of(error, "password")?).await,
    }
}

async fn replace_password(visit: &Visit, form: &mut Form) -> Result<(), ApiError> {
    let mut take = |name: &str| form.take(name).map(|text| SecretString::from(text.unwrap_or_default()));
    let (old, new, again) = (take("old_password")?, take("password")?, take("password_again")?);
    let mut fields = Fields::default();
    fields.check("password", check_password(&new));
    if again.expose_secret() != new.expose_secret() {
        fields.check::<()>("password_again", Err(Invalid("must be the same as the new password".to_owned())));
    }
    fields.finish()?;
    let changed = visit.management().change_password(&visit.call.caller, &old, &new, visit.call.origin.clone()).await;
    changed.map_err(ApiError::from).map_err(|error| match error.code() {
        "wrong_password" => ApiError::invalid_fields(vec![FieldError::new("old_password", "is not your password")]),
        _ => error,
    })
}
