-- Answers to requests that came with an Idempotency-Key, kept for a repeat of the request.

-- id: a keyed hash of the Idempotency-Key and of whose it is. fingerprint: a keyed hash of the request. sealed: the answer, encrypted under a key that is derived from the master key and
-- from the Idempotency-Key; NULL only inside of the transaction that makes the answer. secret_hash: SHA-256 of the API key or invitation that the answer shows.
CREATE TABLE answers (
    id          BLOB    NOT NULL PRIMARY KEY,
    fingerprint BLOB    NOT NULL,
    sealed      BLOB,
    secret_hash BLOB,
    expires_at  INTEGER NOT NULL
) STRICT;

CREATE INDEX answers_by_end ON answers (expires_at);
