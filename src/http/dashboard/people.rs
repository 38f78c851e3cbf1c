//! `/people`: who signs in with an email address and a password.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Path;
use askama::Template;
use serde::Deserialize;

use super::super::api::fields::Fields;
use super::super::api::page::Asked;
use super::super::api::users;
use super::super::body::Form;
use super::super::error::ApiError;
use super::activity::{self, Activity};
use super::confirm::{Question, keeps};
use super::edit::{Edit, Text};
use super::frame::Frame;
use super::given::{self, GivenList, GivenRow};
use super::link::{Pager, link};
use super::mistakes::Mistakes;
use super::moment::Moment;
use super::visit::{Visit, to};
use crate::domain::entity::{Team, User};
use crate::domain::id::Reference;
use crate::domain::name::{Email, Invalid};
use crate::domain::permission::Permission;
use crate::service::{AssignmentQuery, HolderReference, Invitation, LeftBehindCount, NewUser, Page, UserChange};
use crate::store::{Holder, UserFilter};

/// `show=` and what the tab is called.
const TABS: [(&str, &str); 4] = [("all", "All"), ("active", "Active"), ("invited", "Invited"), ("inactive", "Deactivated")];

/// Nobody is in more teams than that.
const TEAMS: Page = Page { after: uuid::Uuid::nil(), limit: 200 };

#[derive(Deserialize)]
pub(super) struct ListQuery {
    search: Option<String>,
    show: Option<String>,
    cursor: Option<String>,
}

/// One of the filters, of which one counts at a time.
struct Tab {
    label: &'static str,
    href: String,
    current: bool,
}

#[derive(Template)]
#[template(path = "people.html")]
struct ListView<'a> {
    frame: &'a Frame,
    search: String,
    show: &'static str,
    tabs: Vec<Tab>,
    rows: Vec<(User, Moment)>,
    pager: Pager,
    may_manage: bool,
}

pub(super) async fn list(visit: Visit) -> Result<HttpResponse, ApiError> {
    let query: ListQuery = visit.query().await?;
    let show = TABS.iter().map(|(show, _)| *show).find(|show| query.show.as_deref() == Some(show)).unwrap_or("all");
    let search = query.search.unwrap_or_default().trim().to_owned();
    let filter = UserFilter {
        email: None,
        search: Some(search.clone()).filter(|search| !search.is_empty()),
        active: if show == "all" { None } else { Some(show != "inactive") },
        invited: (show == "invited").then_some(true),
    };
    let asked = Asked::parse(None, query.cursor.as_deref())?;
    let found = visit.management().list_users(&visit.call.caller, &filter, asked.page()).await?;
    let row = |user: User| {
        let made = visit.moment(user.created_at);
        (user, made)
    };
    let page = asked.answer(found, |user| user.id.0, row);
    let shown = |show: &'static str| if show == "all" { "" } else { show };
    let tabs = TABS.iter().map(|(other, label)| {
        let href = link("/people", &[("search", &search), ("show", shown(other))]);
        Tab { label, href, current: *other == show }
    });
    visit.show(&ListView {
        frame: &visit.frame,
        tabs: tabs.collect(),
        rows: page.items,
        pager: Pager::new("/people", &[("search", &search), ("show", shown(show))], "cursor", query.cursor.as_deref(), page.next_cursor.as_deref()),
        may_manage: visit.may(&Permission::USERS_MANAGE),
        show,
        search,
    })
}

#[derive(Template)]
#[template(path = "person_form.html")]
struct FormView<'a> {
    frame: &'a Frame,
    /// The person that is changed; nothing where one is made.
    user: Option<&'a User>,
    /// Whether the address can be changed by the visitor: who may less than they would come by their sign-in.
    may_readdress: bool,
    entered: &'a Entered,
    mistakes: &'a Mistakes,
}

/// What was entered into the form, without the password.
#[derive(Default)]
struct Entered {
    email: String,
    name: String,
    /// Whether they are given a password, and not invited.
    by_password: bool,
    /// Of a change: what the form showed.
    shown: String,
}

