/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compressed bodies. The first two bytes of the input are the coding with the size of the pieces
 * and the room for what comes out; decoding in pieces must give what decoding at once gives, and
 * never more than there is room for.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "common/http/http_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define CHECK(x) do { if (!(x)) abort(); } while (0)
#define OUT_MAX (256 * 1024)

struct result {
	struct tf_buf text;
	enum http_refusal why;
	bool whole;
};

/* Takes all that comes out for now. False: no more is wanted. */
static bool
drain(struct http_inflate *x, size_t room, struct result *r)
{
	char out[4096];
	size_t made;

	do {
		r->why = http_inflate_run(x, out, room, &made);
		CHECK(made <= room);
		CHECK(tf_buf_append(&r->text, out, made) == 0);
		if (r->text.n > OUT_MAX)
			return false;
	} while (made == room && r->why == HTTP_R_NONE);
	CHECK(r->why != HTTP_R_NONE || http_inflate_room(x) > 0);
	return r->why == HTTP_R_NONE;
}

static void
decode(enum http_coding coding, const char *text, size_t n, size_t piece, size_t room, struct result *r)
{
	struct http_inflate *x = http_inflate_new(coding);

	CHECK(x != NULL);
	for (size_t at = 0, len; at < n && r->why == HTTP_R_NONE && r->text.n <= OUT_MAX; at += len) {
		len = n - at < piece ? n - at : piece;
		http_inflate_give(x, tf_span(text + at, len));
		CHECK(http_inflate_taken(x) == at + len);
		if (!drain(x, room, r))
			break;
	}
	r->whole = r->why == HTTP_R_NONE && http_inflate_whole(x);
	http_inflate_free(&x);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct result a = { 0 }, b = { 0 };
	enum http_coding coding;

	if (n < 2)
		return 0;
	coding = data[0] & 1 ? HTTP_CODING_GZIP : HTTP_CODING_DEFLATE;
	decode(coding, (const char *)data + 2, n - 2, HTTP_INFLATE_IN, 4096, &a);
	decode(coding, (const char *)data + 2, n - 2, data[0] / 2 + 1u, data[1] + 1u, &b);
	if (a.text.n <= OUT_MAX && b.text.n <= OUT_MAX && a.why == b.why) {
		CHECK(tf_span_eq(tf_buf_span(&a.text), tf_buf_span(&b.text)));
		CHECK(a.whole == b.whole);
	}
	/* no coding is whole in one way of cutting and damaged in another */
	CHECK(!(a.whole && b.why == HTTP_R_BAD_CODING) && !(b.whole && a.why == HTTP_R_BAD_CODING));
	tf_buf_free(&a.text);
	tf_buf_free(&b.text);
	return 0;
}
