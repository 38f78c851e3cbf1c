//! `/teams`: groups of service accounts and people, their members, and what they hold.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Path;
use askama::Template;
use serde::Deserialize;

use super::super::api::fields::Fields;
use super::super::api::page::Asked;
use super::super::body::Form;
use super::super::error::{ApiError, FieldError};
use super::confirm::Question;
use super::edit::{Edit, Text};
use super::frame::Frame;
use super::given::{self, GivenList};
use super::link::Pager;
use super::mistakes::Mistakes;
use super::moment::Moment;
use super::visit::{Visit, to};
use crate::domain::entity::Team;
use crate::domain::id::Reference;
use crate::domain::name::{Invalid, Name, parse_description};
use crate::domain::permission::Permission;
use crate::service::{AssignmentQuery, HolderReference, NewTeam, Page, TeamChange};
use crate::store::{Holder, Member};

#[derive(Deserialize)]
pub(super) struct ListQuery {
    cursor: Option<String>,
    given: Option<String>,
}

#[derive(Template)]
#[template(path = "teams.html")]
struct ListView<'a> {
    frame: &'a Frame,
    rows: Vec<(Team, Moment)>,
    pager: Pager,
    may_manage: bool,
}

pub(super) async fn list(visit: Visit) -> Result<HttpResponse, ApiError> {
    let query: ListQuery = visit.query().await?;
    let asked = Asked::parse(None, query.cursor.as_deref())?;
    let found = visit.management().list_teams(&visit.call.caller, None, asked.page()).await?;
    let row = |team: Team| {
        let made = visit.moment(team.created_at);
        (team, made)
    };
    let page = asked.answer(found, |team| team.id.0, row);
    visit.show(&ListView {
        frame: &visit.frame,
        rows: page.items,
        pager: Pager::new("/teams", &[], "cursor", query.cursor.as_deref(), page.next_cursor.as_deref()),
        may_manage: visit.may(&Permission::TEAMS_MANAGE),
    })
}

#[derive(Template)]
#[template(path = "team_form.html")]
struct FormView<'a> {
    frame: &'a Frame,
    /// The team that is changed; nothing where one is made.
    team: Option<&'a Team>,
    entered: &'a Entered,
    mistakes: &'a Mistakes,
}

/// What was entered into the form.
#[derive(Default)]
struct Entered {
    name: String,
    description: String,
    /// Of a change: what the form showed.
    shown: String,
}

impl Entered {
    fn read(form: &mut Form) -> Result<Self, ApiError> {
        let mut take = |name: &str| form.take(name).map(Option::unwrap_or_default);
        Ok(Self { name: take("name")?, description: take("description")?, shown: String::new() })
    }

    fn of(edit: &Edit) -> Self {
        Self { name: edit.text("name"), description: edit.text("description"), shown: edit.shown() }
    }

    fn parse(&self) -> Result<NewTeam, ApiError> {
        let mut fields = Fields::default();
        let name = fields.check("name", Name::parse(&self.name));
        let description = fields.check("description", parse_description(&self.description));
        fields.finish_with(name.zip(description).map(|(name, description)| NewTeam { name, description }))
    }
}

fn texts(team: &Team) -> Vec<Text> {
    vec![("name", team.name.to_string()), ("description", team.description.clone())]
}

fn parse_change(edit: &Edit) -> Result<TeamChange, ApiError> {
    let mut fields = Fields::default();
    let change = TeamChange {
        name: fields.optional("name", edit.changed("name"), Name::parse),
        description: fields.optional("description", edit.changed("description"), parse_description),
    };
    fields.finish()?;
    Ok(change)
}

fn show_form(visit: &Visit, team: Option<&Team>, entered: &Entered, mistakes: &Mistakes, status: StatusCode) -> Result<HttpResponse, ApiError> {
    visit.show_with(status, &FormView { frame: &visit.frame, team, entered, mistakes })
}

pub(super) async fn new(visit: Visit) -> Result<HttpResponse, ApiError> {
    show_form(&visit, None, &Entered::default(), &Mistakes::default(), StatusCode::OK)
}

pub(super) async fn create(mut visit: Visit) -> Result<HttpResponse, ApiError> {
    let entered = Entered::read(&mut visit.form().await?)?;
    let made = async {
        let wanted = entered.parse()?;
        let made = visit.management().create_team(&visit.call.caller, wanted, visit.call.origin.clone()).await;
        visit.commit(made, "created", |team| to(&format!("/teams/{}", team.id))).await
    };
    match made.await {
        Ok(response) => Ok(response),
        Err(error) => {
            let mistakes = Mistakes::of(error, "name")?;
            show_form(&visit, None, &entered, &mistakes, mistakes.status())
        }
    }
}

