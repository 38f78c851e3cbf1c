-- Who may do what: projects, the catalogue of permissions, roles, teams and what is given to whom; labels and claims; invitations.
-- Ids, times and hashes are as in 0001.

ALTER TABLE workspaces ADD COLUMN labels TEXT NOT NULL DEFAULT '{}';
ALTER TABLE workspaces ADD COLUMN claims TEXT NOT NULL DEFAULT '{}';
ALTER TABLE service_accounts ADD COLUMN labels TEXT NOT NULL DEFAULT '{}';
ALTER TABLE service_accounts ADD COLUMN claims TEXT NOT NULL DEFAULT '{}';
ALTER TABLE users ADD COLUMN name TEXT NOT NULL DEFAULT '';
-- Counts the passwords that a person has had, so that a sign-in that began with an earlier one is refused.
ALTER TABLE users ADD COLUMN password_version INTEGER NOT NULL DEFAULT 1;

-- The labels of accounts and workspaces once more, a row each, to find them by.
CREATE TABLE labels (
    owner_id        BLOB NOT NULL,
    organization_id BLOB NOT NULL REFERENCES organizations (id),
    name            TEXT NOT NULL,
    value           TEXT NOT NULL,
    PRIMARY KEY (owner_id, name)
) STRICT;

CREATE INDEX labels_by_value ON labels (organization_id, name, value, owner_id);

CREATE TABLE projects (
    id              BLOB NOT NULL PRIMARY KEY,
    organization_id BLOB NOT NULL REFERENCES organizations (id),
    workspace_id    BLOB NOT NULL REFERENCES workspaces (id),
    slug            TEXT NOT NULL,
    name            TEXT NOT NULL,
    description     TEXT NOT NULL,
    created_at      INTEGER NOT NULL,
    UNIQUE (workspace_id, slug)
) STRICT;

-- The catalogue: what can be done at an organization's workspaces. Hourpass's own permissions are in the program.
CREATE TABLE permissions (
    id              BLOB NOT NULL PRIMARY KEY,
    organization_id BLOB NOT NULL REFERENCES organizations (id),
    name            TEXT NOT NULL,
    description     TEXT NOT NULL,
    created_at      INTEGER NOT NULL,
    UNIQUE (organization_id, name)
) STRICT;

WITH c (number, name, description) AS (VALUES
    ('01', 'pipelines.read', 'See pipelines and their runs.'),
    ('02', 'pipelines.deploy', 'Deploy pipelines.'),
    ('03', 'nodes.read', 'See nodes.'),
    ('04', 'nodes.manage', 'Add, change and remove nodes.'),
    ('05', 'secrets.read', 'Read secrets.'),
    ('06', 'secrets.manage', 'Add, change and remove secrets.'),
    ('07', 'alerts.read', 'See alerts.'),
    ('08', 'alerts.manage', 'Add, change and remove alerts.'),
    ('09', 'audit.read', 'Read the workspace''s own audit trail.')
)
INSERT INTO permissions (id, organization_id, name, description, created_at)
SELECT unhex(substr(hex(o.id), 1, 30) || c.number), o.id, c.name, c.description, o.created_at FROM organizations o CROSS JOIN c;

-- Roles that organizations made. The built-in ones are in the program. permissions: with spaces between them, as in a scope (RFC 6749, section 3.3).
CREATE TABLE roles (
    id              BLOB NOT NULL PRIMARY KEY,
    organization_id BLOB NOT NULL REFERENCES organizations (id),
    name            TEXT NOT NULL,
    description     TEXT NOT NULL,
    level           TEXT NOT NULL,
    permissions     TEXT NOT NULL,
    created_at      INTEGER NOT NULL,
    UNIQUE (organization_id, name)
) STRICT;

CREATE TABLE teams (
    id              BLOB NOT NULL PRIMARY KEY,
    organization_id BLOB NOT NULL REFERENCES organizations (id),
    name            TEXT NOT NULL,
    description     TEXT NOT NULL,
    created_at      INTEGER NOT NULL,
    UNIQUE (organization_id, name)
) STRICT;

