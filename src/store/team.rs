//! Teams and their members.

use sqlx::FromRow;
use uuid::Uuid;

use super::{Db, Engine, Holder};
use crate::domain::entity::Team;
use crate::domain::id::{OrganizationId, ServiceAccountId, TeamId, UserId};
use crate::domain::name::Name;
use crate::domain::time::Timestamp;

statements! {
    INSERT = "INSERT INTO teams (id, organization_id, name, description, created_at) VALUES ($1, $2, $3, $4, $5)";
    UPDATE = "UPDATE teams SET name = $2, description = $3 WHERE id = $1";
    DELETE_MEMBERS = "DELETE FROM team_members WHERE team_id = $1";
    DELETE_ASSIGNMENTS = "DELETE FROM role_assignments WHERE team_id = $1";
    DELETE = "DELETE FROM teams WHERE id = $1";
    FIND_BY_ID = "SELECT id, organization_id, name, description, created_at FROM teams WHERE organization_id = $1 AND id = $2";
    FIND_BY_NAME = "SELECT id, organization_id, name, description, created_at FROM teams WHERE organization_id = $1 AND name = $2";
    LIST = "SELECT id, organization_id, name, description, created_at FROM teams WHERE organization_id = $1 AND id > $2 ORDER BY id LIMIT $3";
    LIST_OF_MEMBER = "SELECT t.id, t.organization_id, t.name, t.description, t.created_at FROM team_members m JOIN teams t ON t.id = m.team_id WHERE t.organization_id = $1 AND m.member_id = $4 AND t.id > $2 \
                      ORDER BY t.id LIMIT $3";
    INSERT_MEMBER = "INSERT INTO team_members (team_id, member_id, service_account_id, user_id, created_at) VALUES ($1, $2, $3, $4, $5)";
    DELETE_MEMBER = "DELETE FROM team_members WHERE team_id = $1 AND member_id = $2";
    LIST_MEMBERS = "SELECT m.member_id, m.service_account_id, COALESCE(a.name, u.email) AS name, m.created_at FROM team_members m \
                    LEFT JOIN service_accounts a ON a.id = m.service_account_id LEFT JOIN users u ON u.id = m.user_id \
                    WHERE m.team_id = $1 AND m.member_id > $2 ORDER BY m.member_id LIMIT $3";
    FIND_MEMBER = "SELECT m.member_id, m.service_account_id, COALESCE(a.name, u.email) AS name, m.created_at FROM team_members m \
                   LEFT JOIN service_accounts a ON a.id = m.service_account_id LEFT JOIN users u ON u.id = m.user_id \
                   WHERE m.team_id = $1 AND m.member_id = $2";
}

/// Who can be a member of a team.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Member {
    /// A machine.
    ServiceAccount(ServiceAccountId),
    /// A person.
    User(UserId),
}

impl Member {
    /// Their id.
    #[must_use]
    pub const fn id(self) -> Uuid {
        match self {
            Self::ServiceAccount(id) => id.0,
            Self::User(id) => id.0,
        }
    }

    /// As in JSON and in the database.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::ServiceAccount(_) => "service_account",
            Self::User(_) => "user",
        }
    }

    /// As someone who can be given something.
    #[must_use]
    pub const fn holder(self) -> Holder {
        match self {
            Self::ServiceAccount(id) => Holder::ServiceAccount(id),
            Self::User(id) => Holder::User(id),
        }
    }

    const fn columns(self) -> (Option<Uuid>, Option<Uuid>) {
        match self {
            Self::ServiceAccount(id) => (Some(id.0), None),
            Self::User(id) => (None, Some(id.0)),
        }
    }
}

/// A member of a team.
#[derive(Clone, Debug)]
pub struct TeamMember {
    /// Who.
    pub member: Member,
    /// The name of the account, or the email address of the person.
    pub name: String,
    /// Since when.
    pub created_at: Timestamp,
}

#[derive(FromRow)]
struct TeamRow {
    id: Uuid,
    organization_id: Uuid,
    name: String,
    description: String,
    created_at: i64,
}

