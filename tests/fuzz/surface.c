/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A surface with turns. An even first byte: the rest is a client's body; scanned whole and in slices it gets the same
 * verdict, and one that is accepted becomes JSON for the runtime, or is refused with a reason. An odd one: the rest is a
 * runtime's answer, sliced by the second byte; whatever it says, a strict client takes what it is given, and the
 * slices make no difference.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/kinds.h"
#include "tests/fuzz/surface.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const struct fuzz_surface *const f = &fuzz_surface;

static void
must(bool ok, const char *why)
{
	if (ok)
		return;
	fprintf(stderr, "%s\n", why);
	abort();
}

static struct dl_xlate *
attempt(const struct dl_scan *s, unsigned how)
{
	bool native = f->native && !(how & 4);
	struct dl_xlate_conf conf = { .surface = f->surface, .runtime = DL_OPENAI_CHAT, .check = true,
		.can = native ? DL_NEED_COMPLETIONS : 0, .quirks = how & 4 ? DL_Q_INLINE_THINK : 0, .asked = TF_SPAN("m"),
		.model = TF_SPAN("r") };
	struct dl_xlate *x = dl_xlate_new(&conf, &s->head);

	must(x != NULL, "memory");
	return x;
}

/* ---- requests ---------------------------------------------------------------------------- */

static void
sent(const struct dl_scan *s, struct tf_span body, unsigned how)
{
	struct dl_xlate *x = attempt(s, how);
	struct tf_buf out = { 0 };
	int r = dl_xlate_request(x, body, &out);

	if (r == 0)
		must(js_valid(tf_buf_span(&out)) != TF_E_INVAL, "the runtime gets no JSON");
	else
		must(r == TF_E_INVAL && dl_xlate_facts(x)->fault.err == TF_E_BAD_REQUEST && (!f->native || (how & 4)),
		    "refused without a reason");
	dl_xlate_free(&x);
	tf_buf_free(&out);
}

static void
request(struct tf_span body, size_t step)
{
	static struct dl_scan whole, sliced;
	struct tf_buf head = { 0 };
	struct dl_head copy;
	int r, r2 = 0;

	dl_scan_init(&whole, f->surface, 32, 5000);
	dl_scan_init(&sliced, f->surface, 32, 5000);
	r = dl_scan_end(&whole, body.p, body.n);
	for (size_t at = step; r2 == 0 && at < body.n; at += step)
		r2 = dl_scan_feed(&sliced, body.p, at);
	if (r2 == 0)
		r2 = dl_scan_end(&sliced, body.p, body.n);
	must(r == r2, "slices give another verdict");
	must((r == 0) == (whole.fault.err == 0), "refused without a fault, or accepted with one");
	must(strcmp(whole.fault.param, sliced.fault.param) == 0, "slices give another param");
	if (r < 0)
		return;
	must(whole.head.prompt_bytes == sliced.head.prompt_bytes, "slices give another size");
	must(whole.head.n >= 1 && whole.head.n <= 128, "an impossible number of answers");
	must(dl_head_encode(&whole.head, &head) == 0, "head");
	must(dl_head_decode(tf_buf_span(&head), body.n, &copy) == 0, "head is not read back");
	tf_buf_free(&head);
	sent(&whole, body, 0);
	sent(&whole, body, 4);
	fuzz_kinds(&whole, body);
}

/* ---- answers ----------------------------------------------------------------------------- */

static int
answer(const struct dl_scan *s, unsigned how, struct tf_span up, size_t step, struct tf_buf *out)
{
	struct dl_xlate *x = attempt(s, how);
	struct tf_buf asked = { 0 };
	int err = dl_xlate_request(x, tf_cspan(f->asks[how & 3]), &asked);

	/* what a runtime is not asked it may answer all the same */
	must(err == 0 || err == TF_E_INVAL, "request");
	tf_buf_free(&asked);
	dl_xlate_head(x, 200, how & 8 ? TF_SPAN("application/json") : TF_SPAN(""), 0);
	for (size_t at = 0; at < up.n; at += step)
		must(dl_xlate_feed(x, up.p + at, up.n - at < step ? up.n - at : step, out) == 0, "feed");
	if (how & 16)
		must(dl_xlate_broken(x, TF_E_UPSTREAM_ERROR, out) == 0, "broken");
	else
		must(dl_xlate_end(x, out) == 0, "end");
	err = dl_xlate_facts(x)->fault.err;
	must(dl_xlate_facts(x)->complete == (err == 0), "neither complete nor failed");
	if (f->settle != NULL)
		f->settle(out);
	dl_xlate_free(&x);
	return err;
}

static void
reads(const struct dl_scan *s, const struct tf_buf *given, int err, struct tf_buf *made)
{
	const char *bad = NULL;

	if (s->head.stream)
		bad = f->stream(tf_buf_span(given), s->head.include_usage, err == 0, made);
	else if (err == 0)
		bad = f->json(tf_buf_span(given), made);
	else
		must(given->n == 0, "bytes of a failed answer");
	must(bad == NULL, bad);
}

static void
answers(unsigned how, struct tf_span up, size_t step)
{
	static struct dl_scan s;
	struct tf_buf a = { 0 }, b = { 0 }, made = { 0 }, made2 = { 0 };
	int err;

	dl_scan_init(&s, f->surface, 0, 0);
	must(dl_scan_end(&s, f->asks[how & 3], strlen(f->asks[how & 3])) == 0, "scan");
	err = answer(&s, how, up, up.n + 1, &a);
	must(answer(&s, how, up, step, &b) == err, "slices give another fault");
	must(f->dated ? a.n == b.n : tf_span_eq(tf_buf_span(&a), tf_buf_span(&b)), "slices give other bytes");
	reads(&s, &a, err, &made);
	reads(&s, &b, err, &made2);
	must(tf_span_eq(tf_buf_span(&made), tf_buf_span(&made2)), "slices give another answer");
	tf_buf_free(&a);
	tf_buf_free(&b);
	tf_buf_free(&made);
	tf_buf_free(&made2);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static bool ready;

	if (!ready)
		must(dl_init() == 0, "init");
	ready = true;
	if (n < 2)
		return 0;
	if (data[0] & 1)
		answers(data[0] >> 1, tf_span(data + 2, n - 2), data[1] % 31 + 1);
	else
		request(tf_span(data + 2, n - 2), data[1] % 31 + 1);
	return 0;
}
