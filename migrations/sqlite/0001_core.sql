-- Ids are UUIDv7 in 16 bytes; times are microseconds since the Unix epoch; a hash is SHA-256.
-- The same tables, column for column, are in ../postgres; a test compares the two.

CREATE TABLE organizations (
    id         BLOB    NOT NULL PRIMARY KEY,
    slug       TEXT    NOT NULL UNIQUE,
    name       TEXT    NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE workspaces (
    id                     BLOB    NOT NULL PRIMARY KEY,
    organization_id        BLOB    NOT NULL REFERENCES organizations (id),
    slug                   TEXT    NOT NULL,
    name                   TEXT    NOT NULL,
    url                    TEXT,
    audience               TEXT    NOT NULL UNIQUE,
    token_lifetime_seconds INTEGER NOT NULL CHECK (token_lifetime_seconds BETWEEN 60 AND 3600),
    signing_algorithm      TEXT    NOT NULL,
    created_at             INTEGER NOT NULL,
    UNIQUE (organization_id, slug),
    UNIQUE (organization_id, url)
) STRICT;

CREATE TABLE service_accounts (
    id              BLOB    NOT NULL PRIMARY KEY,
    organization_id BLOB    NOT NULL REFERENCES organizations (id),
    name            TEXT    NOT NULL,
    description     TEXT    NOT NULL,
    active          INTEGER NOT NULL CHECK (active IN (0, 1)),
    created_at      INTEGER NOT NULL,
    UNIQUE (organization_id, name)
) STRICT;

-- Lists are read in the order of ids, which is the order of creation.
CREATE UNIQUE INDEX service_accounts_by_organization ON service_accounts (organization_id, id);

CREATE TABLE api_keys (
    id                 BLOB    NOT NULL PRIMARY KEY,
    service_account_id BLOB    NOT NULL REFERENCES service_accounts (id),
    name               TEXT    NOT NULL,
    hash               BLOB    NOT NULL UNIQUE,
    hint               TEXT    NOT NULL,
    active             INTEGER NOT NULL CHECK (active IN (0, 1)),
    expires_at         INTEGER,
    created_at         INTEGER NOT NULL,
    UNIQUE (service_account_id, name)
) STRICT;

CREATE UNIQUE INDEX api_keys_by_service_account ON api_keys (service_account_id, id);

CREATE TABLE users (
    id              BLOB    NOT NULL PRIMARY KEY,
    organization_id BLOB    NOT NULL REFERENCES organizations (id),
    email           TEXT    NOT NULL UNIQUE,
    password_hash   TEXT    NOT NULL,
    active          INTEGER NOT NULL CHECK (active IN (0, 1)),
    created_at      INTEGER NOT NULL
) STRICT;

CREATE TABLE sessions (
    id         BLOB    NOT NULL PRIMARY KEY,
    user_id    BLOB    NOT NULL REFERENCES users (id),
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

CREATE INDEX sessions_by_user ON sessions (user_id);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

-- Exactly one of service_account_id and user_id is set. No workspace_id: in the whole organization.
CREATE TABLE role_assignments (
    id                 BLOB    NOT NULL PRIMARY KEY,
    organization_id    BLOB    NOT NULL REFERENCES organizations (id),
    service_account_id BLOB             REFERENCES service_accounts (id),
    user_id            BLOB             REFERENCES users (id),
    role               TEXT    NOT NULL,
    workspace_id       BLOB             REFERENCES workspaces (id),
    created_at         INTEGER NOT NULL,
    CHECK ((service_account_id IS NULL) <> (user_id IS NULL))
) STRICT;

CREATE INDEX role_assignments_by_service_account ON role_assignments (service_account_id);
CREATE INDEX role_assignments_by_user ON role_assignments (user_id);

-- private_key is sealed with the master key.
CREATE TABLE signing_keys (
    kid         TEXT    NOT NULL PRIMARY KEY,
    algorithm   TEXT    NOT NULL,
    public_jwk  TEXT    NOT NULL,
    private_key BLOB    NOT NULL,
    created_at  INTEGER NOT NULL,
    retired_at  INTEGER
) STRICT;

-- However many nodes start at once, they agree on one current key for each algorithm.
CREATE UNIQUE INDEX signing_keys_current ON signing_keys (algorithm) WHERE retired_at IS NULL;

-- Without foreign keys: an event outlives what it speaks of.
CREATE TABLE audit_events (
    id              BLOB    NOT NULL PRIMARY KEY,
    organization_id BLOB,
    occurred_at     INTEGER NOT NULL,
    actor_kind      TEXT    NOT NULL,
    actor_id        BLOB,
    actor_name      TEXT    NOT NULL,
    api_key_id      BLOB,
    session_id      BLOB,
    action          TEXT    NOT NULL,
    target_kind     TEXT    NOT NULL,
    target_id       BLOB,
    target_name     TEXT    NOT NULL,
    outcome         TEXT    NOT NULL,
    reason          TEXT,
    address         TEXT,
    user_agent      TEXT,
    request_id      BLOB,
    details         TEXT
) STRICT;

CREATE INDEX audit_events_by_organization ON audit_events (organization_id, id);
