-- +goose Up
-- The last position given in each account (instance_id is the account's own id there), and the last sequence
-- in each instance. Whoever adds events holds the account's row until the commit: so events become
-- visible in the order of their positions, and a reader that has seen one has seen all before it.
CREATE TABLE event_heads (
    account_id  uuid   NOT NULL REFERENCES accounts (id),
    instance_id uuid   NOT NULL,
    last        bigint NOT NULL,
    PRIMARY KEY (account_id, instance_id)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01);

-- What happened. Append only; the sweep removes what is older than the retention. The account has a row in
-- event_heads, which refers to it: to look that up again for each event would be in vain.
CREATE TABLE events (
    account_id  uuid           NOT NULL,
    position    bigint         NOT NULL,
    id          uuid           NOT NULL,
    instance_id uuid,
    sequence    bigint         NOT NULL,
    at          timestamptz(3) NOT NULL,
    type        integer        NOT NULL,
    data        bytea          NOT NULL,
    PRIMARY KEY (account_id, position)
);
-- By the id alone: ids grow with time, so that the entries of all accounts go to the end, rather than to a page for each,
-- and those of before a time come first.
CREATE INDEX events_by_id ON events (id);
CREATE INDEX events_of_instance ON events (account_id, instance_id, position) WHERE instance_id IS NOT NULL;
-- As they are read account by account, for which SQLite needs more.
CREATE VIEW ordered_events AS SELECT account_id, position, id, instance_id, sequence, at, type, data FROM events;

CREATE TABLE webhooks (
    account_id                 uuid           NOT NULL REFERENCES accounts (id),
    id                         uuid           NOT NULL,
    instance_id                uuid,
    -- The rotation that made the current secret: repeated, it replaces that secret rather than the one before.
    rotation_request           uuid,
    previous_secret_expires_at timestamptz(3),
    failing_since              timestamptz(3),
    created_at                 timestamptz(3) NOT NULL,
    updated_at                 timestamptz(3) NOT NULL,
    version                    bigint         NOT NULL,
    events                     integer        NOT NULL,
    timeout_ms                 integer        NOT NULL,
    -- How many warnings went out since failing_since.
    warnings                   integer        NOT NULL,
    -- The instance's own webhookUrl.
    of_instance                boolean        NOT NULL,
    status                     text           NOT NULL CHECK (status IN ('active', 'disabled')),
    disabled_reason            text,
    name                       text           NOT NULL,
    url                        text           NOT NULL,
    secret_sealed              bytea          NOT NULL,
    previous_secret_sealed     bytea,
    PRIMARY KEY (account_id, id),
    FOREIGN KEY (account_id, instance_id) REFERENCES instances (account_id, id) ON DELETE CASCADE
) WITH (fillfactor = 80);
CREATE INDEX webhooks_by_creation ON webhooks (account_id, created_at, id);
CREATE INDEX webhooks_of_instance ON webhooks (account_id, instance_id);
CREATE UNIQUE INDEX webhooks_own ON webhooks (account_id, instance_id) WHERE of_instance;
CREATE INDEX webhooks_failing ON webhooks (failing_since) WHERE failing_since IS NOT NULL;

-- The deliveries of a webhook that are due, as workers see them: one worker at a time serves a webhook.
CREATE TABLE webhook_lanes (
    account_id  uuid           NOT NULL,
    webhook_id  uuid           NOT NULL,
    worker_id   uuid,
    -- Grows with every claim: who settles under an older one is late.
    epoch       bigint         NOT NULL,
    -- When there is something to do; NULL for nothing.
    due_at      timestamptz(3),
    lease_until timestamptz(3),
    paused_until timestamptz(3),
    failures    integer        NOT NULL,
    PRIMARY KEY (account_id, webhook_id),
    FOREIGN KEY (account_id, webhook_id) REFERENCES webhooks (account_id, id) ON DELETE CASCADE
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01);
CREATE INDEX webhook_lanes_due ON webhook_lanes (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX webhook_lanes_of_worker ON webhook_lanes (worker_id) WHERE worker_id IS NOT NULL;

-- One event for one webhook. Those of a webhook that is gone go with their events: to remove a million of them
-- at once, with the webhook, would take longer than a statement may. In a webhook's log number is the event's position.
CREATE TABLE deliveries (
    account_id   uuid           NOT NULL,
    webhook_id   uuid           NOT NULL,
    number       bigint         NOT NULL,
    position     bigint         NOT NULL,
    event_id     uuid           NOT NULL,
    created_at   timestamptz(3) NOT NULL,
    -- Of an attempt that was planned, or asked for. One that waits for its first attempt has none: it is due at once.
    next_at      timestamptz(3),
    -- Of the latest attempt; response is the beginning of its answer.
    tried_at     timestamptz(3),
    took_ms      integer        NOT NULL,
    status_code  integer        NOT NULL,
    attempts     integer        NOT NULL,
    step         integer        NOT NULL,
    manual       boolean        NOT NULL,
    state        text           NOT NULL CHECK (state IN ('waiting', 'delivered', 'exhausted')),
    failure      text,
    tried_manual boolean        NOT NULL DEFAULT false,
    response     bytea,
    PRIMARY KEY (account_id, webhook_id, number)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX deliveries_waiting ON deliveries (account_id, webhook_id, next_at, number) WHERE state = 'waiting';
CREATE INDEX deliveries_failed ON deliveries (account_id, webhook_id, number) WHERE failure IS NOT NULL;
-- By the event's id, which grows with time. By account and position it would look like the key to the planner.
CREATE INDEX deliveries_of_event ON deliveries (event_id);

-- The HTTP requests of a delivery before the latest one, which is in the delivery itself: most have only one.
CREATE TABLE delivery_attempts (
    account_id  uuid           NOT NULL,
    webhook_id  uuid           NOT NULL,
    delivery    bigint         NOT NULL,
    number      integer        NOT NULL,
    at          timestamptz(3) NOT NULL,
    took_ms     integer        NOT NULL,
    status_code integer        NOT NULL,
    manual      boolean        NOT NULL,
    failure     text,
    response    bytea,
    PRIMARY KEY (account_id, webhook_id, delivery, number),
    FOREIGN KEY (account_id, webhook_id, delivery) REFERENCES deliveries (account_id, webhook_id, number) ON DELETE CASCADE
);

CREATE TABLE inbound_webhooks (
    account_id   uuid           NOT NULL,
    id           uuid           NOT NULL,
    instance_id  uuid           NOT NULL,
    created_at   timestamptz(3) NOT NULL,
    name         text           NOT NULL,
    last_four    text           NOT NULL,
    token_digest bytea          NOT NULL,
    PRIMARY KEY (account_id, id),
    FOREIGN KEY (account_id, instance_id) REFERENCES instances (account_id, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX inbound_webhooks_token ON inbound_webhooks (token_digest);
CREATE INDEX inbound_webhooks_by_creation ON inbound_webhooks (account_id, created_at, id);
CREATE INDEX inbound_webhooks_of_instance ON inbound_webhooks (account_id, instance_id);

-- As with instances: let the planner believe in accounts of a thousand rows, so that it takes rows by their whole
-- keys, which is good for every size.
ALTER TABLE event_heads ALTER COLUMN account_id SET (n_distinct = -0.001);
ALTER TABLE events ALTER COLUMN account_id SET (n_distinct = -0.001);
ALTER TABLE webhooks ALTER COLUMN account_id SET (n_distinct = -0.001);
ALTER TABLE webhook_lanes ALTER COLUMN account_id SET (n_distinct = -0.001);
ALTER TABLE deliveries ALTER COLUMN account_id SET (n_distinct = -0.001);

-- +goose Down
DROP TABLE inbound_webhooks;
DROP TABLE delivery_attempts;
DROP TABLE deliveries;
DROP TABLE webhook_lanes;
DROP TABLE webhooks;
DROP VIEW ordered_events;
DROP TABLE events;
DROP TABLE event_heads;
