-- Ids are UUIDv7 in 16 bytes; times are microseconds since the Unix epoch; a hash is SHA-256.
-- The same tables, column for column, are in ../postgres; a test compares the two.

CREATE TABLE organizations (
    id                   BLOB    NOT NULL PRIMARY KEY,
    slug                 TEXT    NOT NULL UNIQUE,
    name                 TEXT    NOT NULL,
    api_key_max_days     INTEGER,
    api_key_default_days INTEGER,
    created_at           INTEGER NOT NULL
) STRICT;

CREATE TABLE workspaces (
    id                     BLOB    NOT NULL PRIMARY KEY,
    organization_id        BLOB    NOT NULL REFERENCES organizations (id),
    slug                   TEXT    NOT NULL,
    name                   TEXT    NOT NULL,
    url                    TEXT,
    host                   TEXT,
    audience               TEXT    NOT NULL UNIQUE,
    token_lifetime_seconds INTEGER NOT NULL CHECK (token_lifetime_seconds BETWEEN 60 AND 3600),
    signing_algorithm      TEXT    NOT NULL,
    created_at             INTEGER NOT NULL,
    UNIQUE (organization_id, slug),
    UNIQUE (organization_id, host)
) STRICT;

CREATE TABLE service_accounts (
    id                   BLOB    NOT NULL PRIMARY KEY,
    organization_id      BLOB    NOT NULL REFERENCES organizations (id),
    name                 TEXT    NOT NULL,
    description          TEXT    NOT NULL,
    active               INTEGER NOT NULL CHECK (active IN (0, 1)),
    created_at           INTEGER NOT NULL,
    last_used_at         INTEGER,
    last_used_address    TEXT,
    last_used_user_agent TEXT,
    next_key_expires_at  INTEGER,
    UNIQUE (organization_id, name)
) STRICT;

-- Lists are read in the order of ids, which is the order of creation; what they are filtered by stands in the index, too.
CREATE INDEX service_accounts_list ON service_accounts (organization_id, id, active, last_used_at, next_key_expires_at);

CREATE TABLE api_keys (
    id                 BLOB    NOT NULL PRIMARY KEY,
    service_account_id BLOB    NOT NULL REFERENCES service_accounts (id),
    name               TEXT    NOT NULL,
    active             INTEGER NOT NULL CHECK (active IN (0, 1)),
    compromised_at     INTEGER,
    last_used_at       INTEGER,
    last_used_address  TEXT,
    last_used_user_agent TEXT,
    created_at         INTEGER NOT NULL,
    UNIQUE (service_account_id, name)
) STRICT;

CREATE INDEX api_keys_list ON api_keys (service_account_id, id);

-- What a key consists of: its current value (no retained_until), and the one that it had before the last rotation. Tokens name the grant_id of the value that
-- they were obtained with; a value that gets a new grant_id ends them.
CREATE TABLE api_key_values (
    id                   BLOB    NOT NULL PRIMARY KEY,
    api_key_id           BLOB    NOT NULL REFERENCES api_keys (id),
    hash                 BLOB    NOT NULL UNIQUE,
    hint                 TEXT    NOT NULL,
    grant_id             BLOB    NOT NULL UNIQUE,
    created_at           INTEGER NOT NULL,
    expires_at           INTEGER,
    retained_until       INTEGER,
    last_used_at         INTEGER,
    last_used_address    TEXT,
    last_used_user_agent TEXT
) STRICT;

CREATE INDEX api_key_values_by_api_key ON api_key_values (api_key_id);
-- However many rotations run at once, a key has one current value.
CREATE UNIQUE INDEX api_key_values_current ON api_key_values (api_key_id) WHERE retained_until IS NULL;

-- Hashes of values that are gone. None of them is ever imported, so that what was ended stays ended.
CREATE TABLE retired_key_hashes (
    hash       BLOB    NOT NULL PRIMARY KEY,
    retired_at INTEGER NOT NULL
) STRICT;

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
    id               BLOB    NOT NULL PRIMARY KEY,
    organization_id  BLOB,
    occurred_at      INTEGER NOT NULL,
    actor_kind       TEXT    NOT NULL,
    actor_id         BLOB,
    actor_name       TEXT    NOT NULL,
    api_key_id       BLOB,
    session_id       BLOB,
    action           TEXT    NOT NULL,
    resource         TEXT    NOT NULL,
    target_kind      TEXT    NOT NULL,
    target_id        BLOB,
    target_name      TEXT    NOT NULL,
    outcome          TEXT    NOT NULL,
    reason           TEXT,
    address          TEXT,
    user_agent       TEXT,
    request_id       BLOB,
    token_expires_at INTEGER,
    details          TEXT
) STRICT;

-- An event's id begins with its time, so every index below is also in the order of time. Exchanges are by far the most: the indexes for changes and refusals
-- leave them out, so that a rare event is found without reading past a million of them.
CREATE INDEX audit_events_by_organization ON audit_events (organization_id, id);
CREATE INDEX audit_events_by_actor ON audit_events (actor_id, id);
CREATE INDEX audit_events_by_target ON audit_events (target_id, id);
CREATE INDEX audit_events_changes ON audit_events (organization_id, resource, id) WHERE resource <> 'token';
CREATE INDEX audit_events_by_actor_name ON audit_events (organization_id, actor_name, id);
CREATE INDEX audit_events_by_target_name ON audit_events (organization_id, target_name, id);
CREATE INDEX audit_events_denied ON audit_events (organization_id, id) WHERE outcome = 'denied';

-- SQLite gathers no statistics by itself, and takes the index on organizations for a selective one: it would read all events of an organization for those of one
-- name. So it is told what a large table looks like: rows, then rows with the same first column, with the same first two, and so on.
ANALYZE sqlite_schema;
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('audit_events', 'sqlite_autoindex_audit_events_1', '1000000 1'),
    ('audit_events', 'audit_events_by_organization', '1000000 100000 1'),
    ('audit_events', 'audit_events_by_actor', '1000000 1000 1'),
    ('audit_events', 'audit_events_by_actor_name', '1000000 100000 1000 1'),
    ('audit_events', 'audit_events_by_target', '1000000 1000 1'),
    ('audit_events', 'audit_events_by_target_name', '1000000 100000 1000 1'),
    ('audit_events', 'audit_events_changes', '10000 1000 500 1'),
    ('audit_events', 'audit_events_denied', '10000 1000 1');
