-- SPDX-License-Identifier: Apache-2.0
-- The schema after all migrations, as the database holds it. Kept true by tests/stored/test_store.
CREATE TABLE claims (
	num INTEGER PRIMARY KEY,
	workspace BLOB NOT NULL CHECK (length(workspace) = 16),
	name TEXT NOT NULL,
	body BLOB NOT NULL CHECK (length(body) = 32),
	request BLOB NOT NULL CHECK (length(request) = 16),
	claim BLOB NOT NULL CHECK (length(claim) = 16),
	owner TEXT NOT NULL,
	boot INTEGER NOT NULL,
	turn INTEGER NOT NULL,
	done INTEGER NOT NULL CHECK (done IN (0, 1)),
	expires_ms INTEGER NOT NULL,
	UNIQUE (workspace, name)
) STRICT;
CREATE INDEX claims_expiry ON claims (expires_ms);
CREATE TABLE items (
	num INTEGER PRIMARY KEY,
	response INTEGER NOT NULL REFERENCES responses (num) ON DELETE CASCADE,
	position INTEGER NOT NULL,
	output INTEGER NOT NULL CHECK (output IN (0, 1)),
	workspace BLOB NOT NULL CHECK (length(workspace) = 16),
	id TEXT NOT NULL,
	item TEXT NOT NULL,
	UNIQUE (response, position)
) STRICT;
CREATE INDEX items_id ON items (workspace, id);
CREATE TRIGGER answers_gone AFTER DELETE ON objects WHEN old.kind = 18 BEGIN
	DELETE FROM claims WHERE workspace = old.workspace AND name = old.name;
END;
CREATE TRIGGER objects_added AFTER INSERT ON objects BEGIN
	INSERT INTO spaces (workspace, kind, bytes) VALUES (new.workspace, new.kind, new.bytes)
		ON CONFLICT (workspace, kind) DO UPDATE SET bytes = bytes + excluded.bytes;
END;
CREATE TRIGGER objects_gone AFTER DELETE ON objects BEGIN
	UPDATE spaces SET bytes = bytes - old.bytes WHERE workspace = old.workspace AND kind = old.kind;
END;
CREATE TABLE objects (
	num INTEGER PRIMARY KEY,
	kind INTEGER NOT NULL,
	workspace BLOB NOT NULL CHECK (length(workspace) = 16),
	name TEXT NOT NULL,
	type TEXT,
	created_ms INTEGER NOT NULL,
	expires_ms INTEGER NOT NULL,
	bytes INTEGER NOT NULL CHECK (bytes >= 0),
	data BLOB,
	file TEXT,
	CHECK ((data IS NULL) <> (file IS NULL)),
	UNIQUE (workspace, kind, name)
) STRICT;
CREATE INDEX objects_age ON objects (workspace, kind, expires_ms);
CREATE INDEX objects_expiry ON objects (expires_ms);
CREATE INDEX objects_file ON objects (file) WHERE file IS NOT NULL;
CREATE INDEX objects_name ON objects (name, kind);
CREATE TRIGGER responses_added AFTER INSERT ON responses BEGIN
	INSERT INTO spaces (workspace, kind, bytes) VALUES (new.workspace, 1, new.bytes)
		ON CONFLICT (workspace, kind) DO UPDATE SET bytes = bytes + excluded.bytes;
END;
CREATE TRIGGER responses_gone AFTER DELETE ON responses BEGIN
	UPDATE spaces SET bytes = bytes - old.bytes WHERE workspace = old.workspace AND kind = 1;
END;
CREATE TABLE responses (
	num INTEGER PRIMARY KEY,
	workspace BLOB NOT NULL CHECK (length(workspace) = 16),
	id TEXT NOT NULL,
	previous TEXT,
	created_ms INTEGER NOT NULL,
	expires_ms INTEGER NOT NULL,
	kept_ms INTEGER NOT NULL,
	bytes INTEGER NOT NULL CHECK (bytes >= 0),
	object TEXT NOT NULL,
	UNIQUE (workspace, id)
) STRICT;
CREATE INDEX responses_age ON responses (workspace, kept_ms);
CREATE INDEX responses_kept ON responses (kept_ms);
CREATE TABLE spaces (
	workspace BLOB NOT NULL CHECK (length(workspace) = 16),
	kind INTEGER NOT NULL,
	bytes INTEGER NOT NULL,
	PRIMARY KEY (workspace, kind)
) STRICT, WITHOUT ROWID;
