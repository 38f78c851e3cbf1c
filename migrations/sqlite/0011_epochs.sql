-- The life of the database between restores. A restored database may lack deactivations, and does not know which places in the status lists were given out after its
-- back-up. So a restore begins a new epoch: with status lists of its own, which no token from before names.

-- database_id: made once, and the same in every copy, so that a mark beside the database can be matched with it. first_list, last_list: the numbers of the status lists of the
-- epoch. The present epoch has no ended_at.
CREATE TABLE epochs (
    number      INTEGER NOT NULL,
    database_id BLOB    NOT NULL,
    first_list  INTEGER NOT NULL,
    last_list   INTEGER,
    began_at    INTEGER NOT NULL,
    ended_at    INTEGER,
    PRIMARY KEY (number)
) STRICT, WITHOUT ROWID;

INSERT INTO epochs (number, database_id, first_list, began_at) VALUES (0, randomblob(16), 0, 0);
