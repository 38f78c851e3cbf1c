-- introduces: the algorithm was not published when the key was made, so that nothing is signed with it until active_from.
-- low_s: every ES256 signature of the key has the lower of the two values of s. Keys of before made both.
ALTER TABLE signing_keys ADD COLUMN introduces BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE signing_keys ADD COLUMN low_s BOOLEAN NOT NULL DEFAULT FALSE;

-- What tokens are signed with until validators know the first key of signing_algorithm; null where that was so from the beginning.
ALTER TABLE workspaces ADD COLUMN previous_signing_algorithm TEXT;
