/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A form with a recording, behind a line that says what the runtime answers (its content type, '|', its bytes with
 * '~' for a line end). The form scans the same whole and in slices; what is sent on reads as a form again; the answer,
 * cut anywhere, becomes the same bytes or the same failure.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "common/dialect/dialect.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define CHECK(x) do { if (!(x)) abort(); } while (0)
#define TYPE "multipart/form-data; boundary=XbX"

static int
scan(struct dl_scan *s, enum dl_dialect surface, struct tf_span body, size_t step)
{
	int r;

	dl_scan_init(s, surface, 0, 0);
	r = dl_scan_form(s, TF_SPAN(TYPE));
	for (size_t k = step; r == 0 && k < body.n; k += step)
		r = dl_scan_feed(s, body.p, k);
	return r == 0 ? dl_scan_end(s, body.p, body.n) : r;
}

static struct dl_xlate *
attempt(const struct dl_head *h, struct tf_span body, uint32_t quirks)
{
	struct dl_xlate_conf conf = { .surface = h->surface, .runtime = DL_OPENAI_CHAT, .quirks = quirks,
		.asked = TF_SPAN("asked"), .model = TF_SPAN("real"), .content_type = TF_SPAN(TYPE) };
	struct dl_xlate *x = dl_xlate_new(&conf, h);
	struct dl_form_reader f;
	struct tf_buf sent = { 0 };
	int r;

	CHECK(x != NULL);
	r = dl_xlate_request(x, body, &sent);
	if (r == 0) {
		CHECK(dl_form_init(&f, TF_SPAN(TYPE), 0, NULL, NULL) == 0);
		CHECK(dl_form_end(&f, sent.p, sent.n) == 0);
	} else {
		CHECK(r == TF_E_INVAL && dl_xlate_facts(x)->fault.err > 0);
		dl_xlate_free(&x);
	}
	tf_buf_free(&sent);
	return x;
}

static void
answer(struct dl_xlate *x, struct tf_span type, struct tf_span bytes, size_t step, struct tf_buf *out)
{
	dl_xlate_head(x, 200, type, 0);
	for (size_t at = 0; at < bytes.n; at += step)
		CHECK(dl_xlate_feed(x, bytes.p + at, bytes.n - at < step ? bytes.n - at : step, out) == 0);
	CHECK(dl_xlate_end(x, out) == 0);
	CHECK(dl_xlate_facts(x)->complete != (dl_xlate_facts(x)->fault.err > 0));
}

static void
both_ways(const struct dl_head *h, struct tf_span body, uint32_t quirks, struct tf_span type, struct tf_span bytes, size_t step)
{
	struct dl_xlate *a = attempt(h, body, quirks), *b = attempt(h, body, quirks);
	struct tf_buf whole = { 0 }, cut = { 0 };

	CHECK((a == NULL) == (b == NULL));
	if (a != NULL) {
		answer(a, type, bytes, bytes.n + 1, &whole);
		answer(b, type, bytes, step, &cut);
		CHECK(dl_xlate_facts(a)->fault.err == dl_xlate_facts(b)->fault.err);
		CHECK(dl_xlate_facts(a)->units.audio_ms == dl_xlate_facts(b)->units.audio_ms);
		CHECK(dl_xlate_facts(a)->fault.err > 0 || tf_span_eq(tf_buf_span(&whole), tf_buf_span(&cut)));
	}
	dl_xlate_free(&a);
	dl_xlate_free(&b);
	tf_buf_free(&whole);
	tf_buf_free(&cut);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const uint32_t quirks[] = { 0, DL_Q_UNTIMED, DL_Q_HOSTED };
	static bool ready;
	struct tf_span all = tf_span(data + 1, n - 1), type, body;
	struct dl_scan whole, sliced;
	struct tf_buf bytes = { 0 };
	const char *eol, *bar;
	enum dl_dialect surface;

	if (!ready)
		CHECK(dl_init() == 0);
	ready = true;
	if (n < 2 || (eol = memchr(all.p, '\n', all.n)) == NULL || (bar = memchr(all.p, '|', (size_t)(eol - all.p))) == NULL)
		return 0;
	type = tf_span(all.p, (size_t)(bar - all.p));
	CHECK(tf_buf_append(&bytes, bar + 1, (size_t)(eol - bar) - 1) == 0);
	for (size_t i = 0; i < bytes.n; i++)
		if (bytes.p[i] == '~')
			bytes.p[i] = '\n';
	body = tf_span(eol + 1, all.n - (size_t)(eol + 1 - all.p));
	surface = data[0] & 1 ? DL_OPENAI_TRANSLATIONS : DL_OPENAI_TRANSCRIPTIONS;
	if (scan(&whole, surface, body, body.n + 1) == 0) {
		CHECK(scan(&sliced, surface, body, data[0] + 1u) == 0);
		CHECK(memcmp(&whole.head, &sliced.head, sizeof whole.head) == 0);
		for (size_t i = 0; i < TF_LEN(quirks); i++)
			both_ways(&whole.head, body, quirks[i], type, tf_buf_span(&bytes), (data[0] & 31) + 1u);
	} else {
		CHECK(scan(&sliced, surface, body, data[0] + 1u) < 0);
		CHECK(whole.fault.err > 0 && strcmp(whole.fault.message, sliced.fault.message) == 0);
	}
	tf_buf_free(&bytes);
	return 0;
}
