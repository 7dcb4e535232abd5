/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scanner on any bytes. Two bytes choose a cut and a slice size, the rest is the document.
 * Cutting must not change anything; what is accepted must be read alike by the iterator and
 * by json-c (which may only miss what tree.c refuses by name); what is refused must be explained
 * in valid UTF-8.
 */
#include "config.h"

#include <stdlib.h>

#include "common/json/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const struct js_path paths[] = {
	{ "", 1, JS_AT_START }, { "model", 2, JS_UNIQUE },
	{ "messages", 3, JS_UNIQUE | JS_AT_START },
	{ "messages[*].content[*].type", 4, 0 }, { "messages[*]", 5, 0 }, { "usage.*", 6, 0 },
	{ "o.include_usage", 7, JS_UNIQUE }, { "a[*][*]", 8, 0 }, { "a.b.c", 9, JS_NO_TEXT },
	{ "*", 10, 0 },
	{ "[*].x", 11, 0 },
};

struct result {
	struct js_scan s;
	int r;
	uint64_t hash; /* of all hits */
};

#define MUST(cond) \
	do { \
		if (!(cond)) \
			abort(); \
	} while (0)

static uint64_t
mix(uint64_t h, uint64_t v)
{
	return (h ^ v) * 0x100000001b3ull;
}

static int
on_hit(void *arg, const struct js_hit *h)
{
	uint64_t *hash = arg, v[] = {
		h->id, h->type, h->begin, h->escaped, h->key, h->keyend, h->start, h->end, h->text,
		h->names, h->count,
	};

	MUST(h->start <= h->end);
	for (size_t i = 0; i < TF_LEN(v); i++)
		*hash = mix(*hash, v[i]);
	return 0;
}

static void
scan(const struct js_interest *in, struct tf_span doc, size_t first, size_t step,
    struct result *out)
{
	out->hash = 7;
	out->r = 0;
	js_scan_init(&out->s, in, on_hit, &out->hash);
	for (size_t n = first; n < doc.n && out->r == 0; n += step) {
		char *part = malloc(n + !n);

		MUST(part != NULL);
		memcpy(part, doc.p, n);
		out->r = js_scan_feed(&out->s, part, n);
		free(part);
	}
	if (out->r == 0)
		out->r = js_scan_end(&out->s, doc.p, doc.n);
	MUST((out->r == 0) == (out->s.fault == JS_F_NONE));
	MUST(js_scan_done(&out->s) == (out->r == 0));
}

static uint32_t
walk(struct tf_span text)
{
	struct tf_span key, v;
	struct js_iter it;
	uint32_t n = 1;

	for (js_iter_init(&it, text); js_iter_next(&it, &key, &v);)
		n += walk(v);
	return n;
}

static void
check_accepted(struct tf_span doc, uint32_t nodes)
{
	struct json_object *t;
	enum js_fault fault;
	size_t at;
	int r = js_tree_parse(doc, &t, &fault, &at);

	MUST(r == 0 || fault == JS_F_KEY_NUL || fault == JS_F_NUMBER_RANGE);
	js_tree_free(&t);
	while (doc.n > 0 && memchr(" \t\r\n", *doc.p, 4) != NULL)
		doc = tf_span(doc.p + 1, doc.n - 1);
	while (doc.n > 0 && memchr(" \t\r\n", doc.p[doc.n - 1], 4) != NULL)
		doc.n--;
	MUST(walk(doc) == nodes);
}

static void
check_refused(const struct js_scan *s, struct tf_span doc)
{
	struct tf_buf quoted = { NULL, 0, 0 };
	char text[256];

	MUST(s->errat <= doc.n);
	js_scan_message(s, doc, text, sizeof text);
	MUST(js_quote(&quoted, tf_cspan(text)) == 0);
	MUST(js_str_eq(tf_buf_span(&quoted), text));
	for (const char *p = text; *p != '\0'; p++)
		MUST((unsigned char)*p >= 0x20);
	tf_buf_free(&quoted);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct js_interest *in;
	struct result whole, cut;
	struct tf_span doc;

	if (in == NULL)
		MUST(js_interest_new(paths, TF_LEN(paths), &in) == 0);
	if (n < 2 || n > 4096)
		return 0;
	doc = tf_span(data + 2, n - 2);
	scan(in, doc, doc.n, 1, &whole);
	scan(in, doc, data[0], (size_t)data[1] + 1, &cut);
	MUST(whole.r == cut.r && whole.hash == cut.hash && whole.s.fault == cut.s.fault);
	MUST(whole.s.errat == cut.s.errat && whole.s.nodes == cut.s.nodes);
	if (whole.r == 0) {
		MUST(whole.s.text == cut.s.text && whole.s.names == cut.s.names);
		check_accepted(doc, whole.s.nodes);
	} else {
		check_refused(&whole.s, doc);
	}
	return 0;
}
