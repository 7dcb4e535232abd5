/* SPDX-License-Identifier: Apache-2.0 */
/* Attempts at the surfaces of sound, for their tests. See audio.h. */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/dialect/audio.h"

int
scan(struct dl_scan *s, enum dl_dialect surface, struct body b)
{
	dl_scan_init(s, surface, 0, 0);
	if (dl_dialect_form(surface) && dl_scan_form(s, TF_SPAN(TYPE)) < 0)
		return TF_E_INVAL;
	return dl_scan_end(s, b.p, b.n);
}

void
start(struct run *run)
{
	struct dl_xlate_conf c = { .surface = run->surface, .runtime = DL_OPENAI_CHAT, .quirks = run->quirks,
		.asked = TF_SPAN("alias"), .model = TF_SPAN("real"), .content_type = TF_SPAN(TYPE) };
	struct dl_scan s;

	if (scan(&s, run->surface, run->body) != 0)
		fail_msg("refused: %s", s.fault.message);
	run->x = dl_xlate_new(&c, &s.head);
	assert_non_null(run->x);
}

void
stop(struct run *run)
{
	dl_xlate_free(&run->x);
	tf_buf_free(&run->sent);
	tf_buf_free(&run->got);
}

void
answer(struct run *run, const char *type, struct body b, size_t step)
{
	dl_xlate_head(run->x, 200, tf_cspan(type), 0);
	for (size_t at = 0; at < b.n; at += step) {
		size_t n = b.n - at < step ? b.n - at : step;
		char *piece = malloc(n);

		assert_non_null(piece);
		memcpy(piece, b.p + at, n);
		assert_int_equal(dl_xlate_feed(run->x, piece, n, &run->got), 0);
		free(piece);
	}
	assert_int_equal(dl_xlate_end(run->x, &run->got), 0);
}

const struct dl_facts *
facts(const struct run *run)
{
	return dl_xlate_facts(run->x);
}

bool
has(const struct tf_buf *b, const char *what)
{
	return b->n > 0 && memmem(b->p, b->n, what, strlen(what)) != NULL;
}
