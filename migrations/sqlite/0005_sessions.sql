-- Sign-ins in a browser, of people and of service accounts.

-- Exactly one of user_id and grant_id is set. grant_id: of a service account's sign-in, the grant of the value of its key; with it, the sign-in is over. What stands in
-- a cookie is found by cookie_hash; a sign-in without a cookie yields one token and is never renewed. renewable_until: use renews it until then, and not beyond.
CREATE TABLE new_sessions (
    id              BLOB    NOT NULL PRIMARY KEY,
    user_id         BLOB REFERENCES users (id),
    created_at      INTEGER NOT NULL,
    expires_at      INTEGER NOT NULL,
    grant_id        BLOB,
    cookie_hash     BLOB UNIQUE,
    renewable_until INTEGER,
    address         TEXT,
    user_agent      TEXT,
    CHECK ((user_id IS NULL) <> (grant_id IS NULL)),
    CHECK ((cookie_hash IS NULL) = (renewable_until IS NULL))
) STRICT;

INSERT INTO new_sessions (id, user_id, created_at, expires_at) SELECT id, user_id, created_at, expires_at FROM sessions;
DROP TABLE sessions;
ALTER TABLE new_sessions RENAME TO sessions;

CREATE INDEX sessions_by_user ON sessions (user_id);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);
CREATE INDEX sessions_by_grant ON sessions (grant_id);
