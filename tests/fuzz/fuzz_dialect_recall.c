/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reasoning that is put back: a byte that chooses the surface, what was kept up to the first line feed, as a peer hands
 * it over, then a request. What the scan lets pass gives names of its calls, and takes what was kept without harm.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "common/dialect/canon.h"
#include "common/dialect/recall.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void
merge(enum dl_dialect surface, struct tf_span root, struct tf_span kept, enum dl_recall_form form)
{
	struct dl_fault f = { 0 };
	struct dl_request rq;

	dl_request_init(&rq, surface);
	if (dl_ops(surface)->request_decode(root, &rq, &f) == 0) {
		if (dl_recall_merge(&rq, kept, TF_SPAN("m"), form) != 0)
			abort();
		for (const struct dl_turn *t = rq.turns; t != NULL; t = t->next)
			for (const struct dl_part *p = t->parts; p != NULL; p = p->next)
				if (p->next == NULL && t->last != p)
					abort();
	}
	dl_request_fini(&rq);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const enum dl_dialect surfaces[] = { DL_OPENAI_CHAT, DL_ANTHROPIC_MESSAGES, DL_OPENAI_RESPONSES };
	static bool ready;
	static struct dl_scan s;
	enum dl_dialect surface;
	const char *end, *text = (const char *)data + 1;
	struct tf_buf names = { 0 };
	struct tf_span body, kept;

	if (!ready && dl_init() != 0)
		abort();
	ready = true;
	if (n < 2 || (end = memchr(text, '\n', n - 1)) == NULL)
		return 0;
	surface = surfaces[data[0] % TF_LEN(surfaces)];
	kept = tf_span(text, (size_t)(end - text));
	body = tf_span(end + 1, (size_t)(text + n - 1 - end - 1));
	dl_scan_init(&s, surface, 32, 5000);
	if (dl_scan_end(&s, body.p, body.n) != 0)
		return 0;
	body = tf_span(body.p + s.head.root.start, s.head.root.end - s.head.root.start);
	if (dl_recall_names(surface, body, &names) != 0 || names.n % DL_RECALL_NAME != 0 ||
	    names.n > DL_RECALL_NAME * DL_RECALL_TURNS)
		abort();
	tf_buf_free(&names);
	merge(surface, body, kept, DL_RECALL_TEXT);
	merge(surface, body, kept, DL_RECALL_SIGNED);
	merge(surface, body, kept, DL_RECALL_ENCRYPTED);
	return 0;
}
