-- Which credentials' tokens count no more (Token Status List), and signing keys that take turns.

-- An index into the status lists for each thing that tokens are obtained with: grant_id is that of a value of an API key, or the id of a sign-in. ends_at: when it
-- stopped counting, or will; ended: somebody ended it, whatever a clock says; outlived: tokens obtained with it may live beyond its end, which a sign-in's
-- don't. When every token that names the index has long expired, another grant may take it.
CREATE TABLE status_entries (
    idx      BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    grant_id UUID   NOT NULL UNIQUE,
    ends_at  BIGINT,
    ended    BOOLEAN NOT NULL DEFAULT FALSE,
    outlived BOOLEAN NOT NULL DEFAULT FALSE
);

CREATE INDEX status_entries_by_end ON status_entries (ends_at);
CREATE INDEX status_entries_ended ON status_entries (ends_at) WHERE ended;
CREATE INDEX status_entries_outlived ON status_entries (ends_at) WHERE outlived;

INSERT INTO status_entries (outlived, grant_id, ends_at)
SELECT TRUE, grant_id, CASE WHEN retained_until IS NULL THEN expires_at WHEN expires_at IS NULL OR retained_until < expires_at THEN retained_until ELSE expires_at END
FROM api_key_values ORDER BY id;
INSERT INTO status_entries (grant_id, ends_at) SELECT id, expires_at FROM sessions ORDER BY id;

-- The keys of an algorithm are counted, so that nodes that make the next one at once agree on one. active_from: from when on it signs, until the next one does.
-- published_until: until then also where no workspace signs with the algorithm any more. retired_at: it is not published any more.
ALTER TABLE signing_keys ADD COLUMN generation BIGINT NOT NULL DEFAULT 1;
ALTER TABLE signing_keys ADD COLUMN active_from BIGINT NOT NULL DEFAULT 0;
ALTER TABLE signing_keys ADD COLUMN published_until BIGINT;
UPDATE signing_keys SET active_from = created_at;
DROP INDEX signing_keys_current;
CREATE UNIQUE INDEX signing_keys_generation ON signing_keys (algorithm, generation);
