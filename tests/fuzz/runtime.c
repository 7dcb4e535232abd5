/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes of a runtime, behind two that say who asks and how they are sliced. Sliced and whole they give the same bytes
 * and facts, the events obey the grammar, and whatever the runtime says, a strict client takes what it is given.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/runtime.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct answer {
	struct tf_buf bytes;
	struct dl_facts facts;
};

static void
must(bool ok, const char *why)
{
	if (ok)
		return;
	fprintf(stderr, "%s\n", why);
	abort();
}

static void
run(const struct dl_scan *s, const struct fuzz_how *how, struct tf_span up, size_t step, struct answer *a)
{
	struct dl_xlate_conf conf = { .surface = s->head.surface,
		.runtime = fuzz_runtime.runtime,
		.quirks = how->quirks,
		.canonical = how->canonical,
		.check = true,
		.asked = TF_SPAN("m"),
		.model = TF_SPAN("r") };
	struct dl_xlate *x = dl_xlate_new(&conf, &s->head);
	struct tf_buf sent = { 0 };

	memset(a, 0, sizeof *a);
	must(x != NULL, "memory");
	must(dl_xlate_request(x, tf_span(s->text, s->head.body_len), &sent) == 0, "request");
	tf_buf_free(&sent);
	dl_xlate_head(x, 200, how->json ? TF_SPAN("application/json") : TF_SPAN(""), 0);
	for (size_t at = 0; at < up.n; at += step)
		must(dl_xlate_feed(x, up.p + at, up.n - at < step ? up.n - at : step, &a->bytes) == 0, "feed");
	if (how->end == FUZZ_BREAKS)
		must(dl_xlate_broken(x, TF_E_UPSTREAM_ERROR, &a->bytes) == 0, "broken");
	else if (how->end == FUZZ_IS_CUT)
		must(dl_xlate_cut(x, &a->bytes) == 0, "cut");
	else
		must(dl_xlate_end(x, &a->bytes) == 0, "end");
	a->facts = *dl_xlate_facts(x);
	dl_xlate_free(&x);
}

static void
judge(const struct dl_scan *s, const struct fuzz_how *how, const struct answer *a)
{
	const struct dl_facts *f = &a->facts;
	const char *bad;

	must(f->complete == (f->fault.err == 0), "neither complete nor failed");
	must(!f->content || a->bytes.n > 0, "content without bytes");
	bad = fuzz_runtime.reads(s, how, tf_buf_span(&a->bytes), f->complete);
	must(bad == NULL, bad);
}

static void
same(const struct answer *whole, const struct answer *sliced)
{
	must(whole->bytes.n == sliced->bytes.n, "slices give other bytes");
	must(whole->facts.fault.err == sliced->facts.fault.err, "slices give another fault");
	must(whole->facts.skipped == sliced->facts.skipped, "slices give other skips");
	must(dl_usage_out(&whole->facts.usage) == dl_usage_out(&sliced->facts.usage), "slices give other usage");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct dl_scan scans[FUZZ_ASKS_MAX];
	static bool ready;
	struct answer whole, sliced;
	struct fuzz_how how;
	struct tf_span up;

	for (size_t i = 0; !ready && i < FUZZ_ASKS_MAX && fuzz_runtime.asks[i].body != NULL; i++) {
		const struct fuzz_ask *ask = &fuzz_runtime.asks[i];

		must(dl_init() == 0, "init");
		dl_scan_init(&scans[i], ask->surface, 0, 0);
		must(dl_scan_end(&scans[i], ask->body, strlen(ask->body)) == 0, "scan");
	}
	ready = true;
	if (n < 2)
		return 0;
	up = tf_span(data + 2, n - 2);
	how = fuzz_runtime.how(data[0], data[1]);
	run(&scans[how.ask], &how, up, up.n + 1, &whole);
	run(&scans[how.ask], &how, up, data[0] % 31 + 1, &sliced);
	judge(&scans[how.ask], &how, &whole);
	same(&whole, &sliced);
	tf_buf_free(&whole.bytes);
	tf_buf_free(&sliced.bytes);
	return 0;
}
