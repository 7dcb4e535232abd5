-- SPDX-License-Identifier: Apache-2.0
-- What is counted beside tokens: images made, audio heard, characters spoken.
ALTER TABLE ledger ADD COLUMN images INTEGER NOT NULL DEFAULT 0 CHECK (images >= 0);
ALTER TABLE ledger ADD COLUMN audio_ms INTEGER NOT NULL DEFAULT 0 CHECK (audio_ms >= 0);
ALTER TABLE ledger ADD COLUMN characters INTEGER NOT NULL DEFAULT 0 CHECK (characters >= 0);
ALTER TABLE usage_days ADD COLUMN images INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage_days ADD COLUMN audio_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage_days ADD COLUMN characters INTEGER NOT NULL DEFAULT 0;