async fn find(visit: &Visit, team: &Path<String>) -> Result<Team, ApiError> {
    Ok(visit.management().find_team(&visit.call.caller, &Reference::from(team.as_str())).await?)
}

pub(super) async fn edit(visit: Visit, team: Path<String>) -> Result<HttpResponse, ApiError> {
    let team = find(&visit, &team).await?;
    show_form(&visit, Some(&team), &Entered::of(&Edit::of(texts(&team))), &Mistakes::default(), StatusCode::OK)
}

pub(super) async fn save(mut visit: Visit, team: Path<String>) -> Result<HttpResponse, ApiError> {
    let team = find(&visit, &team).await?;
    let edit = Edit::read(&mut visit.form().await?, texts(&team))?;
    let saved = async {
        let change = parse_change(&edit)?;
        Ok::<_, ApiError>(visit.management().update_team(&visit.call.caller, &Reference::Id(team.id.0), change, visit.call.origin.clone()).await?)
    };
    match saved.await {
        Ok(team) => Ok(visit.done(&format!("/teams/{}", team.id), "saved").await),
        Err(error) => {
            let mistakes = Mistakes::of(error, "name")?;
            show_form(&visit, Some(&team), &Entered::of(&edit), &mistakes, mistakes.status())
        }
    }
}

#[derive(Template)]
#[template(path = "team.html")]
struct TeamView<'a> {
    frame: &'a Frame,
    team: &'a Team,
    made: Moment,
    members: Vec<MemberRow>,
    pager: Pager,
    given: Option<GivenList>,
    may_manage: bool,
    /// Whether they may add members: who is in it holds what it does.
    may_add: bool,
    may_give: bool,
    kind: &'a str,
    member: &'a str,
    proposals: Vec<String>,
    mistakes: &'a Mistakes,
}

struct MemberRow {
    name: String,
    /// Its page, where the visitor may see it.
    href: Option<String>,
    id: uuid::Uuid,
    bot: bool,
    since: Moment,
}

/// The team, with what was entered to add a member.
async fn show_team(visit: &Visit, team: &Team, query: &ListQuery, entered: (&str, &str), mistakes: &Mistakes) -> Result<HttpResponse, ApiError> {
    let caller = &visit.call.caller;
    let reference = Reference::Id(team.id.0);
    let path = format!("/teams/{}", team.id);
    let asked = Asked::parse(None, query.cursor.as_deref())?;
    let found = visit.management().list_team_members(caller, &reference, asked.page()).await?;
    let row = |it: crate::store::TeamMember| MemberRow {
        href: given::page_for(visit, it.member.holder()),
        id: it.member.id(),
        bot: matches!(it.member, Member::ServiceAccount(_)),
        since: visit.moment(it.created_at),
        name: it.name,
    };
    let page = asked.answer(found, |it| it.member.id(), row);
    let given = if visit.may(&Permission::ROLES_READ) {
        let wanted = AssignmentQuery { holder: Some(HolderReference::Team(reference)), ..AssignmentQuery::default() };
        Some(given::list(visit, &wanted, query.given.as_deref(), &path).await?)
    } else {
        None
    };
    let may_manage = visit.may(&Permission::TEAMS_MANAGE);
    let may_add = may_manage && visit.management().covers(caller, Holder::Team(team.id)).await?;
    let view = TeamView {
        frame: &visit.frame,
        team,
        made: visit.moment(team.created_at),
        members: page.items,
        pager: Pager::new(&path, &[], "cursor", query.cursor.as_deref(), page.next_cursor.as_deref()),
        given,
        may_manage,
        may_add,
        may_give: caller.access.holds_somewhere(&Permission::ROLES_MANAGE),
        kind: entered.0,
        member: entered.1,
        proposals: if may_add { given::proposals(visit, false).await? } else { Vec::new() },
        mistakes,
    };
    let status = if mistakes.any() { mistakes.status() } else { StatusCode::OK };
    visit.show_with(status, &view)
}

pub(super) async fn show(visit: Visit, team: Path<String>) -> Result<HttpResponse, ApiError> {
    let query: ListQuery = visit.query().await?;
    let team = find(&visit, &team).await?;
    show_team(&visit, &team, &query, ("service_account", ""), &Mistakes::default()).await
}

