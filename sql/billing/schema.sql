-- SPDX-License-Identifier: Apache-2.0
-- The schema after all migrations, as the database holds it. Kept true by tests/billingd/test_migrate.
CREATE TABLE instances (
	id INTEGER PRIMARY KEY,
	name TEXT NOT NULL,
	boot INTEGER NOT NULL,
	seq INTEGER NOT NULL DEFAULT 0 CHECK (seq >= 0),
	gone_ms INTEGER,
	UNIQUE (name, boot)
) STRICT;
CREATE TABLE key_models (
	key BLOB NOT NULL REFERENCES keys (id),
	model TEXT NOT NULL,
	PRIMARY KEY (key, model)
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
) STRICT;
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
, images INTEGER NOT NULL DEFAULT 0 CHECK (images >= 0), audio_ms INTEGER NOT NULL DEFAULT 0 CHECK (audio_ms >= 0), characters INTEGER NOT NULL DEFAULT 0 CHECK (characters >= 0)) STRICT;
CREATE UNIQUE INDEX ledger_attempt ON ledger (request, attempt);
CREATE INDEX ledger_began ON ledger (workspace, began_ms);
CREATE UNIQUE INDEX ledger_charged ON ledger (request) WHERE charged = 1;
CREATE TABLE meta (
	name TEXT NOT NULL PRIMARY KEY,
	value INTEGER NOT NULL
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
	reasoning INTEGER NOT NULL, images INTEGER NOT NULL DEFAULT 0, audio_ms INTEGER NOT NULL DEFAULT 0, characters INTEGER NOT NULL DEFAULT 0,
	PRIMARY KEY (workspace, day, key, model, surface)
) STRICT, WITHOUT ROWID;
CREATE TABLE workspaces (
	id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
	name TEXT NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 64),
	plan TEXT NOT NULL,
	created_ms INTEGER NOT NULL
) STRICT;
