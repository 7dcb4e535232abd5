/* SPDX-License-Identifier: Apache-2.0 */
/* Responses, head and body one after the other, as the client reads an upstream it cannot trust. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "common/http/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define CHECK(x) do { if (!(x)) abort(); } while (0)

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct http_head h;
	const char *text = (const char *)data;
	size_t at = 0, used, content = 0;
	struct http_body b;
	struct tf_span d;
	ssize_t rc;

	do {
		http_head_init(&h, true, &http_limits_response);
		rc = http_head_parse(&h, text + at, n - at);
		if (rc <= 0) {
			CHECK((rc < 0) == (h.refusal != HTTP_R_NONE));
			return 0;
		}
		CHECK(h.status >= 100 && h.status <= 999 && (size_t)rc <= n - at);
		at += (size_t)rc;
	} while (h.status < 200);
	http_body_init(&b, &h, false);
	for (;;) {
		enum http_body_step step = http_body_next(&b, text + at, n - at, &used, &d);

		CHECK(used <= n - at);
		at += used;
		if (step != HTTP_BODY_DATA)
			break;
		content += d.n;
	}
	CHECK(content <= n);
	CHECK(b.mode != HTTP_BODY_LENGTH || content <= h.length);
	(void)http_body_eof(&b);
	return 0;
}
