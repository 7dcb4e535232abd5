/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request body from a client, behind one byte that says how it is sliced: whole and in slices the scan says
 * the same; a head survives its bytes; what goes to any kind of runtime is JSON without a denied field.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "common/dialect/dialect.h"
#include "tests/fuzz/kinds.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void
must(bool ok)
{
	if (!ok)
		abort();
}

static void
to_runtime(const struct dl_head *h, struct tf_span body, const char *kind, bool canonical)
{
	struct dl_xlate_conf conf = { .surface = h->surface,
		.runtime = DL_OPENAI_CHAT,
		.canonical = canonical,
		.check = true,
		.asked = TF_SPAN("asked"),
		.model = TF_SPAN("runtime\"model"),
		.max_output = 77 };
	struct tf_buf out = { 0 };
	struct tf_span v;
	struct dl_xlate *x;
	int r;

	must(dl_quirk_kind(tf_cspan(kind), &conf.quirks) == 0);
	x = dl_xlate_new(&conf, h);
	must(x != NULL);
	r = dl_xlate_request(x, body, &out);
	if (r == 0) {
		/* white space around the body stays */
		while (out.n > 0 && strchr(" \t\r\n", out.p[0]) != NULL)
			tf_buf_shift(&out, 1);
		must(js_valid(tf_buf_span(&out)) == 0);
		must(js_member(tf_buf_span(&out), "model", &v) && js_str_eq(v, "runtime\"model"));
		must(!js_member(tf_buf_span(&out), "chat_template", &v));
		must(!js_member(tf_buf_span(&out), "id_slot", &v));
		must(js_member(tf_buf_span(&out), "messages", &v) && js_type(v) == JS_ARRAY);
		if (dl_xlate_streams(x))
			must(js_member(tf_buf_span(&out), "stream", &v) && v.p[0] == 't');
	} else {
		must(r == TF_E_INVAL && dl_xlate_facts(x)->fault.err == TF_E_BAD_REQUEST);
	}
	tf_buf_free(&out);
	dl_xlate_free(&x);
}

static void
use_head(const struct dl_scan *s, struct tf_span body)
{
	struct tf_buf bytes = { 0 };
	struct dl_head h;

	must(dl_head_encode(&s->head, &bytes) == 0);
	must(dl_head_decode(tf_buf_span(&bytes), body.n, &h) == 0);
	must(memcmp(&h, &s->head, sizeof h) == 0);
	tf_buf_free(&bytes);
	to_runtime(&h, body, "generic", false);
	to_runtime(&h, body, "generic", true);
	to_runtime(&h, body, "llama.cpp", false);
	to_runtime(&h, body, "tgi", false);
	to_runtime(&h, body, "openai", false);
	to_runtime(&h, body, "openai", true);
	fuzz_kinds(s, body);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static bool ready;
	struct dl_scan whole, sliced;
	const char *body = (const char *)data + 1;
	size_t step;
	int r, q = 0;

	if (!ready)
		must(dl_init() == 0);
	ready = true;
	if (n < 1)
		return 0;
	step = data[0] % 17 + 1;
	n--;
	dl_scan_init(&whole, DL_OPENAI_CHAT, 32, 5000);
	dl_scan_init(&sliced, DL_OPENAI_CHAT, 32, 5000);
	r = dl_scan_end(&whole, body, n);
	for (size_t at = step; q == 0 && at < n; at += step)
		q = dl_scan_feed(&sliced, body, at);
	if (q == 0)
		q = dl_scan_end(&sliced, body, n);
	must((r == 0) == (q == 0));
	must(whole.fault.err == sliced.fault.err);
	if (r == 0) {
		must(memcmp(&whole.head, &sliced.head, sizeof whole.head) == 0);
		use_head(&whole, tf_span(body, n));
	} else {
		must(whole.fault.err > 0 && strlen(whole.fault.message) < DL_MESSAGE_MAX);
	}
	return 0;
}
