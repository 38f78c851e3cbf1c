//! Teams and their members.

use serde_json::json;
use uuid::Uuid;

use super::assignments::{FoundHolder, HolderReference, find_again};
use super::{Changes, Management, ManagementError, Page, name_taken, no, record_of_own, require, require_cover, taken};
use crate::domain::access::Place;
use crate::domain::audit::{Action, Origin, Target};
use crate::domain::entity::{ServiceAccount, Team};
use crate::domain::id::{OrganizationId, Reference, TeamId};
use crate::domain::name::Name;
use crate::domain::permission::Permission;
use crate::service::Caller;
use crate::service::idempotency::Uncommitted;
use crate::store::{Holder, Member, TeamMember, Tx};

/// How many members of a deleted team are named in the record of it.
const MOST_ON_RECORD: i64 = 100;

/// What a new team is to be.
#[derive(Clone, Debug)]
pub struct NewTeam {
    /// Its name.
    pub name: Name,
    /// What it is for.
    pub description: String,
}

/// What is to change of a team; nothing where it is to stay.
#[derive(Clone, Debug, Default)]
pub struct TeamChange {
    /// Its name.
    pub name: Option<Name>,
    /// What it is for.
    pub description: Option<String>,
}

impl Management {
    /// Makes a team, which has no members and holds nothing yet.
    ///
    /// # Errors
    /// Where the caller may not, or the name is taken.
    pub async fn create_team(&self, caller: &Caller, wanted: NewTeam, origin: Origin) -> Result<Uncommitted<Team>, ManagementError> {
        let (mut tx, caller) = self.begin_access(caller, &Permission::TEAMS_MANAGE, Place::Organization, &[]).await?;
        let claim = self.claim(&mut tx, &caller).await?;
        let now = self.sources.now();
        let NewTeam { name, description } = wanted;
        let team =
            Team { id: TeamId::generate(now, self.sources.random()), organization_id: caller.organization().id, name, description, created_at: now };
        tx.insert_team(&team).await.map_err(|error| name_taken(error, &team.name))?;
        let details = json!({ "name": team.name, "description": team.description });
        self.finish_making(tx, claim, &caller, Action::TeamCreate, Target::from(&team), origin, details, team).await
    }

    /// Lists the teams of the caller's organization, with `member` only those that they are in.
    ///
    /// # Errors
    /// Where the caller may not, or there is no such member.
    pub async fn list_teams(&self, caller: &Caller, member: Option<&HolderReference>, page: Page) -> Result<Vec<Team>, ManagementError> {
        require(caller, &Permission::TEAMS_READ, Place::Organization)?;
        let organization = caller.organization().id;
        let member = match member {
            Some(reference) => Some(self.find_holder(organization, reference).await?),
            None => None,
        };
        let member = member.and_then(|found| as_member(&found)).map(Member::id);
        Ok(self.store.list_teams(organization, member, page.after, page.limit.into()).await?)
    }

    /// Lists the teams that the caller may make an account a member of: those that it is not in, and that may do no more than the caller.
    ///
    /// # Errors
    /// Where the caller may not.
    pub async fn list_teams_to_join(&self, caller: &Caller, account: &ServiceAccount, page: Page) -> Result<Vec<Team>, ManagementError> {
        require(caller, &Permission::TEAMS_MANAGE, Place::Organization)?;
        let organization = caller.organization().id;
        let own = self.store.list_teams(organization, Some(account.id.0), page.after, page.limit.into()).await?;
        let mut teams = self.store.list_teams(organization, None, page.after, page.limit.into()).await?;
        teams.retain(|team| own.iter().all(|own| own.id != team.id));
        let mut open = Vec::with_capacity(teams.len());
        for team in teams {
            if self.covers(caller, Holder::Team(team.id)).await? {
                open.push(team);
            }
        }
        Ok(open)
    }

    /// Finds a team.
    ///
    /// # Errors
    /// Where the caller may not, or there is none.
    pub async fn find_team(&self, caller: &Caller, reference: &Reference) -> Result<Team, ManagementError> {
        require(caller, &Permission::TEAMS_READ, Place::Organization)?;
        self.find_team_of(caller.organization().id, reference).await
    }

    /// Changes a team.
    ///
    /// # Errors
    /// Where the caller may not, there is none, or the name is taken.
    pub async fn update_team(&self, caller: &Caller, reference: &Reference, change: TeamChange, origin: Origin) -> Result<Team, ManagementError> {
        let (mut tx, caller) = self.begin_access(caller, &Permission::TEAMS_MANAGE, Place::Organization, &[]).await?;
        let mut team = find_in(&mut tx, caller.organization().id, reference).await?;
        let before = Target::from(&team);
        let mut changes = Changes::default();
        changes.set("name", &mut team.name, change.name);
        changes.set("description", &mut team.description, change.description);
        if changes.is_empty() {
            return Ok(team);
        }
        tx.update_team(&team).await.map_err(|error| name_taken(error, &team.name))?;
        self.finish(tx, &caller, Action::TeamUpdate, before, origin, changes.into_details()).await?;
        Ok(team)
    }

