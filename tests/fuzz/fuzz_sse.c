/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Event streams. The first byte of the input is the size of the pieces; reading in pieces must
 * give the events that reading at once gives.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "common/http/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define CHECK(x) do { if (!(x)) abort(); } while (0)
#define EVENT_MAX 4096

static void
note(struct tf_buf *out, enum http_sse_kind kind, const struct http_sse_event *ev)
{
	CHECK(tf_buf_addc(out, (char)('0' + kind)) == 0);
	CHECK(tf_buf_addspan(out, ev->event) == 0 && tf_buf_addc(out, '|') == 0);
	CHECK(tf_buf_addspan(out, ev->id) == 0 && tf_buf_addc(out, '|') == 0);
	CHECK(tf_buf_addc(out, ev->has_data ? '+' : '-') == 0);
	CHECK(tf_buf_addspan(out, ev->data) == 0 && tf_buf_addc(out, '\n') == 0);
}

/* False: an event was too big; what comes first then depends on the pieces. */
static bool
read_all(const char *text, size_t n, size_t piece, struct tf_buf *out)
{
	struct http_sse s;
	bool fits = true;

	http_sse_init(&s, EVENT_MAX);
	for (size_t at = 0; at < n && fits; at += piece) {
		size_t len = n - at < piece ? n - at : piece, used = 0, got;
		struct http_sse_event ev;
		enum http_sse_kind kind;

		while ((kind = http_sse_next(&s, text + at + used, len - used, &got, &ev)) !=
		    HTTP_SSE_MORE && fits) {
			used += got;
			CHECK(used <= len && ev.raw.n <= EVENT_MAX);
			fits = kind != HTTP_SSE_TOO_BIG;
			if (fits)
				note(out, kind, &ev);
		}
		CHECK(!fits || used + got == len);
	}
	http_sse_fini(&s);
	return fits;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct tf_buf a = { 0 }, b = { 0 };
	bool fits, fits_too;

	if (n < 2)
		return 0;
	fits = read_all((const char *)data + 1, n - 1, n - 1, &a);
	fits_too = read_all((const char *)data + 1, n - 1, data[0] + 1u, &b);
	if (fits && fits_too)
		CHECK(tf_span_eq(tf_buf_span(&a), tf_buf_span(&b)));
	tf_buf_free(&a);
	tf_buf_free(&b);
	return 0;
}
