-- What nodes hold in memory and have to look at again, and how far each node has come. Times are the database's own, in microseconds since the Unix epoch.

-- subject: the account, person or organization of which something changed. In the order in which the changes were committed.
CREATE TABLE changes (
    position BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subject  UUID NOT NULL,
    at       BIGINT NOT NULL DEFAULT (CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT))
);

CREATE TABLE nodes (
    id           UUID NOT NULL PRIMARY KEY,
    url          TEXT NOT NULL,
    applied      BIGINT NOT NULL,
    heartbeat_at BIGINT NOT NULL DEFAULT (CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT))
);
