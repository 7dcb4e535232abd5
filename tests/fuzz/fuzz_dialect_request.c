/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker gets from a gateway that lies: a head (its length in the first byte) and a body that need not
 * fit together. Nothing may be read outside of either.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "common/dialect/dialect.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void
run(const struct dl_head *h, enum dl_dialect runtime, struct tf_span body, uint32_t quirks, bool canonical)
{
	struct dl_xlate_conf conf = { .surface = h->surface,
		.runtime = runtime,
		.quirks = quirks,
		.canonical = canonical,
		.asked = tf_span(h->model, h->model_len),
		.model = TF_SPAN("m"),
		.max_output = h->max_output / 2 };
	struct dl_xlate *x = dl_xlate_new(&conf, h);
	struct tf_buf out = { 0 };

	if (x == NULL)
		abort();
	if (dl_xlate_request(x, body, &out) < 0 && out.n > 0)
		abort();
	tf_buf_free(&out);
	dl_xlate_free(&x);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static bool ready;
	struct dl_head h;
	char *body;
	size_t head;

	if (!ready && dl_init() < 0)
		abort();
	ready = true;
	if (n < 1 || (size_t)data[0] + 1 > n)
		return 0;
	head = data[0];
	n -= head + 1;
	/* its own memory, so that a sanitizer sees one byte too many */
	body = malloc(n > 0 ? n : 1);
	if (body == NULL)
		abort();
	memcpy(body, data + 1 + head, n);
	if (dl_head_decode(tf_span(data + 1, head), n, &h) == 0) {
		run(&h, DL_OPENAI_CHAT, tf_span(body, n), 0, false);
		run(&h, DL_OPENAI_CHAT, tf_span(body, n), 0, true);
		run(&h, DL_OPENAI_CHAT, tf_span(body, n), DL_Q_HOSTED, false);
		run(&h, DL_OPENAI_CHAT, tf_span(body, n), DL_Q_NO_DEVELOPER | DL_Q_NO_MAX_COMPLETION | DL_Q_STREAM_AND_JOIN,
		    false);
		run(&h, DL_ANTHROPIC_MESSAGES, tf_span(body, n), 0, false);
		run(&h, DL_ANTHROPIC_MESSAGES, tf_span(body, n), DL_Q_HOSTED | DL_Q_ADAPTIVE, true);
	}
	free(body);
	return 0;
}
