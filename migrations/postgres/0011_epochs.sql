-- The life of the database between restores. A restored database may lack deactivations, and does not know which places in the status lists were given out after its
-- back-up. So a restore begins a new epoch: with status lists of its own, which no token from before names.

-- database_id: made once, and the same in every copy, so that a mark beside the database can be matched with it. first_list, last_list: the numbers of the status lists of the
-- epoch. The present epoch has no ended_at.
CREATE TABLE epochs (
    number      BIGINT NOT NULL PRIMARY KEY,
    database_id UUID   NOT NULL,
    first_list  BIGINT NOT NULL,
    last_list   BIGINT,
    began_at    BIGINT NOT NULL,
    ended_at    BIGINT
);

INSERT INTO epochs (number, database_id, first_list, began_at) VALUES (0, gen_random_uuid(), 0, 0);
