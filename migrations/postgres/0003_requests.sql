-- +goose Up
CREATE TABLE idempotency_keys (
    account_id   uuid           NOT NULL REFERENCES accounts (id),
    key          text           NOT NULL,
    resource_id  uuid           NOT NULL,
    locked_until timestamptz(3) NOT NULL,
    expires_at   timestamptz(3) NOT NULL,
    -- The HTTP status of the finished answer; 0 while the work is going on.
    status       integer        NOT NULL,
    fingerprint  bytea          NOT NULL,
    header       text,
    sealed       bytea,
    PRIMARY KEY (account_id, key)
);
CREATE INDEX idempotency_keys_by_expiry ON idempotency_keys (expires_at);

-- Lost in a crash of the server, which costs nothing but a fresh minute for everybody.
CREATE UNLOGGED TABLE rate_windows (
    bucket       text           NOT NULL PRIMARY KEY,
    window_start timestamptz(3) NOT NULL,
    used         integer        NOT NULL,
    -- What the latest lease got and of how many: how a lease learns what it got.
    granted      integer        NOT NULL,
    capacity     integer        NOT NULL
) WITH (fillfactor = 50);

-- +goose Down
DROP TABLE rate_windows;
DROP TABLE idempotency_keys;
