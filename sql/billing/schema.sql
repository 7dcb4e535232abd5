-- SPDX-License-Identifier: Apache-2.0
-- The schema after all migrations, as the database holds it. Kept true by tests/billingd/test_migrate.
CREATE TRIGGER audit_delete BEFORE DELETE ON audit BEGIN SELECT raise(ABORT, 'the audit trail is only added to'); END;
CREATE TRIGGER audit_update BEFORE UPDATE ON audit BEGIN SELECT raise(ABORT, 'the audit trail is only added to'); END;
CREATE TABLE audit (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	at_ms INTEGER NOT NULL,
	actor TEXT NOT NULL,
	action TEXT NOT NULL,
	workspace BLOB,
	subject TEXT NOT NULL DEFAULT '',
	detail TEXT NOT NULL DEFAULT ''
, act BLOB CHECK (act IS NULL OR length(act) = 16)) STRICT;
CREATE UNIQUE INDEX audit_act ON audit (act) WHERE act IS NOT NULL;
CREATE INDEX audit_workspace ON audit (workspace, id);
CREATE TABLE deployments (
	id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
	workspace BLOB NOT NULL REFERENCES workspaces (id),
	model TEXT NOT NULL,
	gpus INTEGER NOT NULL CHECK (gpus > 0),
	price_gpu_hour INTEGER NOT NULL CHECK (price_gpu_hour >= 0),
	started_ms INTEGER NOT NULL,
	stopped_ms INTEGER,
	billed_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX deployments_workspace ON deployments (workspace, started_ms);
CREATE TABLE instances (
	id INTEGER PRIMARY KEY,
	name TEXT NOT NULL,
	boot INTEGER NOT NULL,
	seq INTEGER NOT NULL DEFAULT 0 CHECK (seq >= 0),
	gone_ms INTEGER,
	UNIQUE (name, boot)
) STRICT;
CREATE TABLE key_endpoints (
	key BLOB NOT NULL REFERENCES keys (id),
	endpoint TEXT NOT NULL,
	PRIMARY KEY (key, endpoint)
) STRICT, WITHOUT ROWID;
CREATE TABLE key_models (
	key BLOB NOT NULL REFERENCES keys (id),
	model TEXT NOT NULL,
	PRIMARY KEY (key, model)
) STRICT, WITHOUT ROWID;
CREATE TABLE key_networks (
	key BLOB NOT NULL REFERENCES keys (id),
	network TEXT NOT NULL,
	PRIMARY KEY (key, network)
) STRICT, WITHOUT ROWID;
CREATE TABLE keys (
	id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
	workspace BLOB NOT NULL REFERENCES workspaces (id),
	name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 64),
	form TEXT NOT NULL,
	env TEXT NOT NULL,
	created_ms INTEGER NOT NULL,
	expires_ms INTEGER,
	revoked_ms INTEGER,
	last_used_ms INTEGER
, rpm INTEGER CHECK (rpm > 0), tpm INTEGER CHECK (tpm > 0), concurrency INTEGER CHECK (concurrency > 0), budget INTEGER CHECK (budget >= 0), scopes INTEGER NOT NULL DEFAULT 1 CHECK (scopes > 0)) STRICT;
CREATE TABLE ledger (
	id INTEGER PRIMARY KEY,
	request BLOB NOT NULL CHECK (length(request) = 16),
	attempt INTEGER NOT NULL,
	workspace BLOB NOT NULL,
	key BLOB NOT NULL,
	model TEXT NOT NULL,
	surface TEXT NOT NULL,
	outcome INTEGER NOT NULL,
	charged INTEGER NOT NULL CHECK (charged IN (0, 1)),
	delivered INTEGER NOT NULL CHECK (delivered IN (0, 1)),
	estimated INTEGER NOT NULL CHECK (estimated IN (0, 1)),
	stream INTEGER NOT NULL CHECK (stream IN (0, 1)),
	prompt INTEGER NOT NULL CHECK (prompt >= 0),
	cache_read INTEGER NOT NULL CHECK (cache_read >= 0),
	cache_write INTEGER NOT NULL CHECK (cache_write >= 0),
	completion INTEGER NOT NULL CHECK (completion >= 0),
	reasoning INTEGER NOT NULL CHECK (reasoning >= 0),
	reserved INTEGER NOT NULL,
	window_ms INTEGER NOT NULL,
	began_ms INTEGER NOT NULL,
	ended_ms INTEGER NOT NULL,
	first_us INTEGER,
	status INTEGER NOT NULL,
	finish TEXT,
	code TEXT,
	worker TEXT,
	instance INTEGER NOT NULL REFERENCES instances (id),
	seq INTEGER NOT NULL
, images INTEGER NOT NULL DEFAULT 0 CHECK (images >= 0), audio_ms INTEGER NOT NULL DEFAULT 0 CHECK (audio_ms >= 0), characters INTEGER NOT NULL DEFAULT 0 CHECK (characters >= 0), price_input INTEGER, price_cached_input INTEGER, price_cache_write INTEGER, price_output INTEGER, price_reasoning INTEGER, price_audio_hour INTEGER, price_characters INTEGER, price_image INTEGER, cost INTEGER NOT NULL DEFAULT 0 CHECK (cost >= 0), unbilled INTEGER NOT NULL DEFAULT 0 CHECK (unbilled BETWEEN 0 AND cost), provisional INTEGER NOT NULL DEFAULT 0 CHECK (provisional IN (0, 1)), window_budget INTEGER NOT NULL DEFAULT 0, window_month INTEGER NOT NULL DEFAULT 0, window_key INTEGER NOT NULL DEFAULT 0, gpu_ms INTEGER NOT NULL DEFAULT 0 CHECK (gpu_ms >= 0), price_gpu_hour INTEGER) STRICT;
CREATE UNIQUE INDEX ledger_attempt ON ledger (request, attempt);
CREATE INDEX ledger_began ON ledger (workspace, began_ms);
CREATE UNIQUE INDEX ledger_charged ON ledger (request) WHERE charged = 1;
CREATE TABLE members (
	workspace BLOB NOT NULL REFERENCES workspaces (id),
	user BLOB NOT NULL REFERENCES users (id),
	role TEXT NOT NULL CHECK (role IN ('owner', 'admin', 'member', 'viewer')),
	since_ms INTEGER NOT NULL,
	PRIMARY KEY (workspace, user)
) STRICT, WITHOUT ROWID;
CREATE INDEX members_user ON members (user);
CREATE TABLE meta (
	name TEXT NOT NULL PRIMARY KEY,
	value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE prepaid (
	workspace BLOB NOT NULL PRIMARY KEY REFERENCES workspaces (id),
	billed INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE secrets (
	digest BLOB NOT NULL PRIMARY KEY CHECK (length(digest) = 32),
	key BLOB NOT NULL REFERENCES keys (id),
	generation INTEGER NOT NULL CHECK (generation >= 1),
	prefix TEXT NOT NULL,
	last4 TEXT NOT NULL,
	pepper INTEGER NOT NULL,
	created_ms INTEGER NOT NULL,
	until_ms INTEGER,
	UNIQUE (key, generation)
) STRICT, WITHOUT ROWID;
CREATE TABLE spent (
	instance INTEGER NOT NULL,
	first INTEGER NOT NULL CHECK (first > 0),
	last INTEGER NOT NULL CHECK (last >= first),
	PRIMARY KEY (instance, first)
) STRICT, WITHOUT ROWID;
CREATE TABLE sqlite_sequence(name,seq);
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
CREATE TABLE usage_days (
	workspace BLOB NOT NULL,
	day INTEGER NOT NULL,
	key BLOB NOT NULL,
	model TEXT NOT NULL,
	surface TEXT NOT NULL,
	requests INTEGER NOT NULL,
	prompt INTEGER NOT NULL,
	cache_read INTEGER NOT NULL,
	cache_write INTEGER NOT NULL,
	completion INTEGER NOT NULL,
	reasoning INTEGER NOT NULL, images INTEGER NOT NULL DEFAULT 0, audio_ms INTEGER NOT NULL DEFAULT 0, characters INTEGER NOT NULL DEFAULT 0, cost INTEGER NOT NULL DEFAULT 0, unbilled INTEGER NOT NULL DEFAULT 0,
	PRIMARY KEY (workspace, day, key, model, surface)
) STRICT, WITHOUT ROWID;
CREATE TABLE users (
	id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
	name TEXT NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 254),
	full_name TEXT NOT NULL DEFAULT '',
	created_ms INTEGER NOT NULL,
	removed_ms INTEGER
) STRICT;
CREATE TABLE windows (
	workspace BLOB NOT NULL,
	number INTEGER NOT NULL,
	ends_ms INTEGER NOT NULL,
	size INTEGER NOT NULL,
	tokens INTEGER NOT NULL DEFAULT 0,
	PRIMARY KEY (workspace, number)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER workspace_prepaid AFTER UPDATE OF balance ON workspaces WHEN old.balance IS NULL AND new.balance IS NOT NULL BEGIN
	INSERT INTO prepaid (workspace, billed) SELECT new.id, coalesce(sum(cost - unbilled), 0) FROM usage_days
		WHERE workspace = new.id
		ON CONFLICT DO UPDATE SET billed = excluded.billed;
END;
CREATE TABLE workspaces (
	id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
	name TEXT NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 64),
	plan TEXT NOT NULL,
	created_ms INTEGER NOT NULL
, cap_tokens INTEGER CHECK (cap_tokens >= 0), cap_images INTEGER CHECK (cap_images >= 0), cap_audio_ms INTEGER CHECK (cap_audio_ms >= 0), budget INTEGER CHECK (budget >= 0), balance INTEGER, extra_tokens INTEGER NOT NULL DEFAULT 0) STRICT;
