-- SPDX-License-Identifier: Apache-2.0
-- What the ledger is checked against: records of an instance that have no row, and what a workspace had been
-- charged before it was prepaid.

-- Records up to seq that have no row of their own: told twice, replaced by a later one, or removed since.
ALTER TABLE instances ADD COLUMN spent INTEGER NOT NULL DEFAULT 0;
UPDATE instances SET spent = seq;
UPDATE instances SET spent = spent - rows.n FROM (SELECT l.instance AS id, count(*) AS n FROM ledger l
	JOIN instances i ON i.id = l.instance AND l.seq <= i.seq GROUP BY l.instance) AS rows WHERE rows.id = instances.id;
CREATE TRIGGER ledger_spent AFTER DELETE ON ledger BEGIN
	UPDATE instances SET spent = spent + 1 WHERE id = old.instance;
END;

-- balance = all topped up money - (all that was charged - billed)
CREATE TABLE prepaid (
	workspace BLOB NOT NULL PRIMARY KEY REFERENCES workspaces (id),
	billed INTEGER NOT NULL -- charged before
) STRICT, WITHOUT ROWID;
INSERT INTO prepaid (workspace, billed) SELECT id, balance
	- coalesce((SELECT sum(money) FROM topups WHERE workspace = workspaces.id), 0)
	+ coalesce((SELECT sum(cost - unbilled) FROM usage_days WHERE workspace = workspaces.id), 0)
	FROM workspaces WHERE balance IS NOT NULL;
CREATE TRIGGER workspace_prepaid AFTER UPDATE OF balance ON workspaces WHEN old.balance IS NULL AND new.balance IS NOT NULL BEGIN
	INSERT INTO prepaid (workspace, billed) SELECT new.id, coalesce(sum(cost - unbilled), 0) FROM usage_days
		WHERE workspace = new.id
		ON CONFLICT DO UPDATE SET billed = excluded.billed;
END;
