-- How many exchanges a minute an account may make on each node. NULL: as the setting api_keys.exchanges_per_minute has it.
ALTER TABLE service_accounts ADD COLUMN exchanges_per_minute BIGINT;