impl Entered {
    fn read(form: &mut Form) -> Result<Self, ApiError> {
        let mut take = |name: &str| form.take(name).map(Option::unwrap_or_default);
        Ok(Self { email: take("email")?, name: take("name")?, by_password: take("how")? == "password", shown: String::new() })
    }

    fn of(edit: &Edit) -> Self {
        Self { email: edit.text("email"), name: edit.text("name"), by_password: false, shown: edit.shown() }
    }
}

fn texts(user: &User) -> Vec<Text> {
    vec![("email", user.email.to_string()), ("name", user.name.clone())]
}

async fn show_form(visit: &Visit, user: Option<&User>, entered: &Entered, mistakes: &Mistakes) -> Result<HttpResponse, ApiError> {
    let status = if mistakes.any() { mistakes.status() } else { StatusCode::OK };
    let may_readdress = match user {
        Some(user) => visit.management().covers(&visit.call.caller, Holder::User(user.id)).await?,
        None => true,
    };
    visit.show_with(status, &FormView { frame: &visit.frame, user, may_readdress, entered, mistakes })
}

pub(super) async fn new(visit: Visit) -> Result<HttpResponse, ApiError> {
    show_form(&visit, None, &Entered::default(), &Mistakes::default()).await
}

pub(super) async fn create(mut visit: Visit) -> Result<HttpResponse, ApiError> {
    let mut form = visit.form().await?;
    let entered = Entered::read(&mut form)?;
    let password = form.take("password")?.filter(|_| entered.by_password);
    let made = async {
        let mut fields = Fields::default();
        let email = fields.check("email", Email::parse(&entered.email));
        let name = fields.check("name", users::name(&entered.name));
        let password = match password {
            Some(password) => fields.check("password", users::password(password)),
            None if entered.by_password => fields.check("password", Err(Invalid("must not be empty".to_owned()))),
            None => None,
        };
        let wanted = fields.finish_with(email.zip(name).map(|(email, name)| NewUser { email, name, password }))?;
        let made = visit.management().create_user(&visit.call.caller, wanted, visit.call.origin.clone()).await;
        let render = |(user, invitation): (User, Option<Invitation>)| match invitation {
            Some(invitation) => show_invitation(&visit, StatusCode::CREATED, &user, &invitation),
            None => to(&format!("/people/{}", user.id)),
        };
        visit.commit(made, "created", render).await
    };
    match made.await {
        Ok(response) => Ok(response),
        Err(error) => show_form(&visit, None, &entered, &Mistakes::of(error, "email")?).await,
    }
}

#[derive(Template)]
#[template(path = "invitation_shown.html")]
struct InvitationView<'a> {
    frame: &'a Frame,
    user: &'a User,
    /// The secret stands behind the `#`, which browsers keep to themselves: it is in no log, and in no history of a proxy.
    url: String,
    page: String,
    code: &'a str,
    expires: Moment,
}

/// The page that shows a link: this once.
fn show_invitation(visit: &Visit, status: StatusCode, user: &User, invitation: &Invitation) -> Result<HttpResponse, ApiError> {
    let page = format!("{}/invitation", visit.call.state.issuer.trim_end_matches('/'));
    let code = invitation.secret.expose();
    let (url, expires) = (format!("{page}#{code}"), visit.moment(invitation.expires_at));
    visit.show_with(status, &InvitationView { frame: &visit.frame, user, url, page, code, expires })
}

async fn find(visit: &Visit, user: &Path<String>) -> Result<User, ApiError> {
    Ok(visit.management().find_user(&visit.call.caller, &Reference::from(user.as_str())).await?)
}

pub(super) async fn edit(visit: Visit, user: Path<String>) -> Result<HttpResponse, ApiError> {
    let user = find(&visit, &user).await?;
    show_form(&visit, Some(&user), &Entered::of(&Edit::of(texts(&user))), &Mistakes::default()).await
}