pub(super) async fn add_member(mut visit: Visit, team: Path<String>) -> Result<HttpResponse, ApiError> {
    let team = find(&visit, &team).await?;
    let mut form = visit.form().await?;
    let (kind, member) = (form.take("kind")?.unwrap_or_default(), form.take("member")?.unwrap_or_default());
    let added = async {
        let mut fields = Fields::default();
        let wanted =
            fields.check("member", Some(member.trim()).filter(|name| !name.is_empty()).ok_or_else(|| Invalid("must not be empty".to_owned())));
        let reference = Reference::from(fields.finish_with(wanted)?);
        let holder = if kind == "user" { HolderReference::User(reference) } else { HolderReference::ServiceAccount(reference) };
        let reference = Reference::Id(team.id.0);
        let made = visit.management().add_team_member(&visit.call.caller, &reference, &holder, visit.call.origin.clone()).await;
        visit.commit(made, "added", |(team, _)| to(&format!("/teams/{}", team.id))).await
    };
    match added.await {
        Ok(response) => Ok(response),
        Err(error) => {
            let already = || FieldError::new("member", "is in the team already");
            let error = if error.code() == "name_taken" { ApiError::invalid_fields(vec![already()]) } else { error };
            let mistakes = Mistakes::of(error, "member")?;
            show_team(&visit, &team, &ListQuery { cursor: None, given: None }, (&kind, &member), &mistakes).await
        }
    }
}

/// What members lose, in the words of the page.
fn deletion(team: &Team) -> Question {
    Question {
        title: format!("Delete team {}?", team.name),
        about: vec![
            "Its members lose at once what they hold through the team. What they hold themselves, or through other teams, stays.".to_owned(),
            "The accounts and people stay. What was given to the team is deleted with it.".to_owned(),
        ],
        button: format!("Delete {}", team.name),
        back: format!("/teams/{}", team.id),
        back_label: team.name.to_string(),
        danger: true,
    }
}

/// The same, with how many members there are and what the team holds, as far as the visitor may see it.
async fn counted_deletion(visit: &Visit, team: &Team) -> Result<Question, ApiError> {
    const FIRST: Page = Page { after: uuid::Uuid::nil(), limit: 101 };
    let mut question = deletion(team);
    let members = visit.management().list_team_members(&visit.call.caller, &Reference::Id(team.id.0), FIRST).await?.len();
    let members = match members {
        0 => "It has no members.".to_owned(),
        1 => "It has 1 member.".to_owned(),
        101.. => "It has more than 100 members.".to_owned(),
        _ => format!("It has {members} members."),
    };
    question.about.insert(0, members);
    Ok(question)
}

pub(super) async fn confirm_delete(visit: Visit, team: Path<String>) -> Result<HttpResponse, ApiError> {
    let team = find(&visit, &team).await?;
    counted_deletion(&visit, &team).await?.ask(&visit)
}

pub(super) async fn delete(visit: Visit, team: Path<String>) -> Result<HttpResponse, ApiError> {
    let team = find(&visit, &team).await?;
    match visit.management().delete_team(&visit.call.caller, &Reference::Id(team.id.0), visit.call.origin.clone()).await {
        Ok(()) => Ok(visit.done("/teams", "deleted").await),
        Err(error) => deletion(&team).refuse(&visit, error.into()),
    }
}

/// The member of this id, and the team.
async fn find_member(visit: &Visit, path: &Path<(String, String)>) -> Result<(Team, uuid::Uuid, String), ApiError> {
    let nowhere = || ApiError::new("not_found", "there is no such member of this team");
    let reference = Reference::from(path.0.as_str());
    let team = visit.management().find_team(&visit.call.caller, &reference).await?;
    let id: uuid::Uuid = path.1.parse().map_err(|_| nowhere())?;
    // The list is in the order of ids, so that the member of this id is the next after the id before it.
    let page = Page { after: uuid::Uuid::from_u128(id.as_u128().saturating_sub(1)), limit: 1 };
    let found = visit.management().list_team_members(&visit.call.caller, &reference, page).await?;
    let member = found.into_iter().find(|it| it.member.id() == id).ok_or_else(nowhere)?;
    Ok((team, id, member.name))
}

fn removal(team: &Team, member: &str) -> Question {
    Question {
        title: format!("Remove {member} from team {}?", team.name),
        about: vec![format!("{member} loses at once what comes through the team, and keeps everything else.")],
        button: format!("Remove {member}"),
        back: format!("/teams/{}", team.id),
        back_label: team.name.to_string(),
        danger: true,
    }
}

pub(super) async fn confirm_remove(visit: Visit, path: Path<(String, String)>) -> Result<HttpResponse, ApiError> {
    let (team, _, member) = find_member(&visit, &path).await?;
    removal(&team, &member).ask(&visit)
}

pub(super) async fn remove_member(visit: Visit, path: Path<(String, String)>) -> Result<HttpResponse, ApiError> {
    let (team, id, member) = find_member(&visit, &path).await?;
    match visit.management().remove_team_member(&visit.call.caller, &Reference::Id(team.id.0), id, visit.call.origin.clone()).await {
        Ok(()) => Ok(visit.done(&format!("/teams/{}", team.id), "removed").await),
        Err(error) => removal(&team, &member).refuse(&visit, error.into()),
    }
}
