-- SPDX-License-Identifier: Apache-2.0
-- What a slice of a deployment was billed by: GPUs times milliseconds, and nano-units for an hour of one GPU.
ALTER TABLE ledger ADD COLUMN gpu_ms INTEGER NOT NULL DEFAULT 0 CHECK (gpu_ms >= 0);
ALTER TABLE ledger ADD COLUMN price_gpu_hour INTEGER;
