-- +goose Up
CREATE TABLE accounts (
    id            uuid           NOT NULL PRIMARY KEY,
    parent_id     uuid           REFERENCES accounts (id),
    created_at    timestamptz(3) NOT NULL,
    updated_at    timestamptz(3) NOT NULL,
    request_limit integer        NOT NULL CHECK (request_limit >= 0),
    partner       boolean        NOT NULL,
    status        text           NOT NULL CHECK (status IN ('active', 'suspended')),
    plan          text           NOT NULL,
    name          text           NOT NULL,
    external_id   text,
    CHECK (parent_id <> id),
    -- What instances point at, so that an instance's partner is its account's parent.
    UNIQUE (id, parent_id)
);
CREATE INDEX accounts_by_creation ON accounts (created_at, id);
CREATE INDEX accounts_of_partner ON accounts (parent_id, created_at, id) WHERE parent_id IS NOT NULL;
CREATE UNIQUE INDEX accounts_external_id ON accounts (parent_id, external_id) WHERE external_id IS NOT NULL;

CREATE TABLE account_origins (
    account_id uuid NOT NULL REFERENCES accounts (id),
    origin     text NOT NULL,
    PRIMARY KEY (account_id, origin)
);
CREATE INDEX account_origins_by_origin ON account_origins (origin);

CREATE TABLE api_keys (
    account_id          uuid           NOT NULL REFERENCES accounts (id),
    id                  uuid           NOT NULL,
    rotation_request    uuid,
    created_at          timestamptz(3) NOT NULL,
    expires_at          timestamptz(3),
    last_used_at        timestamptz(3),
    revoked_at          timestamptz(3),
    previous_expires_at timestamptz(3),
    scopes              integer        NOT NULL,
    name                text           NOT NULL,
    last_four           text           NOT NULL,
    lookup              text           NOT NULL,
    previous_lookup     text,
    digest              bytea          NOT NULL,
    previous_digest     bytea,
    -- 16 bytes for each instance the key may see; NULL for all of them.
    instance_ids        bytea,
    PRIMARY KEY (account_id, id)
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX api_keys_lookup ON api_keys (lookup);
CREATE UNIQUE INDEX api_keys_previous_lookup ON api_keys (previous_lookup) WHERE previous_lookup IS NOT NULL;
CREATE INDEX api_keys_by_creation ON api_keys (account_id, created_at, id) WHERE revoked_at IS NULL;

-- One row. Whoever changes a key or an account increments it, and holds its lock until the commit:
-- so versions become visible in their order, and a reader that has seen one has seen all before it.
CREATE TABLE auth_version (
    id      integer NOT NULL PRIMARY KEY CHECK (id = 1),
    version bigint  NOT NULL
) WITH (fillfactor = 50);
INSERT INTO auth_version (id, version) VALUES (1, 0);

CREATE TABLE auth_changes (
    version    bigint         NOT NULL PRIMARY KEY,
    account_id uuid           NOT NULL,
    changed_at timestamptz(3) NOT NULL
);

CREATE TABLE signing_keys (
    id           text           NOT NULL PRIMARY KEY,
    created_at   timestamptz(3) NOT NULL,
    activates_at timestamptz(3) NOT NULL,
    retires_at   timestamptz(3),
    public       bytea          NOT NULL,
    sealed       bytea          NOT NULL
);

-- +goose Down
DROP TABLE signing_keys;
DROP TABLE auth_changes;
DROP TABLE auth_version;
DROP TABLE api_keys;
DROP TABLE account_origins;
DROP TABLE accounts;
