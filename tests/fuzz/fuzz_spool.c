/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A segment of the spool, whatever its bytes: the reader stays inside them, moves on with each record, and what it
 * calls clean holds nothing further. The same bytes behind a good head get past the first check.
 */
#include "config.h"

#include <stdlib.h>

#include "common/spool/spool.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void
check(bool ok)
{
	if (!ok)
		abort();
}

static void
read_through(struct tf_span file)
{
	struct sp_reader r;
	struct sp_rec rec;
	uint64_t before = SP_HEAD;

	if (sp_reader_init(&r, file) != 0)
		return;
	check(memchr(r.head.name, 0, sizeof r.head.name) != NULL);
	while (sp_next(&r, &rec) == 1) {
		check(rec.at == before && r.at > before && r.at <= file.n);
		check(rec.payload.p >= file.p && rec.payload.p + rec.payload.n <= file.p + file.n);
		check(rec.kind == SP_BEGIN || (rec.kind == SP_END && rec.seq > 0));
		before = r.at;
	}
	for (uint64_t i = r.at; r.end == SP_CLEAN && i < file.n; i++)
		check(file.p[i] == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct sp_head h = { .name = "gatewayd.0", .boot = 7, .number = 1, .size = SP_HEAD + n };
	struct tf_buf b = { 0 };
	uint8_t head[SP_HEAD];
	struct sp_rec rec;
	uint32_t seed;

	read_through(tf_span(data, n));
	sp_head_write(&h, head);
	check(sp_head_read(tf_span(head, sizeof head), &h, &seed) == 0 && h.boot == 7);
	if (tf_buf_append(&b, head, sizeof head) != 0 || tf_buf_append(&b, data, n) != 0)
		abort();
	read_through(tf_buf_span(&b));
	/* what is written is read, and a record in front does not hide what follows */
	b.n = SP_HEAD;
	rec = (struct sp_rec){ .kind = SP_END, .seq = 1, .payload = tf_span(data, n < SP_PAYLOAD_MAX ? n : SP_PAYLOAD_MAX) };
	if (sp_record_write(&b, seed, &rec) != 0 || tf_buf_append(&b, data, n) != 0)
		abort();
	check(sp_record_read(tf_buf_span(&b), seed, SP_HEAD, &rec) == 1 && rec.seq == 1);
	read_through(tf_buf_span(&b));
	tf_buf_free(&b);
	return 0;
}