async fn change(visit: &Visit, user: &User, change: UserChange) -> Result<User, ApiError> {
    Ok(visit.management().update_user(&visit.call.caller, &Reference::Id(user.id.0), change, visit.call.origin.clone()).await?)
}

pub(super) async fn save(mut visit: Visit, user: Path<String>) -> Result<HttpResponse, ApiError> {
    let user = find(&visit, &user).await?;
    let edit = Edit::read(&mut visit.form().await?, texts(&user))?;
    let saved = async {
        let mut fields = Fields::default();
        let wanted = UserChange {
            email: fields.optional("email", edit.changed("email"), Email::parse),
            name: fields.optional("name", edit.changed("name"), users::name),
            active: None,
            keep_credentials: false,
        };
        fields.finish()?;
        change(&visit, &user, wanted).await
    };
    match saved.await {
        Ok(user) => Ok(visit.done(&format!("/people/{}", user.id), "saved").await),
        Err(error) => show_form(&visit, Some(&user), &Entered::of(&edit), &Mistakes::of(error, "email")?).await,
    }
}

#[derive(Deserialize)]
pub(super) struct ShowQuery {
    given: Option<String>,
}

#[derive(Template)]
#[template(path = "person.html")]
struct PersonView<'a> {
    frame: &'a Frame,
    user: &'a User,
    made: Moment,
    given: Option<GivenList>,
    /// What comes through teams.
    through: Vec<GivenRow>,
    teams: Option<Vec<Team>>,
    activity: Option<Activity>,
    may_manage: bool,
    /// Whether the visitor may all that they may: who may less does not come by their sign-in.
    covers: bool,
    may_give: bool,
}

pub(super) async fn show(visit: Visit, user: Path<String>) -> Result<HttpResponse, ApiError> {
    let query: ShowQuery = visit.query().await?;
    let user = find(&visit, &user).await?;
    let holder = HolderReference::User(Reference::Id(user.id.0));
    let teams =
        if visit.may(&Permission::TEAMS_READ) { Some(visit.management().list_teams(&visit.call.caller, Some(&holder), TEAMS).await?) } else { None };
    let (given, through) = if visit.may(&Permission::ROLES_READ) {
        let wanted = AssignmentQuery { holder: Some(holder), ..AssignmentQuery::default() };
        let given = given::list(&visit, &wanted, query.given.as_deref(), &format!("/people/{}", user.id)).await?;
        (Some(given), given::through(&visit, teams.as_deref().unwrap_or_default()).await?)
    } else {
        (None, Vec::new())
    };
    visit.show(&PersonView {
        frame: &visit.frame,
        made: visit.moment(user.created_at),
        given,
        through,
        teams,
        activity: activity::about(&visit, user.id.0, &[]).await?,
        may_manage: visit.may(&Permission::USERS_MANAGE),
        covers: visit.management().covers(&visit.call.caller, Holder::User(user.id)).await?,
        may_give: visit.call.caller.access.holds_somewhere(&Permission::ROLES_MANAGE),
        user: &user,
    })
}

/// A question about a person.
fn question(user: &User, title: String, button: String, danger: bool, about: &[&str]) -> Question {
    let about = about.iter().map(|sentence| (*sentence).to_owned()).collect();
    Question { title, about, button, back: format!("/people/{}", user.id), back_label: user.email.to_string(), danger }
}

fn inviting(user: &User) -> Question {
    let (title, button) = if user.has_password {
        (format!("Make a link for a new password of {}?", user.email), "Make the link".to_owned())
    } else {
        (format!("Invite {} anew?", user.email), "Make a new link".to_owned())
    };
    let about: &[&str] = if user.has_password {
        &["With the link they set a new password. Until they do, the one they have goes on working.", "A link that was made before counts no more."]
    } else {
        &["With the link they set a password, and can then sign in.", "The link that was made before counts no more."]
    };
    question(user, title, button, false, about)
}

pub(super) async fn confirm_invite(visit: Visit, user: Path<String>) -> Result<HttpResponse, ApiError> {
    inviting(&find(&visit, &user).await?).ask(&visit)
}

