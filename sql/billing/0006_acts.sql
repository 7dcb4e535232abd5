-- SPDX-License-Identifier: Apache-2.0
-- Acts of other daemons come over a connection that may break before the answer, and are told again then. What they call
-- an act makes it one row.
ALTER TABLE audit ADD COLUMN act BLOB CHECK (act IS NULL OR length(act) = 16);
CREATE UNIQUE INDEX audit_act ON audit (act) WHERE act IS NOT NULL;
