-- +goose Up
-- One row for each serving process that is alive. Whoever finds it expired removes it, which frees all that
-- it holds; a process that finds its row gone is no longer that node.
CREATE TABLE nodes (
    id         uuid           NOT NULL PRIMARY KEY,
    started_at timestamptz(3) NOT NULL,
    expires_at timestamptz(3) NOT NULL,
    capacity   integer        NOT NULL,
    held       integer        NOT NULL,
    name       text           NOT NULL
) WITH (fillfactor = 50);

-- The connection of an instance that somebody has asked to connect: the wish, who holds it, and what is
-- known of it beyond the instance's own columns.
CREATE TABLE instance_links (
    account_id      uuid           NOT NULL,
    instance_id     uuid           NOT NULL,
    node_id         uuid           REFERENCES nodes (id) ON DELETE SET NULL,
    -- Grows with every claim: who writes under an older one is late.
    epoch           bigint         NOT NULL,
    -- Grows with every change of the wish, and the latest wish that has been acted upon.
    wish            bigint         NOT NULL,
    acted           bigint         NOT NULL,
    restarts        bigint         NOT NULL,
    asked_at        timestamptz(3) NOT NULL,
    wanted_since    timestamptz(3) NOT NULL,
    retry_at        timestamptz(3),
    code_expires_at timestamptz(3),
    latency_ms      integer        NOT NULL,
    -- Whether some node should hold it.
    wanted          boolean        NOT NULL,
    remove          boolean        NOT NULL,
    desired         text           NOT NULL CHECK (desired IN ('connected', 'disconnected')),
    method          text           NOT NULL CHECK (method IN ('qrcode', 'pairing_code')),
    pair_phone      text,
    code            text,
    device_jid      text,
    proxy_sealed    bytea,
    PRIMARY KEY (account_id, instance_id),
    FOREIGN KEY (account_id, instance_id) REFERENCES instances (account_id, id) ON DELETE CASCADE
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.01);
CREATE INDEX instance_links_of_node ON instance_links (node_id) WHERE node_id IS NOT NULL;
CREATE INDEX instance_links_free ON instance_links (wanted_since) WHERE wanted AND node_id IS NULL;
CREATE INDEX instance_links_wanted ON instance_links (wanted) WHERE wanted;

-- +goose Down
DROP TABLE instance_links;
DROP TABLE nodes;
