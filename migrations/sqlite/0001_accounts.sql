-- +goose Up
CREATE TABLE accounts (
    id            blob      NOT NULL PRIMARY KEY,
    parent_id     blob      REFERENCES accounts (id),
    created_at    timestamp NOT NULL,
    updated_at    timestamp NOT NULL,
    request_limit integer   NOT NULL CHECK (request_limit >= 0),
    partner       boolean   NOT NULL,
    status        text      NOT NULL CHECK (status IN ('active', 'suspended')),
    plan          text      NOT NULL,
    name          text      NOT NULL,
    external_id   text,
    CHECK (parent_id <> id),
    -- What instances point at, so that an instance's partner is its account's parent.
    UNIQUE (id, parent_id)
);
CREATE INDEX accounts_by_creation ON accounts (created_at, id);
CREATE INDEX accounts_of_partner ON accounts (parent_id, created_at, id) WHERE parent_id IS NOT NULL;
CREATE UNIQUE INDEX accounts_external_id ON accounts (parent_id, external_id) WHERE external_id IS NOT NULL;

CREATE TABLE account_origins (
    account_id blob NOT NULL REFERENCES accounts (id),
    origin     text NOT NULL,
    PRIMARY KEY (account_id, origin)
);
CREATE INDEX account_origins_by_origin ON account_origins (origin);

CREATE TABLE api_keys (
    account_id          blob      NOT NULL REFERENCES accounts (id),
    id                  blob      NOT NULL,
    rotation_request    blob,
    created_at          timestamp NOT NULL,
    expires_at          timestamp,
    last_used_at        timestamp,
    revoked_at          timestamp,
    previous_expires_at timestamp,
    scopes              integer   NOT NULL,
    name                text      NOT NULL,
    last_four           text      NOT NULL,
    lookup              text      NOT NULL,
    previous_lookup     text,
    digest              blob      NOT NULL,
    previous_digest     blob,
    -- 16 bytes for each instance the key may see; NULL for all of them.
    instance_ids blob,
    PRIMARY KEY (account_id, id)
);
CREATE UNIQUE INDEX api_keys_lookup ON api_keys (lookup);
CREATE UNIQUE INDEX api_keys_previous_lookup ON api_keys (previous_lookup) WHERE previous_lookup IS NOT NULL;
CREATE INDEX api_keys_by_creation ON api_keys (account_id, created_at, id) WHERE revoked_at IS NULL;

-- One row, incremented by whoever changes a key or an account, in the same transaction.
CREATE TABLE auth_version (
    id      integer NOT NULL PRIMARY KEY CHECK (id = 1),
    version integer NOT NULL
);
INSERT INTO auth_version (id, version) VALUES (1, 0);

CREATE TABLE auth_changes (
    version    integer   NOT NULL PRIMARY KEY,
    account_id blob      NOT NULL,
    changed_at timestamp NOT NULL
);

CREATE TABLE signing_keys (
    id           text      NOT NULL PRIMARY KEY,
    created_at   timestamp NOT NULL,
    activates_at timestamp NOT NULL,
    retires_at   timestamp,
    public       blob      NOT NULL,
    sealed       blob      NOT NULL
);

-- +goose Down
DROP TABLE signing_keys;
DROP TABLE auth_changes;
DROP TABLE auth_version;
DROP TABLE api_keys;
DROP TABLE account_origins;
DROP TABLE accounts;
