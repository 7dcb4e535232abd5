/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chunked bodies. The first byte of the input is the size of the pieces; decoding in pieces must
 * give the content, the end and the refusal that decoding at once gives.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "common/http/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define CHECK(x) do { if (!(x)) abort(); } while (0)

static enum http_body_step
decode(const char *text, size_t n, size_t piece, struct tf_buf *out, size_t *eaten)
{
	static const struct http_head h = { .chunked = true };
	enum http_body_step step = HTTP_BODY_MORE;
	struct http_body b;

	http_body_init(&b, &h, false);
	*eaten = 0;
	for (size_t at = 0; at < n && step == HTTP_BODY_MORE; at += piece) {
		size_t len = n - at < piece ? n - at : piece, used = 0, got;
		struct tf_span d;

		while ((step = http_body_next(&b, text + at + used, len - used, &got, &d)) ==
		    HTTP_BODY_DATA) {
			CHECK(d.n > 0 && d.p >= text + at && d.p + d.n <= text + at + len);
			CHECK(tf_buf_append(out, d.p, d.n) == 0);
			used += got;
		}
		used += got;
		CHECK(used <= len && (step != HTTP_BODY_MORE || used == len));
		*eaten += used;
	}
	return step;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct tf_buf a = { 0 }, b = { 0 };
	size_t ea, eb;

	if (n < 2)
		return 0;
	CHECK(decode((const char *)data + 1, n - 1, n - 1, &a, &ea) ==
	    decode((const char *)data + 1, n - 1, data[0] + 1u, &b, &eb));
	CHECK(ea == eb && tf_span_eq(tf_buf_span(&a), tf_buf_span(&b)));
	tf_buf_free(&a);
	tf_buf_free(&b);
	return 0;
}
