-- +goose Up
CREATE TABLE idempotency_keys (
    account_id   blob      NOT NULL REFERENCES accounts (id),
    key          text      NOT NULL,
    resource_id  blob      NOT NULL,
    locked_until timestamp NOT NULL,
    expires_at   timestamp NOT NULL,
    -- The HTTP status of the finished answer; 0 while the work is going on.
    status      integer NOT NULL,
    fingerprint blob    NOT NULL,
    header      text,
    sealed      blob,
    PRIMARY KEY (account_id, key)
);
CREATE INDEX idempotency_keys_by_expiry ON idempotency_keys (expires_at);

-- Empty here: one process serves an SQLite file, and it counts in memory. The table exists so that
-- both engines have the same ones.
CREATE TABLE rate_windows (
    bucket       text      NOT NULL PRIMARY KEY,
    window_start timestamp NOT NULL,
    used         integer   NOT NULL,
    granted      integer   NOT NULL,
    capacity     integer   NOT NULL
);

-- +goose Down
DROP TABLE rate_windows;
DROP TABLE idempotency_keys;
