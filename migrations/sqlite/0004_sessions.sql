-- +goose Up
-- One row for each serving process that is alive: on SQLite there is one, and what a killed one has left.
CREATE TABLE nodes (
    id         blob      NOT NULL PRIMARY KEY,
    started_at timestamp NOT NULL,
    expires_at timestamp NOT NULL,
    capacity   integer   NOT NULL,
    held       integer   NOT NULL,
    name       text      NOT NULL
);

-- The connection of an instance that somebody has asked to connect: the wish, who holds it, and what is
-- known of it beyond the instance's own columns.
CREATE TABLE instance_links (
    account_id      blob      NOT NULL,
    instance_id     blob      NOT NULL,
    node_id         blob      REFERENCES nodes (id) ON DELETE SET NULL,
    -- Grows with every claim: who writes under an older one is late.
    epoch           integer   NOT NULL,
    -- Grows with every change of the wish, and the latest wish that has been acted upon.
    wish            integer   NOT NULL,
    acted           integer   NOT NULL,
    restarts        integer   NOT NULL,
    asked_at        timestamp NOT NULL,
    wanted_since    timestamp NOT NULL,
    retry_at        timestamp,
    code_expires_at timestamp,
    latency_ms      integer   NOT NULL,
    -- Whether some node should hold it.
    wanted          boolean   NOT NULL,
    remove          boolean   NOT NULL,
    desired         text      NOT NULL CHECK (desired IN ('connected', 'disconnected')),
    method          text      NOT NULL CHECK (method IN ('qrcode', 'pairing_code')),
    pair_phone      text,
    code            text,
    device_jid      text,
    proxy_sealed    blob,
    PRIMARY KEY (account_id, instance_id),
    FOREIGN KEY (account_id, instance_id) REFERENCES instances (account_id, id) ON DELETE CASCADE
);
CREATE INDEX instance_links_of_node ON instance_links (node_id) WHERE node_id IS NOT NULL;
CREATE INDEX instance_links_free ON instance_links (wanted_since) WHERE wanted AND node_id IS NULL;
CREATE INDEX instance_links_wanted ON instance_links (wanted) WHERE wanted;

-- +goose Down
DROP TABLE instance_links;
DROP TABLE nodes;