pub(super) async fn invite(mut visit: Visit, user: Path<String>) -> Result<HttpResponse, ApiError> {
    visit.optional_form().await?;
    let user = find(&visit, &user).await?;
    let made = visit.management().invite_user(&visit.call.caller, &Reference::Id(user.id.0), visit.call.origin.clone()).await;
    let shown = visit.commit(made, "invited", |(user, invitation)| show_invitation(&visit, StatusCode::OK, &user, &invitation)).await;
    match shown {
        Ok(response) => Ok(response),
        Err(error) => inviting(&user).refuse(&visit, error),
    }
}

fn deactivation(user: &User) -> Question {
    let about = [
        "They are signed out everywhere, at once, and cannot sign in again. Their tokens count no more at Hourpass.",
        "A link for a password that was made for them counts no more.",
        "What they were given stays, and counts again when they are activated.",
    ];
    question(user, format!("Deactivate {}?", user.email), format!("Deactivate {}", user.email), true, &about)
}

/// How much they leave behind.
async fn left_by(visit: &Visit, user: &User) -> Result<LeftBehindCount, ApiError> {
    Ok(visit.management().left_by_user(&visit.call.caller, &Reference::Id(user.id.0)).await?)
}

pub(super) async fn confirm_deactivate(visit: Visit, user: Path<String>) -> Result<HttpResponse, ApiError> {
    let user = find(&visit, &user).await?;
    deactivation(&user).ask_leaving(&visit, left_by(&visit, &user).await?)
}

pub(super) async fn deactivate(mut visit: Visit, user: Path<String>) -> Result<HttpResponse, ApiError> {
    let user = find(&visit, &user).await?;
    let keep_credentials = keeps(&mut visit).await?;
    match change(&visit, &user, UserChange { active: Some(false), keep_credentials, ..UserChange::default() }).await {
        Ok(_) => Ok(visit.done(&format!("/people/{}", user.id), "person_deactivated").await),
        Err(error) => deactivation(&user).refuse_leaving(&visit, error, left_by(&visit, &user).await?),
    }
}

fn activation(user: &User) -> Question {
    let about = ["They can sign in again with the password they had, and hold what they held.", "No sign-in or token from before comes back."];
    question(user, format!("Activate {}?", user.email), format!("Activate {}", user.email), false, &about)
}

pub(super) async fn confirm_activate(visit: Visit, user: Path<String>) -> Result<HttpResponse, ApiError> {
    activation(&find(&visit, &user).await?).ask(&visit)
}

pub(super) async fn activate(visit: Visit, user: Path<String>) -> Result<HttpResponse, ApiError> {
    let user = find(&visit, &user).await?;
    match change(&visit, &user, UserChange { active: Some(true), ..UserChange::default() }).await {
        Ok(_) => Ok(visit.done(&format!("/people/{}", user.id), "activated").await),
        Err(error) => activation(&user).refuse(&visit, error),
    }
}

fn deletion(user: &User) -> Question {
    let about = [
        "They are signed out everywhere, at once, for good, and leave all their teams.",
        "What they were given is deleted with them. What they did stays in the audit trail.",
        "To keep what they hold for later, deactivate them instead.",
    ];
    question(user, format!("Delete {}?", user.email), format!("Delete {}", user.email), true, &about)
}

pub(super) async fn confirm_delete(visit: Visit, user: Path<String>) -> Result<HttpResponse, ApiError> {
    let user = find(&visit, &user).await?;
    deletion(&user).ask_leaving(&visit, left_by(&visit, &user).await?)
}

pub(super) async fn delete(mut visit: Visit, user: Path<String>) -> Result<HttpResponse, ApiError> {
    let user = find(&visit, &user).await?;
    let keep = keeps(&mut visit).await?;
    match visit.management().delete_user(&visit.call.caller, &Reference::Id(user.id.0), keep, visit.call.origin.clone()).await {
        Ok(()) => Ok(visit.done("/people", "deleted").await),
        Err(error) => deletion(&user).refuse_leaving(&visit, error.into(), left_by(&visit, &user).await?),
    }
}
