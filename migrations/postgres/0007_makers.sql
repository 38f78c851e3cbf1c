-- Who made a credential that others may know because of it: the value of an API key, or a password that somebody else set.

-- made_id: the value of the key (key_id), or the user whose password it is (without key_id). owner_id: the account or user that the credential is of. made_with: what
-- the maker used: the value of a service account's key (of made_with_key), or the user. A row outlives the value: what was made with that may live on.
-- Credentials from before this table, and those of `hourpass admin`, have no row.
CREATE TABLE makers (
    made_id       UUID NOT NULL PRIMARY KEY,
    key_id        UUID,
    owner_id      UUID NOT NULL,
    maker_kind    TEXT NOT NULL,
    maker_id      UUID NOT NULL,
    made_with     UUID NOT NULL,
    made_with_key UUID
);

CREATE INDEX makers_by_maker ON makers (maker_id);
CREATE INDEX makers_by_made_with ON makers (made_with);
CREATE INDEX makers_by_made_with_key ON makers (made_with_key);

-- What an invitation was made with, as in makers, and in which sign-in.
ALTER TABLE invitations ADD COLUMN made_with UUID;
ALTER TABLE invitations ADD COLUMN made_with_key UUID;
ALTER TABLE invitations ADD COLUMN session_id UUID;

CREATE INDEX invitations_by_maker ON invitations (maker_id);
CREATE INDEX invitations_by_made_with ON invitations (made_with);
CREATE INDEX invitations_by_made_with_key ON invitations (made_with_key);
CREATE INDEX invitations_by_session ON invitations (session_id);
