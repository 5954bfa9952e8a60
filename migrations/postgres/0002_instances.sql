-- +goose Up
CREATE TABLE instances (
    account_id      uuid           NOT NULL REFERENCES accounts (id),
    id              uuid           NOT NULL,
    partner_id      uuid,
    created_at      timestamptz(3) NOT NULL,
    updated_at      timestamptz(3) NOT NULL,
    connected_at    timestamptz(3),
    last_seen_at    timestamptz(3),
    version         bigint         NOT NULL,
    webhook_events  integer        NOT NULL,
    auto_read       boolean        NOT NULL,
    auto_typing     boolean        NOT NULL,
    integration     text           NOT NULL CHECK (integration IN ('web', 'cloud')),
    desired         text           NOT NULL CHECK (desired IN ('connected', 'disconnected')),
    status          text           NOT NULL CHECK (status IN ('connected', 'connecting', 'disconnected')),
    name            text           NOT NULL,
    -- The lower-cased name, a line break and the phone: both engines find the same rows by it.
    search_text     text           NOT NULL,
    external_id     text,
    reason          text,
    phone           text,
    profile_name    text,
    profile_pic_url text,
    profile_status  text,
    webhook_url     text,
    token_digest    bytea,
    token_sealed    bytea,
    PRIMARY KEY (account_id, id),
    FOREIGN KEY (account_id, partner_id) REFERENCES accounts (id, parent_id)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.01);
-- Statements are planned once for all accounts. Let the planner believe in accounts of a thousand
-- instances: the plan for those, reading in the order of an index and stopping, is good for every size,
-- while the plan for tiny ones, reading all and sorting, takes seconds for a huge one.
ALTER TABLE instances ALTER COLUMN account_id SET (n_distinct = -0.001);
ALTER TABLE instances ALTER COLUMN partner_id SET (n_distinct = -0.001);
-- What changes often (last_seen_at, updated_at, version) must stay out of every index and INCLUDE:
-- otherwise no update is heap-only any more. status is worth its price: pages filter by it.
CREATE INDEX instances_page ON instances (account_id, created_at, id);
CREATE INDEX instances_page_by_status ON instances (account_id, status, created_at, id);
CREATE INDEX instances_partner_page ON instances (partner_id, created_at, id, account_id) WHERE partner_id IS NOT NULL;
CREATE INDEX instances_partner_page_by_status ON instances (partner_id, status, created_at, id, account_id) WHERE partner_id IS NOT NULL;
CREATE INDEX instances_name ON instances (account_id, name);
CREATE INDEX instances_phone ON instances (account_id, phone) WHERE phone IS NOT NULL;
CREATE UNIQUE INDEX instances_external_id ON instances (account_id, external_id) WHERE external_id IS NOT NULL;
CREATE INDEX instances_partner_external_id ON instances (partner_id, external_id)
    WHERE partner_id IS NOT NULL AND external_id IS NOT NULL;
CREATE UNIQUE INDEX instances_token_digest ON instances (token_digest);

-- How many instances an account has in each status. Changed by the difference in the transaction of
-- the change, after locking an account's rows in the order of status; never by triggers, which deadlock.
CREATE TABLE instance_counts (
    account_id uuid   NOT NULL REFERENCES accounts (id),
    status     text   NOT NULL,
    n          bigint NOT NULL CHECK (n >= 0),
    PRIMARY KEY (account_id, status)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01);

-- The same for all children of a partner, spread over 16 slots by the last four bits of the child's
-- id, so that children that change at the same time seldom wait for each other.
CREATE TABLE partner_counts (
    partner_id uuid     NOT NULL REFERENCES accounts (id),
    slot       smallint NOT NULL CHECK (slot BETWEEN 0 AND 15),
    status     text     NOT NULL,
    n          bigint   NOT NULL CHECK (n >= 0),
    PRIMARY KEY (partner_id, slot, status)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01);

-- +goose Down
DROP TABLE partner_counts;
DROP TABLE instance_counts;
DROP TABLE instances;