#[derive(FromRow)]
struct MemberRow {
    member_id: Uuid,
    service_account_id: Option<Uuid>,
    name: String,
    created_at: i64,
}

impl From<TeamRow> for Team {
    fn from(row: TeamRow) -> Self {
        Self {
            id: TeamId(row.id),
            organization_id: OrganizationId(row.organization_id),
            name: Name::from_stored(row.name),
            description: row.description,
            created_at: Timestamp::from_micros(row.created_at),
        }
    }
}

impl From<MemberRow> for TeamMember {
    fn from(row: MemberRow) -> Self {
        let member = match row.service_account_id {
            Some(id) => Member::ServiceAccount(ServiceAccountId(id)),
            None => Member::User(UserId(row.member_id)),
        };
        Self { member, name: row.name, created_at: Timestamp::from_micros(row.created_at) }
    }
}

reads! {
    /// Finds a team of an organization by its id.
    fn find_team_by_id(organization: OrganizationId, id: Uuid) -> Option<Team> = |connection| {
        Ok(sqlx::query_as::<_, TeamRow>(FIND_BY_ID).bind(organization.0).bind(id).fetch_optional(connection).await?.map(Team::from))
    };
    /// Finds a team of an organization by its name.
    fn find_team_by_name(organization: OrganizationId, name: &str) -> Option<Team> = |connection| {
        Ok(sqlx::query_as::<_, TeamRow>(FIND_BY_NAME).bind(organization.0).bind(name).fetch_optional(connection).await?.map(Team::from))
    };
    /// Lists the teams of an organization in the order of their ids: at most `limit` of those after `after`, with `member` only those that they are in.
    fn list_teams(organization: OrganizationId, member: Option<Uuid>, after: Uuid, limit: i64) -> Vec<Team> = |connection| {
        let sql = if member.is_some() { LIST_OF_MEMBER } else { LIST };
        let query = sqlx::query_as::<_, TeamRow>(sql).bind(organization.0).bind(after).bind(limit);
        let query = match member {
            Some(member) => query.bind(member),
            None => query,
        };
        Ok(query.fetch_all(connection).await?.into_iter().map(Team::from).collect())
    };
    /// Lists the members of a team in the order of their ids: at most `limit` of those after `after`.
    fn list_team_members(team: TeamId, after: Uuid, limit: i64) -> Vec<TeamMember> = |connection| {
        let rows = sqlx::query_as::<_, MemberRow>(LIST_MEMBERS).bind(team.0).bind(after).bind(limit).fetch_all(connection).await?;
        Ok(rows.into_iter().map(TeamMember::from).collect())
    };
    /// Finds a member of a team.
    fn find_team_member(team: TeamId, member: Uuid) -> Option<TeamMember> = |connection| {
        Ok(sqlx::query_as::<_, MemberRow>(FIND_MEMBER).bind(team.0).bind(member).fetch_optional(connection).await?.map(TeamMember::from))
    };
}

writes! {
    /// Makes a team.
    fn insert_team(team: &Team) = INSERT(team.id.0, team.organization_id.0, team.name.as_str(), &team.description, team.created_at.as_micros());
    /// Replaces name and description of a team.
    fn update_team(team: &Team) = UPDATE(team.id.0, team.name.as_str(), &team.description);
    /// Deletes a team with what it was given.
    fn delete_team(organization: OrganizationId, id: TeamId) [changes organization.0] = DELETE_MEMBERS(id.0), DELETE_ASSIGNMENTS(id.0), DELETE(id.0);
    /// Makes someone a member of a team.
    fn insert_team_member(team: TeamId, member: Member, now: Timestamp) [changes member.id()] =
        INSERT_MEMBER(team.0, member.id(), member.columns().0, member.columns().1, now.as_micros());
    /// Ends a membership.
    fn delete_team_member(team: TeamId, member: Uuid) [changes member] = DELETE_MEMBER(team.0, member);
}
