//! `/service-accounts/{account}/teams`: the teams that an account is in.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Path;
use askama::Template;

use super::super::api::fields::Fields;
use super::super::error::ApiError;
use super::confirm::Question;
use super::frame::Frame;
use super::mistakes::Mistakes;
use super::service_account::{find, path_of};
use super::visit::{Visit, to};
use crate::domain::entity::{ServiceAccount, Team};
use crate::domain::id::Reference;
use crate::domain::name::Invalid;
use crate::service::{HolderReference, Page};

/// All that there are of what a form lets people choose from: lists of teams end here.
const ALL: Page = Page { after: uuid::Uuid::nil(), limit: 500 };

/// What happens to who leaves a team.
const REMOVAL: [&str; 2] = [
    "It loses at once what it holds through the team. What it holds itself, and through other teams, it keeps.",
    "Tokens for workspaces that it has say what they said until they expire, within an hour: end its tokens if that is too long.",
];

#[derive(Template)]
#[template(path = "account_team_new.html")]
struct NewView<'a> {
    frame: &'a Frame,
    account: &'a ServiceAccount,
    teams: Vec<Team>,
    /// The team that was chosen.
    chosen: &'a str,
    mistakes: &'a Mistakes,
}

pub(super) async fn new(visit: Visit, account: Path<String>) -> Result<HttpResponse, ApiError> {
    let account = find(&visit, &account).await?;
    show_new(&visit, &account, "", &Mistakes::default(), StatusCode::OK).await
}

async fn show_new(visit: &Visit, account: &ServiceAccount, chosen: &str, mistakes: &Mistakes, status: StatusCode) -> Result<HttpResponse, ApiError> {
    let teams = visit.management().list_teams_to_join(&visit.call.caller, account, ALL).await?;
    visit.show_with(status, &NewView { frame: &visit.frame, account, teams, chosen, mistakes })
}

pub(super) async fn add(mut visit: Visit, account: Path<String>) -> Result<HttpResponse, ApiError> {
    let account = find(&visit, &account).await?;
    let chosen = visit.form().await?.take("team")?.unwrap_or_default();
    match join(&visit, &account, &chosen).await {
        Ok(response) => Ok(response),
        Err(error) => {
            let mistakes = Mistakes::of(error, "team")?;
            show_new(&visit, &account, &chosen, &mistakes, mistakes.status()).await
        }
    }
}

async fn join(visit: &Visit, account: &ServiceAccount, team: &str) -> Result<HttpResponse, ApiError> {
    let mut fields = Fields::default();
    if team.is_empty() {
        fields.check::<()>("team", Err(Invalid("must be chosen".to_owned())));
    }
    fields.finish()?;
    let member = HolderReference::ServiceAccount(Reference::Id(account.id.0));
    let made = visit.management().add_team_member(&visit.call.caller, &Reference::from(team), &member, visit.call.origin.clone()).await;
    visit.commit(made, "added", |_| to(&path_of(account))).await
}

async fn find_both(visit: &Visit, path: &(String, String)) -> Result<(ServiceAccount, Team), ApiError> {
    let account = find(visit, &path.0).await?;
    let team = visit.management().find_team(&visit.call.caller, &Reference::from(path.1.as_str())).await?;
    Ok((account, team))
}

pub(super) async fn ask_remove(visit: Visit, path: Path<(String, String)>) -> Result<HttpResponse, ApiError> {
    let (account, team) = find_both(&visit, &path).await?;
    let question = Question {
        title: format!("Remove {} from {}?", account.name, team.name),
        about: REMOVAL.map(str::to_owned).to_vec(),
        button: format!("Remove {}", account.name),
        back: path_of(&account),
        back_label: account.name.to_string(),
        danger: true,
    };
    question.ask(&visit)
}

pub(super) async fn remove(visit: Visit, path: Path<(String, String)>) -> Result<HttpResponse, ApiError> {
    let (account, team) = find_both(&visit, &path).await?;
    let team = Reference::Id(team.id.0);
    visit.management().remove_team_member(&visit.call.caller, &team, account.id.0, visit.call.origin.clone()).await?;
    Ok(visit.done(&path_of(&account), "removed").await)
}
