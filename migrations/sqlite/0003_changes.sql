-- What nodes hold in memory and have to look at again, and how far each node has come. Times are the database's own, in microseconds since the Unix epoch.

-- subject: the account, person or organization of which something changed. In the order in which the changes were committed.
CREATE TABLE changes (
    position INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    subject  BLOB NOT NULL,
    at       INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000000 AS INTEGER))
) STRICT;

CREATE TABLE nodes (
    id           BLOB NOT NULL PRIMARY KEY,
    url          TEXT NOT NULL,
    applied      INTEGER NOT NULL,
    heartbeat_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000000 AS INTEGER))
) STRICT;
