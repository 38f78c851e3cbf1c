-- Sign-ins in a browser, of people and of service accounts.

-- Exactly one of user_id and grant_id is set. grant_id: of a service account's sign-in, the grant of the value of its key; with it, the sign-in is over. What stands in
-- a cookie is found by cookie_hash; a sign-in without a cookie yields one token and is never renewed. renewable_until: use renews it until then, and not beyond.
ALTER TABLE sessions ALTER COLUMN user_id DROP NOT NULL;
ALTER TABLE sessions ADD COLUMN grant_id UUID;
ALTER TABLE sessions ADD COLUMN cookie_hash BYTEA UNIQUE;
ALTER TABLE sessions ADD COLUMN renewable_until BIGINT;
ALTER TABLE sessions ADD COLUMN address TEXT;
ALTER TABLE sessions ADD COLUMN user_agent TEXT;
ALTER TABLE sessions ADD CHECK ((user_id IS NULL) <> (grant_id IS NULL));
ALTER TABLE sessions ADD CHECK ((cookie_hash IS NULL) = (renewable_until IS NULL));

CREATE INDEX sessions_by_grant ON sessions (grant_id);
