-- +goose Up
CREATE TABLE instances (
    account_id     blob      NOT NULL REFERENCES accounts (id),
    id             blob      NOT NULL,
    partner_id     blob,
    created_at     timestamp NOT NULL,
    updated_at     timestamp NOT NULL,
    connected_at   timestamp,
    last_seen_at   timestamp,
    version        integer   NOT NULL,
    webhook_events integer   NOT NULL,
    auto_read      boolean   NOT NULL,
    auto_typing    boolean   NOT NULL,
    integration    text      NOT NULL CHECK (integration IN ('web', 'cloud')),
    desired        text      NOT NULL CHECK (desired IN ('connected', 'disconnected')),
    status         text      NOT NULL CHECK (status IN ('connected', 'connecting', 'disconnected')),
    name           text      NOT NULL,
    -- The lower-cased name, a line break and the phone: both engines find the same rows by it.
    search_text     text NOT NULL,
    external_id     text,
    reason          text,
    phone           text,
    profile_name    text,
    profile_pic_url text,
    profile_status  text,
    webhook_url     text,
    token_digest    blob,
    token_sealed    blob,
    PRIMARY KEY (account_id, id),
    FOREIGN KEY (account_id, partner_id) REFERENCES accounts (id, parent_id)
);
-- What changes often (last_seen_at, updated_at, version) must stay out of every index: each would be
-- rewritten with every heartbeat. status is worth its price: pages filter by it.
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
-- the change.
CREATE TABLE instance_counts (
    account_id blob    NOT NULL REFERENCES accounts (id),
    status     text    NOT NULL,
    n          integer NOT NULL CHECK (n >= 0),
    PRIMARY KEY (account_id, status)
);

-- The same for all children of a partner, in 16 slots by the last four bits of the child's id, which
-- matter on PostgreSQL only.
CREATE TABLE partner_counts (
    partner_id blob    NOT NULL REFERENCES accounts (id),
    slot       integer NOT NULL CHECK (slot BETWEEN 0 AND 15),
    status     text    NOT NULL,
    n          integer NOT NULL CHECK (n >= 0),
    PRIMARY KEY (partner_id, slot, status)
);

-- +goose Down
DROP TABLE partner_counts;
DROP TABLE instance_counts;
DROP TABLE instances;