    /// Deletes a team with what it was given: its members lose that at once.
    ///
    /// # Errors
    /// Where the caller may not, there is none, or nobody would be left to administer the organization.
    pub async fn delete_team(&self, caller: &Caller, reference: &Reference, origin: Origin) -> Result<(), ManagementError> {
        let (mut tx, caller) = self.begin_access(caller, &Permission::TEAMS_MANAGE, Place::Organization, &[]).await?;
        let organization = caller.organization().id;
        let team = find_in(&mut tx, organization, reference).await?;
        let administrators = tx.count_administrators(organization).await?;
        let gave = record_of_own(&mut tx, Holder::Team(team.id)).await?;
        let members: Vec<_> = tx.list_team_members(team.id, Uuid::nil(), MOST_ON_RECORD).await?.into_iter().map(|it| it.name).collect();
        tx.delete_team(organization, team.id).await?;
        self.keep_administrator(&mut tx, organization, administrators).await?;
        self.finish(tx, &caller, Action::TeamDelete, Target::from(&team), origin, json!({ "name": team.name, "gave": gave, "members": members }))
            .await
    }

    /// Makes an account or a person a member of a team, who from now on holds what the team does.
    ///
    /// # Errors
    /// Where the caller may not or holds less than the team, something named does not exist, or they are a member already.
    pub async fn add_team_member(
        &self,
        caller: &Caller,
        team: &Reference,
        member: &HolderReference,
        origin: Origin,
    ) -> Result<Uncommitted<(Team, TeamMember)>, ManagementError> {
        require(caller, &Permission::TEAMS_MANAGE, Place::Organization)?;
        let organization = caller.organization().id;
        let found = self.find_holder(organization, member).await?;
        let Some(id) = as_member(&found) else { return Err(no("member", &Reference::Name(found.target.name))) };
        let (mut tx, caller) = self.begin_access(caller, &Permission::TEAMS_MANAGE, Place::Organization, &[id]).await?;
        let found = find_again(&mut tx, organization, &found, member).await?;
        let team = find_in(&mut tx, organization, team).await?;
        require_cover(&mut tx, &caller, Holder::Team(team.id), &team.name).await?;
        let claim = self.claim(&mut tx, &caller).await?;
        let now = self.sources.now();
        let already = format!("{} is a member of team {} already; the place", found.target.name, team.name);
        tx.insert_team_member(team.id, id, now).await.map_err(|error| taken(error, &already))?;
        let details = json!({ "member_kind": found.target.kind, "member_id": id.id(), "member": found.target.name });
        let member = TeamMember { member: id, name: found.target.name, created_at: now };
        self.finish_making(tx, claim, &caller, Action::TeamAddMember, Target::from(&team), origin, details, (team, member)).await
    }

    /// Lists the members of a team.
    ///
    /// # Errors
    /// Where the caller may not, or there is no such team.
    pub async fn list_team_members(&self, caller: &Caller, team: &Reference, page: Page) -> Result<Vec<TeamMember>, ManagementError> {
        let team = self.find_team(caller, team).await?;
        Ok(self.store.list_team_members(team.id, page.after, page.limit.into()).await?)
    }

    /// Ends a membership: the member loses at once what came through the team.
    ///
    /// # Errors
    /// Where the caller may not, there is none, or nobody would be left to administer the organization.
    pub async fn remove_team_member(&self, caller: &Caller, team: &Reference, member: Uuid, origin: Origin) -> Result<(), ManagementError> {
        let (mut tx, caller) = self.begin_access(caller, &Permission::TEAMS_MANAGE, Place::Organization, &[]).await?;
        let organization = caller.organization().id;
        let team = find_in(&mut tx, organization, team).await?;
        let found = tx.find_team_member(team.id, member).await?.ok_or_else(|| no("member", &Reference::Id(member)))?;
        let administrators = tx.count_administrators(organization).await?;
        tx.delete_team_member(team.id, member).await?;
        self.keep_administrator(&mut tx, organization, administrators).await?;
        let details = json!({ "member_id": member, "member": found.name });
        self.finish(tx, &caller, Action::TeamRemoveMember, Target::from(&team), origin, details).await
    }

    pub(super) async fn find_team_of(&self, organization: OrganizationId, reference: &Reference) -> Result<Team, ManagementError> {
        let found = match reference {
            Reference::Id(id) => self.store.find_team_by_id(organization, *id).await?,
            Reference::Name(name) => self.store.find_team_by_name(organization, name).await?,
        };
        found.ok_or_else(|| no("team", reference))
    }
}

/// As a member; a team is none of another team.
fn as_member(found: &FoundHolder) -> Option<Member> {
    match found.holder {
        Holder::ServiceAccount(id) => Some(Member::ServiceAccount(id)),
        Holder::User(id) => Some(Member::User(id)),
        Holder::Team(_) => None,
    }
}

async fn find_in(tx: &mut Tx, organization: OrganizationId, reference: &Reference) -> Result<Team, ManagementError> {
    let found = match reference {
        Reference::Id(id) => tx.find_team_by_id(organization, *id).await?,
        Reference::Name(name) => tx.find_team_by_name(organization, name).await?,
    };
    found.ok_or_else(|| no("team", reference))
}
