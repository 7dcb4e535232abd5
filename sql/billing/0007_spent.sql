-- SPDX-License-Identifier: Apache-2.0
-- Which records of a start have no row of their own, in place of how many: a count lets a record that is lost hide behind
-- one that is there twice, and one that was told twice counts for two.

-- Numbers from first to last; ranges neither overlap nor touch.
CREATE TABLE spent (
	instance INTEGER NOT NULL,
	first INTEGER NOT NULL CHECK (first > 0),
	last INTEGER NOT NULL CHECK (last >= first),
	PRIMARY KEY (instance, first)
) STRICT, WITHOUT ROWID;

-- Those that had been counted are the numbers without a row; where more of them are missing, nobody can say which those are,
-- and all stay missing.
INSERT INTO spent (instance, first, last) SELECT id, before + 1, seq - 1 FROM (
	SELECT id, seq, lag(seq, 1, 0) OVER (PARTITION BY id ORDER BY seq) AS before FROM (
		SELECT i.id, l.seq FROM ledger l JOIN instances i ON i.id = l.instance AND l.seq BETWEEN 1 AND i.seq
		UNION ALL SELECT id, seq + 1 FROM instances)) WHERE seq > before + 1;
DELETE FROM spent WHERE instance IN (SELECT i.id FROM spent s JOIN instances i ON i.id = s.instance
	GROUP BY i.id HAVING sum(s.last - s.first + 1) > i.spent);

DROP TRIGGER ledger_spent;
ALTER TABLE instances DROP COLUMN spent;
