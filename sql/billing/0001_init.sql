-- SPDX-License-Identifier: Apache-2.0
-- Times are UTC: *_ms milliseconds since 1970, day whole days since 1970. Ids are 16 bytes.
-- A shipped migration never changes (tests/sql/checksums); what comes later is a new file.

-- Counters that must survive: epoch (starts of billingd), change (number of the last key change),
-- pepper (tells whether the pepper file is the one the digests were made with).
CREATE TABLE meta (
	name TEXT NOT NULL PRIMARY KEY,
	value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO meta (name, value) VALUES ('epoch', 0), ('change', 0);

CREATE TABLE workspaces (
	id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
	name TEXT NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 64),
	plan TEXT NOT NULL,
	created_ms INTEGER NOT NULL
) STRICT;

-- A key is an identity; the texts that open it are its secrets.
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

CREATE TABLE key_models (
	key BLOB NOT NULL REFERENCES keys (id),
	model TEXT NOT NULL,
	PRIMARY KEY (key, model)
) STRICT, WITHOUT ROWID;

-- The newest generation is the current secret; the one before works until until_ms.
CREATE TABLE secrets (
	digest BLOB NOT NULL PRIMARY KEY CHECK (length(digest) = 32), -- HMAC-SHA256(pepper, SHA-256(text))
	key BLOB NOT NULL REFERENCES keys (id),
	generation INTEGER NOT NULL CHECK (generation >= 1),
	prefix TEXT NOT NULL,
	last4 TEXT NOT NULL,
	pepper INTEGER NOT NULL,
	created_ms INTEGER NOT NULL,
	until_ms INTEGER,
	UNIQUE (key, generation)
) STRICT, WITHOUT ROWID;

-- Gateway threads by start; seq: every usage record up to it is in the ledger.
CREATE TABLE instances (
	id INTEGER PRIMARY KEY,
	name TEXT NOT NULL,
	boot INTEGER NOT NULL,
	seq INTEGER NOT NULL DEFAULT 0 CHECK (seq >= 0),
	gone_ms INTEGER, -- when its link was lost or closed; null: in session
	UNIQUE (name, boot)
) STRICT;

-- One row per attempt. Token columns are disjoint. No reference to keys or workspaces: what was
-- served is kept even when nothing else is known about it.
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
	window_ms INTEGER NOT NULL, -- number of the minute window of its admission
	began_ms INTEGER NOT NULL,
	ended_ms INTEGER NOT NULL,
	first_us INTEGER,
	status INTEGER NOT NULL, -- HTTP status; 0 none
	finish TEXT,
	code TEXT,
	worker TEXT,
	instance INTEGER NOT NULL REFERENCES instances (id),
	seq INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX ledger_attempt ON ledger (request, attempt);
CREATE UNIQUE INDEX ledger_charged ON ledger (request) WHERE charged = 1;
CREATE INDEX ledger_began ON ledger (workspace, began_ms);

-- Sums over the charged rows of the ledger, kept in the same transaction; can be made again from it.
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
	reasoning INTEGER NOT NULL,
	PRIMARY KEY (workspace, day, key, model, surface)
) STRICT, WITHOUT ROWID;
