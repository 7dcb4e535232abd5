-- SPDX-License-Identifier: Apache-2.0
-- Money and what bounds it: prices in the rows, caps, budgets, balances, windows; people, the trail of
-- what they did, and dedicated deployments. Amounts of money are integer nano-units of the currency.

-- The price that applied, of a million tokens or characters, an hour, an image; null: it has none.
-- cost = round half up of their sum, once; unbilled: the part of it beyond the reservation.
ALTER TABLE ledger ADD COLUMN price_input INTEGER;
ALTER TABLE ledger ADD COLUMN price_cached_input INTEGER;
ALTER TABLE ledger ADD COLUMN price_cache_write INTEGER;
ALTER TABLE ledger ADD COLUMN price_output INTEGER;
ALTER TABLE ledger ADD COLUMN price_reasoning INTEGER;
ALTER TABLE ledger ADD COLUMN price_audio_hour INTEGER;
ALTER TABLE ledger ADD COLUMN price_characters INTEGER;
ALTER TABLE ledger ADD COLUMN price_image INTEGER;
ALTER TABLE ledger ADD COLUMN cost INTEGER NOT NULL DEFAULT 0 CHECK (cost >= 0);
ALTER TABLE ledger ADD COLUMN unbilled INTEGER NOT NULL DEFAULT 0 CHECK (unbilled BETWEEN 0 AND cost);
-- known from the gateway's spool and progress alone, after it died; a final record replaces it
ALTER TABLE ledger ADD COLUMN provisional INTEGER NOT NULL DEFAULT 0 CHECK (provisional IN (0, 1));
-- numbers of the other windows of its admission; 0: it drew on none
ALTER TABLE ledger ADD COLUMN window_budget INTEGER NOT NULL DEFAULT 0; -- the plan's token window
ALTER TABLE ledger ADD COLUMN window_month INTEGER NOT NULL DEFAULT 0;
ALTER TABLE ledger ADD COLUMN window_key INTEGER NOT NULL DEFAULT 0; -- the key's own minute
ALTER TABLE usage_days ADD COLUMN cost INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage_days ADD COLUMN unbilled INTEGER NOT NULL DEFAULT 0;

-- Null: no such limit. The monthly ones begin anew on the first of the month, UTC.
ALTER TABLE workspaces ADD COLUMN cap_tokens INTEGER CHECK (cap_tokens >= 0);
ALTER TABLE workspaces ADD COLUMN cap_images INTEGER CHECK (cap_images >= 0);
ALTER TABLE workspaces ADD COLUMN cap_audio_ms INTEGER CHECK (cap_audio_ms >= 0);
ALTER TABLE workspaces ADD COLUMN budget INTEGER CHECK (budget >= 0); -- money a month
ALTER TABLE workspaces ADD COLUMN balance INTEGER; -- prepaid money that is left; null: it is not prepaid
ALTER TABLE workspaces ADD COLUMN extra_tokens INTEGER NOT NULL DEFAULT 0; -- topped up, left after the token window
ALTER TABLE keys ADD COLUMN rpm INTEGER CHECK (rpm > 0);
ALTER TABLE keys ADD COLUMN tpm INTEGER CHECK (tpm > 0);
ALTER TABLE keys ADD COLUMN concurrency INTEGER CHECK (concurrency > 0);
ALTER TABLE keys ADD COLUMN budget INTEGER CHECK (budget >= 0); -- money a month
ALTER TABLE keys ADD COLUMN scopes INTEGER NOT NULL DEFAULT 1 CHECK (scopes > 0); -- bits: inference, usage:read, admin
CREATE TABLE key_endpoints (
	key BLOB NOT NULL REFERENCES keys (id),
	endpoint TEXT NOT NULL,
	PRIMARY KEY (key, endpoint)
) STRICT, WITHOUT ROWID;
CREATE TABLE key_networks (
	key BLOB NOT NULL REFERENCES keys (id),
	network TEXT NOT NULL, -- address/bits
	PRIMARY KEY (key, network)
) STRICT, WITHOUT ROWID;

-- Token windows of plans, and what was used of each. What goes beyond size came from extra_tokens.
CREATE TABLE windows (
	workspace BLOB NOT NULL,
	number INTEGER NOT NULL, -- its start, ms since 1970
	ends_ms INTEGER NOT NULL,
	size INTEGER NOT NULL,
	tokens INTEGER NOT NULL DEFAULT 0,
	PRIMARY KEY (workspace, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE topups (
	id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
	workspace BLOB NOT NULL REFERENCES workspaces (id),
	tokens INTEGER NOT NULL DEFAULT 0,
	money INTEGER NOT NULL DEFAULT 0,
	created_ms INTEGER NOT NULL,
	actor TEXT NOT NULL,
	note TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX topups_workspace ON topups (workspace, created_ms);

CREATE TABLE users (
	id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
	name TEXT NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 254), -- what they sign in with
	full_name TEXT NOT NULL DEFAULT '',
	created_ms INTEGER NOT NULL,
	removed_ms INTEGER
) STRICT;
CREATE TABLE members (
	workspace BLOB NOT NULL REFERENCES workspaces (id),
	user BLOB NOT NULL REFERENCES users (id),
	role TEXT NOT NULL CHECK (role IN ('owner', 'admin', 'member', 'viewer')),
	since_ms INTEGER NOT NULL,
	PRIMARY KEY (workspace, user)
) STRICT, WITHOUT ROWID;
CREATE INDEX members_user ON members (user);

-- Every administrative act; rows are only added.
CREATE TABLE audit (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	at_ms INTEGER NOT NULL,
	actor TEXT NOT NULL,
	action TEXT NOT NULL,
	workspace BLOB,
	subject TEXT NOT NULL DEFAULT '',
	detail TEXT NOT NULL DEFAULT '' -- JSON object, or nothing; never a secret
) STRICT;
CREATE INDEX audit_workspace ON audit (workspace, id);
CREATE TRIGGER audit_update BEFORE UPDATE ON audit BEGIN SELECT raise(ABORT, 'the audit trail is only added to'); END;
CREATE TRIGGER audit_delete BEFORE DELETE ON audit BEGIN SELECT raise(ABORT, 'the audit trail is only added to'); END;

-- Reserved capacity: billed by the GPU-hour while it is live, whatever it serves.
CREATE TABLE deployments (
	id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
	workspace BLOB NOT NULL REFERENCES workspaces (id),
	model TEXT NOT NULL,
	gpus INTEGER NOT NULL CHECK (gpus > 0),
	price_gpu_hour INTEGER NOT NULL CHECK (price_gpu_hour >= 0),
	started_ms INTEGER NOT NULL,
	stopped_ms INTEGER,
	billed_ms INTEGER NOT NULL -- everything before this moment is in the ledger
) STRICT;
CREATE INDEX deployments_workspace ON deployments (workspace, started_ms);
