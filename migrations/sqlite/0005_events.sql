-- +goose Up
-- The last position given in each account (instance_id is the account's own id there), and the last sequence
-- in each instance. Whoever adds events holds the account's row until the commit: so events become
-- visible in the order of their positions, and a reader that has seen one has seen all before it.
CREATE TABLE event_heads (
    account_id  blob   NOT NULL REFERENCES accounts (id),
    instance_id blob   NOT NULL,
    last        integer NOT NULL,
    PRIMARY KEY (account_id, instance_id)
) WITHOUT ROWID;

-- What happened. Append only; the sweep removes what is older than the retention. The account has a row in
-- event_heads, which refers to it: to look that up again for each event would be in vain.
-- number counts the events of all accounts.
CREATE TABLE events (
    number      integer PRIMARY KEY,
    account_id  blob           NOT NULL,
    position    integer         NOT NULL,
    id          blob           NOT NULL,
    instance_id blob,
    sequence    integer         NOT NULL,
    at          timestamp NOT NULL,
    type        integer        NOT NULL,
    data        blob          NOT NULL
);
-- The events of each account in order, also by what they are filtered by, so that those of one instance, or of some types, are
-- found without reading the others. An index would cost a page to write for each account in a transaction. So events are entered
-- 128 at a time; those that are not yet are the last ones by number, few enough to look through, and whoever reads asks
-- ordered_events, which has both. The last event of all is never removed: it is the latest of its account.
CREATE TABLE event_order (
    account_id  blob    NOT NULL,
    position    integer NOT NULL,
    type        integer NOT NULL,
    instance_id blob,
    number      integer NOT NULL,
    PRIMARY KEY (account_id, position)
) WITHOUT ROWID;
-- +goose StatementBegin
CREATE TRIGGER events_enter AFTER INSERT ON events WHEN new.number % 128 = 0
BEGIN
    INSERT INTO event_order (account_id, position, type, instance_id, number)
    SELECT account_id, position, type, instance_id, number FROM events
    WHERE number BETWEEN new.number - 127 AND new.number;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER events_leave AFTER DELETE ON events
BEGIN
    DELETE FROM event_order WHERE account_id = old.account_id AND position = old.position;
END;
-- +goose StatementEnd
CREATE VIEW ordered_events AS
SELECT o.account_id, o.position, e.id, o.instance_id, e.sequence, e.at, o.type, e.data
FROM event_order AS o CROSS JOIN events AS e ON e.number = o.number
UNION ALL
SELECT account_id, position, id, instance_id, sequence, at, type, data
FROM events WHERE number > (SELECT max(number) / 128 * 128 FROM events);
-- By the id alone: ids grow with time, so that the entries of all accounts go to the end, rather than to a page for each,
-- and those of before a time come first.
CREATE INDEX events_by_id ON events (id);

CREATE TABLE webhooks (
    account_id                 blob           NOT NULL REFERENCES accounts (id),
    id                         blob           NOT NULL,
    instance_id                blob,
    -- The rotation that made the current secret: repeated, it replaces that secret rather than the one before.
    rotation_request           blob,
    previous_secret_expires_at timestamp,
    failing_since              timestamp,
    created_at                 timestamp NOT NULL,
    updated_at                 timestamp NOT NULL,
    version                    integer         NOT NULL,
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
    secret_sealed              blob          NOT NULL,
    previous_secret_sealed     blob,
    PRIMARY KEY (account_id, id),
    FOREIGN KEY (account_id, instance_id) REFERENCES instances (account_id, id) ON DELETE CASCADE
);
CREATE INDEX webhooks_by_creation ON webhooks (account_id, created_at, id);
CREATE INDEX webhooks_of_instance ON webhooks (account_id, instance_id, status, events, of_instance, url, id);
CREATE UNIQUE INDEX webhooks_own ON webhooks (account_id, instance_id) WHERE of_instance;
CREATE INDEX webhooks_failing ON webhooks (failing_since) WHERE failing_since IS NOT NULL;

-- The deliveries of a webhook that are due, as workers see them: one worker at a time serves a webhook.
CREATE TABLE webhook_lanes (
    account_id  blob           NOT NULL,
    webhook_id  blob           NOT NULL,
    worker_id   blob,
    -- Grows with every claim: who settles under an older one is late.
    epoch       integer         NOT NULL,
    -- When there is something to do; NULL for nothing.
    due_at      timestamp,
    lease_until timestamp,
    paused_until timestamp,
    failures    integer        NOT NULL,
    PRIMARY KEY (account_id, webhook_id),
    FOREIGN KEY (account_id, webhook_id) REFERENCES webhooks (account_id, id) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX webhook_lanes_due ON webhook_lanes (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX webhook_lanes_of_worker ON webhook_lanes (worker_id) WHERE worker_id IS NOT NULL;

-- One event for one webhook. Those of a webhook that is gone go with their events: to remove a million of them
-- at once, with the webhook, would take longer than a statement may. Their numbers begin at 64 times that of the event, by which
-- they are found. What costs most in a transaction is the pages that it changes. So a delivery that waits is not in the index
-- of the log, where each webhook has a page of its own, but in one which is small as long as receivers keep up. Both have
-- the number at the end, as every index has.
CREATE TABLE deliveries (
    number       integer PRIMARY KEY,
    account_id   blob           NOT NULL,
    webhook_id   blob           NOT NULL,
    position     integer        NOT NULL,
    created_at   timestamp      NOT NULL,
    -- Of an attempt that was planned, or asked for. One that waits for its first attempt has none: it is due at once.
    next_at      timestamp,
    -- Of the latest attempt; response is the beginning of its answer.
    tried_at     timestamp,
    took_ms      integer        NOT NULL,
    status_code  integer        NOT NULL,
    attempts     integer        NOT NULL,
    step         integer        NOT NULL,
    manual       boolean        NOT NULL,
    state        text           NOT NULL, -- waiting, delivered or exhausted: to check it takes as long as a third of the insertion
    failure      text,
    tried_manual boolean        NOT NULL DEFAULT false,
    response     blob
);
CREATE INDEX deliveries_waiting ON deliveries (account_id, webhook_id, next_at) WHERE state = 'waiting';
CREATE INDEX deliveries_log ON deliveries (account_id, webhook_id) WHERE state <> 'waiting';
CREATE INDEX deliveries_failed ON deliveries (account_id, webhook_id) WHERE failure IS NOT NULL;

-- The HTTP requests of a delivery before the latest one, which is in the delivery itself: most have only one.
CREATE TABLE delivery_attempts (
    account_id  blob           NOT NULL,
    webhook_id  blob           NOT NULL,
    delivery    integer        NOT NULL,
    number      integer        NOT NULL,
    at          timestamp      NOT NULL,
    took_ms     integer        NOT NULL,
    status_code integer        NOT NULL,
    manual      boolean        NOT NULL,
    failure     text,
    response    blob,
    PRIMARY KEY (delivery, number),
    FOREIGN KEY (delivery) REFERENCES deliveries (number) ON DELETE CASCADE
);

CREATE TABLE inbound_webhooks (
    account_id   blob           NOT NULL,
    id           blob           NOT NULL,
    instance_id  blob           NOT NULL,
    created_at   timestamp NOT NULL,
    name         text           NOT NULL,
    last_four    text           NOT NULL,
    token_digest blob          NOT NULL,
    PRIMARY KEY (account_id, id),
    FOREIGN KEY (account_id, instance_id) REFERENCES instances (account_id, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX inbound_webhooks_token ON inbound_webhooks (token_digest);
CREATE INDEX inbound_webhooks_by_creation ON inbound_webhooks (account_id, created_at, id);
CREATE INDEX inbound_webhooks_of_instance ON inbound_webhooks (account_id, instance_id);

-- +goose Down
DROP TABLE inbound_webhooks;
DROP TABLE delivery_attempts;
DROP TABLE deliveries;
DROP TABLE webhook_lanes;
DROP TABLE webhooks;
DROP VIEW ordered_events;
DROP TABLE events;
DROP TABLE event_order;
DROP TABLE event_heads;
