-- An exchange is by far the commonest event, and writes no index by name: exchanges are found by name through those who have the name, or had it.

-- The names that are their owner's no more, of service accounts, people (their addresses) and workspaces (their slugs): from when, and until when.
CREATE TABLE former_names (
    organization_id UUID   NOT NULL,
    name            TEXT   NOT NULL,
    owner_id        UUID   NOT NULL,
    since           BIGINT NOT NULL,
    until           BIGINT NOT NULL,
    PRIMARY KEY (organization_id, name, until, owner_id)
);
CREATE INDEX former_names_by_owner ON former_names (owner_id, until);
CREATE INDEX former_names_by_end ON former_names (until);

INSERT INTO former_names (organization_id, name, owner_id, since, until)
SELECT e.organization_id, e.actor_name, e.actor_id, min(e.occurred_at), max(e.occurred_at) FROM audit_events e
WHERE e.token_expires_at IS NOT NULL AND e.organization_id IS NOT NULL AND e.actor_id IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM service_accounts a WHERE a.id = e.actor_id AND a.name = e.actor_name)
    AND NOT EXISTS (SELECT 1 FROM users u WHERE u.id = e.actor_id AND u.email = e.actor_name)
GROUP BY e.organization_id, e.actor_name, e.actor_id;

INSERT INTO former_names (organization_id, name, owner_id, since, until)
SELECT e.organization_id, e.target_name, e.target_id, min(e.occurred_at), max(e.occurred_at) FROM audit_events e
WHERE e.token_expires_at IS NOT NULL AND e.organization_id IS NOT NULL AND e.target_id IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM workspaces w WHERE w.id = e.target_id AND w.slug = e.target_name)
GROUP BY e.organization_id, e.target_name, e.target_id;

-- Only an exchange that yielded a token has token_expires_at. Without a target_id, the token is for Hourpass itself.
DROP INDEX audit_events_by_actor_name;
DROP INDEX audit_events_by_target_name;
DROP INDEX audit_events_by_target;
CREATE INDEX audit_events_by_actor_name ON audit_events (organization_id, actor_name, id) WHERE token_expires_at IS NULL;
CREATE INDEX audit_events_by_target_name ON audit_events (organization_id, target_name, id) WHERE token_expires_at IS NULL;
CREATE INDEX audit_events_by_target ON audit_events (target_id, id) WHERE target_id IS NOT NULL;
CREATE INDEX audit_events_for_hourpass ON audit_events (organization_id, id) WHERE target_id IS NULL AND token_expires_at IS NOT NULL;