-- member_id is whichever of service_account_id and user_id is set.
CREATE TABLE team_members (
    team_id            BLOB NOT NULL REFERENCES teams (id),
    member_id          BLOB NOT NULL,
    service_account_id BLOB REFERENCES service_accounts (id),
    user_id            BLOB REFERENCES users (id),
    created_at         INTEGER NOT NULL,
    PRIMARY KEY (team_id, member_id),
    CHECK ((service_account_id IS NULL) <> (user_id IS NULL))
) STRICT;

CREATE INDEX team_members_by_member ON team_members (member_id, team_id);

-- What was given to whom. Exactly one of service_account_id, user_id and team_id is set, and one of role_id and permissions (as in roles). role_id may be that of a
-- built-in role. Level platform: on this Hourpass. No workspace_id: in the whole organization. No project_id: in the whole workspace.
CREATE TABLE given (
    id                 BLOB NOT NULL PRIMARY KEY,
    organization_id    BLOB NOT NULL REFERENCES organizations (id),
    service_account_id BLOB REFERENCES service_accounts (id),
    user_id            BLOB REFERENCES users (id),
    team_id            BLOB REFERENCES teams (id),
    role_id            BLOB,
    permissions        TEXT,
    level              TEXT NOT NULL,
    workspace_id       BLOB REFERENCES workspaces (id),
    project_id         BLOB REFERENCES projects (id),
    created_at         INTEGER NOT NULL,
    CHECK ((service_account_id IS NOT NULL AND user_id IS NULL AND team_id IS NULL) OR (service_account_id IS NULL AND user_id IS NOT NULL AND team_id IS NULL)
        OR (service_account_id IS NULL AND user_id IS NULL AND team_id IS NOT NULL)),
    CHECK ((role_id IS NULL) <> (permissions IS NULL)),
    CHECK ((workspace_id IS NOT NULL) = (level IN ('workspace', 'project'))),
    CHECK ((project_id IS NOT NULL) = (level = 'project'))
) STRICT;

INSERT INTO given (id, organization_id, service_account_id, user_id, role_id, level, workspace_id, created_at)
SELECT id, organization_id, service_account_id, user_id,
       CASE role WHEN 'Organization Admin' THEN x'00000000000070008000000000000002'
            WHEN 'Organization Member' THEN x'00000000000070008000000000000003'
            WHEN 'Organization Auditor' THEN x'00000000000070008000000000000004'
            WHEN 'Workspace Admin' THEN x'00000000000070008000000000000005'
            WHEN 'Workspace Developer' THEN x'00000000000070008000000000000006'
            WHEN 'Workspace Viewer' THEN x'00000000000070008000000000000007' END,
       CASE WHEN workspace_id IS NULL THEN 'organization' ELSE 'workspace' END, workspace_id, created_at
FROM role_assignments;

DROP TABLE role_assignments;
ALTER TABLE given RENAME TO role_assignments;

CREATE INDEX role_assignments_list ON role_assignments (organization_id, id);
CREATE INDEX role_assignments_by_service_account ON role_assignments (service_account_id);
CREATE INDEX role_assignments_by_user ON role_assignments (user_id);
CREATE INDEX role_assignments_by_team ON role_assignments (team_id);
CREATE INDEX role_assignments_by_role ON role_assignments (role_id);
CREATE INDEX role_assignments_by_workspace ON role_assignments (workspace_id, project_id);

-- A link with which a person sets a password, once: they were invited, or have forgotten it. A person without a password has an empty password_hash.
-- It counts as long as whoever made it may do all that the person may; without maker_id it was made for the first administrator of an organization.
CREATE TABLE invitations (
    user_id    BLOB NOT NULL PRIMARY KEY REFERENCES users (id),
    hash       BLOB NOT NULL UNIQUE,
    maker_kind TEXT,
    maker_id   BLOB,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

CREATE INDEX users_list ON users (organization_id, id);
