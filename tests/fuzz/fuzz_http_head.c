/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Request heads. The first byte of the input chooses where the rest is split; a split parse must
 * end as an unsplit one, and what is accepted must hold what the parser promises.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "common/http/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define CHECK(x) do { if (!(x)) abort(); } while (0)

static void
check_span(const struct http_head *h, struct http_span s, ssize_t len)
{
	CHECK(s.off + s.len <= len);
	CHECK(memchr(h->base + s.off, '\n', s.len) == NULL);
	CHECK(memchr(h->base + s.off, '\r', s.len) == NULL);
	CHECK(memchr(h->base + s.off, '\0', s.len) == NULL);
}

static void
check_head(const struct http_head *h, ssize_t len)
{
	size_t pos = 0;
	struct tf_span a, b;
	char out[256];

	CHECK(!(h->chunked && h->has_length));
	CHECK(!h->http11 || http_head_get(h, HTTP_H_HOST).p != NULL);
	check_span(h, h->target, len);
	check_span(h, h->path, len);
	check_span(h, h->query, len);
	for (unsigned i = 0; i < h->nfields; i++) {
		check_span(h, h->fields[i].name, len);
		check_span(h, h->fields[i].value, len);
	}
	while (http_path_next(http_head_str(h, h->path), &pos, &a))
		(void)http_pct_decode(a, out, sizeof(out));
	pos = 0;
	while (http_query_next(http_head_str(h, h->query), &pos, &a, &b))
		(void)http_query_decode(b.p != NULL ? b : a, out, sizeof(out));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct http_head whole, split;
	const char *text = (const char *)data + 1;
	ssize_t a, b = 0;
	size_t cut;
	char *part;

	if (n < 2)
		return 0;
	n--;
	cut = data[0] * n / 256;
	http_head_init(&whole, false, &http_limits_request);
	a = http_head_parse(&whole, text, n);
	http_head_init(&split, false, &http_limits_request);
	if (cut > 0) {
		part = malloc(cut);
		CHECK(part != NULL);
		memcpy(part, text, cut);
		b = http_head_parse(&split, part, cut);
		free(part);
	}
	if (b == 0)
		b = http_head_parse(&split, text, n);
	CHECK(a == b);
	CHECK(whole.refusal == split.refusal && (a < 0) == (whole.refusal != HTTP_R_NONE));
	if (a > 0)
		check_head(&whole, a);
	return 0;
}
