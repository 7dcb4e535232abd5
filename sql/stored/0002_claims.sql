-- SPDX-License-Identifier: Apache-2.0
-- Requests with an idempotency key. While one runs, its row says which start of which gateway has it; when it is
-- done, the answer is the object of kind 18 of the same name, and the row goes when that goes.
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

CREATE TRIGGER answers_gone AFTER DELETE ON objects WHEN old.kind = 18 BEGIN
	DELETE FROM claims WHERE workspace = old.workspace AND name = old.name;
END;
