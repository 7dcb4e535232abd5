/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Golden cases: tests/golden/DIR/CASE/ holds
 *   conf      lines key=value: surface, runtime (dialects; openai_chat), kind, quirks (space separated), status,
 *             type, retry (seconds), broken=1 (the connection breaks at the end), max (output cap to enforce),
 *             joined=1, output, context (the model's lengths),
 *             beyond=1 (the runtime says what a strict client does not know)
 *   request   the client's body
 *   upstream  what the runtime answers, bytes
 *   sent      what the runtime must get, one JSON text; nothing when the request is refused
 *   client    what the client must get, bytes
 *   facts     what the attempt must be known by
 * Each is run whole, byte by byte and cut in two at every byte; where both ends are of one dialect also RAW
 * against decode and encode. What is given out is read by a strict client. With GOLDEN_UPDATE=1 in the
 * environment sent, client and facts are written instead: look at the difference before committing it.
 */
#include "config.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/dialect/client.h"
#include "tests/dialect/group.h"
#include "tests/dialect/reader.h"

struct golden {
	char name[256];
	struct tf_buf conf, request, upstream, sent, client, facts;
	struct dl_scan scan;
	enum dl_dialect surface, runtime;
	uint32_t quirks, retry;
	int status;
	char type[64];
	bool broken, joined, beyond;
	uint64_t max, output, context;
};

struct result {
	struct tf_buf sent, client, facts;
};

static char root[1024];
static const char *top = ".";

static void
read_file(const struct golden *g, const char *file, struct tf_buf *out)
{
	char path[2048], block[4096];
	size_t n;
	FILE *f;

	snprintf(path, sizeof path, "%s/%s/%s", root, g->name, file);
	f = fopen(path, "rb");
	if (f == NULL)
		return;
	while ((n = fread(block, 1, sizeof block, f)) > 0)
		assert_int_equal(tf_buf_append(out, block, n), 0);
	fclose(f);
}

static void
write_file(const struct golden *g, const char *file, const struct tf_buf *b)
{
	char path[2048];
	FILE *f;

	snprintf(path, sizeof path, "%s/%s/%s", root, g->name, file);
	f = fopen(path, "wb");
	assert_non_null(f);
	assert_int_equal(fwrite(b->p, 1, b->n, f), b->n);
	fclose(f);
}

static void
set_conf(struct golden *g, const char *key, char *value)
{
	char *word, *save;

	if (strcmp(key, "kind") == 0)
		assert_int_equal(dl_quirk_kind(tf_cspan(value), &g->quirks), 0);
	else if (strcmp(key, "quirks") == 0)
		for (word = strtok_r(value, " ", &save); word != NULL;
		     word = strtok_r(NULL, " ", &save))
			assert_int_equal(dl_quirk_apply(tf_cspan(word), &g->quirks), 0);
	else if (strcmp(key, "status") == 0)
		g->status = (int)strtol(value, NULL, 10);
	else if (strcmp(key, "type") == 0)
		snprintf(g->type, sizeof g->type, "%s", value);
	else if (strcmp(key, "retry") == 0)
		g->retry = (uint32_t)strtoul(value, NULL, 10);
	else if (strcmp(key, "surface") == 0)
		assert_int_not_equal(g->surface = dl_dialect_by_name(tf_cspan(value)), DL_NONE);
	else if (strcmp(key, "runtime") == 0)
		assert_int_not_equal(g->runtime = dl_dialect_by_name(tf_cspan(value)), DL_NONE);
	else if (strcmp(key, "output") == 0)
		g->output = strtoull(value, NULL, 10);
	else if (strcmp(key, "context") == 0)
		g->context = strtoull(value, NULL, 10);
	else if (strcmp(key, "max") == 0)
		g->max = strtoull(value, NULL, 10);
	else if (strcmp(key, "broken") == 0)
		g->broken = true;
	else if (strcmp(key, "beyond") == 0)
		g->beyond = true;
	else if (strcmp(key, "joined") == 0)
		g->joined = true;
	else
		fail_msg("%s: unknown key %s", g->name, key);
}

static void
load(struct golden *g, const char *name)
{
	char *line, *save, *eq;

	memset(g, 0, sizeof *g);
	snprintf(g->name, sizeof g->name, "%s", name);
	g->status = 200;
	g->surface = g->runtime = DL_OPENAI_CHAT;
	read_file(g, "conf", &g->conf);
	read_file(g, "request", &g->request);
	read_file(g, "upstream", &g->upstream);
	read_file(g, "sent", &g->sent);
	read_file(g, "client", &g->client);
	read_file(g, "facts", &g->facts);
	assert_non_null(tf_buf_cstr(&g->conf));
	for (line = strtok_r(g->conf.p, "\n", &save); line != NULL;
	     line = strtok_r(NULL, "\n", &save)) {
		eq = strchr(line, '=');
		assert_non_null(eq);
		*eq = '\0';
		set_conf(g, line, eq + 1);
	}
	dl_scan_init(&g->scan, g->surface, 0, 0);
	if (dl_scan_end(&g->scan, g->request.p, g->request.n) < 0)
		fail_msg("%s: %s", name, g->scan.fault.message);
}

static void
unload(struct golden *g)
{
	tf_buf_free(&g->conf);
	tf_buf_free(&g->request);
	tf_buf_free(&g->upstream);
	tf_buf_free(&g->sent);
	tf_buf_free(&g->client);
	tf_buf_free(&g->facts);
}

static void
print_facts(const struct dl_xlate *x, struct tf_buf *out)
{
	const struct dl_facts *f = dl_xlate_facts(x);
	struct tf_span dropped = dl_xlate_dropped(x);
	const struct dl_usage *u = &f->usage;

	tf_buf_printf(out, "content=%d finished=%d complete=%d finish=%s skipped=%u\n", f->content,
	    f->finished, f->complete, f->finish != NULL ? f->finish : "-", f->skipped);
	tf_buf_printf(out,
	    "prompt=%llu cache_read=%llu cache_write=%llu completion=%llu reasoning=%llu "
	    "estimated=%d\n",
	    (unsigned long long)u->prompt, (unsigned long long)u->cache_read,
	    (unsigned long long)u->cache_write, (unsigned long long)u->completion,
	    (unsigned long long)u->reasoning, f->estimated);
	tf_buf_printf(out, "error=%s retryable=%d retry_after=%u param=%s message=%s\n",
	    f->fault.err != 0 ? tf_err_row(f->fault.err)->code : "-", f->fault.retryable,
	    f->fault.retry_after_s, f->fault.param, f->fault.message);
	tf_buf_printf(out, "dropped=%.*s\n", (int)dropped.n, dropped.p != NULL ? dropped.p : "");
}

/* Answers of runtimes that give no time bear that of now. */
static void
timeless(const struct golden *g, struct tf_buf *client)
{
	static const char mark[] = "\"created\":1";
	char *at = client->p, *end = at + client->n;

	if (g->runtime == DL_OPENAI_CHAT)
		return;
	while (at < end && (at = memmem(at, (size_t)(end - at), mark, sizeof mark - 1)) != NULL)
		for (at += sizeof mark - 1; at < end && *at >= '0' && *at <= '9'; at++)
			*at = '0';
}

/* step 0: cut at `cut`; else pieces of step bytes. */
static void
run(const struct golden *g, bool canonical, size_t step, size_t cut, struct result *res)
{
	struct dl_xlate_conf conf = {
		.surface = g->surface,
		.runtime = g->runtime,
		.quirks = g->quirks,
		.joined = g->joined,
		.canonical = canonical,
		.check = true,
		.asked = tf_span(g->scan.head.model, g->scan.head.model_len),
		.model = TF_SPAN("runtime-model"),
		.max_output = g->max,
		.model_output = g->output,
		.model_context = g->context,
	};
	struct dl_xlate *x;
	size_t at = 0;
	int r;

	memset(res, 0, sizeof *res);
	memset(conf.rid.b, 7, sizeof conf.rid.b);
	x = dl_xlate_new(&conf, &g->scan.head);
	assert_non_null(x);
	r = dl_xlate_request(x, tf_buf_span(&g->request), &res->sent);
	if (r < 0) {
		assert_int_equal(r, TF_E_INVAL);
		assert_int_equal(res->sent.n, 0);
		print_facts(x, &res->facts);
		dl_xlate_free(&x);
		return;
	}
	assert_int_equal(js_valid(tf_buf_span(&res->sent)), 0);
	dl_xlate_head(x, g->status, tf_cspan(g->type), g->retry);
	while (at < g->upstream.n) {
		size_t n = step > 0 ? step : at < cut ? cut - at : g->upstream.n - at;
		/* its own memory, so that a sanitizer sees one byte too many */
		char *piece;

		n = n < g->upstream.n - at ? n : g->upstream.n - at;
		piece = malloc(n);
		assert_non_null(piece);
		memcpy(piece, g->upstream.p + at, n);
		assert_int_equal(dl_xlate_feed(x, piece, n, &res->client), 0);
		free(piece);
		at += n;
	}
	if (g->broken)
		assert_int_equal(dl_xlate_broken(x, TF_E_UPSTREAM_ERROR, &res->client), 0);
	else
		assert_int_equal(dl_xlate_end(x, &res->client), 0);
	timeless(g, &res->client);
	print_facts(x, &res->facts);
	dl_xlate_free(&x);
}

static void
release(struct result *r)
{
	tf_buf_free(&r->sent);
	tf_buf_free(&r->client);
	tf_buf_free(&r->facts);
}

static void
same(const struct golden *g, const char *what, const struct tf_buf *want, const struct tf_buf *got)
{
	if (tf_span_eq(tf_buf_span(want), tf_buf_span(got)))
		return;
	fail_msg("%s: %s differs\n--- want\n%.*s\n--- got\n%.*s", g->name, what, (int)want->n,
	    want->p, (int)got->n, got->p);
}

static void
reads(const struct golden *g, const struct result *r)
{
	struct client *c = malloc(sizeof *c);
	struct tf_span model = tf_span(g->scan.head.model, g->scan.head.model_len);
	bool whole = strstr(tf_buf_cstr((struct tf_buf *)&r->facts), "complete=1") != NULL;
	const char *bad = NULL;

	assert_non_null(c);
	if (g->surface == DL_ANTHROPIC_MESSAGES) {
		struct tf_buf made = { 0 };

		if (g->scan.head.stream)
			bad = reader_stream(tf_buf_span(&r->client), model, whole, &made);
		else if (whole)
			bad = reader_json(tf_buf_span(&r->client), model, &made);
		tf_buf_free(&made);
	} else if (g->scan.head.flags & DL_HEAD_LEGACY)
		whole = whole && r->client.n > 0;
	else if (g->scan.head.stream)
		bad = client_reads(
		    c, tf_buf_span(&r->client), model, g->scan.head.include_usage, whole);
	else if (whole)
		bad = client_reads_json(tf_buf_span(&r->client), model);
	else if (r->client.n > 0)
		bad = "bytes of a failed answer";
	free(c);
	if (bad != NULL)
		fail_msg(
		    "%s: a client says: %s\n%.*s", g->name, bad, (int)r->client.n, r->client.p);
}

/* ---- RAW against decode and encode ------------------------------------------------------- */

/* Appends the value with members sorted and numbers and strings in one form. */
static void
normal(struct tf_span v, struct tf_buf *out)
{
	struct tf_span key[64], val[64], el;
	struct tf_buf scratch = { 0 };
	struct js_iter it;
	size_t n = 0;
	double d;

	switch (js_type(v)) {
	case JS_OBJECT:
		js_iter_init(&it, v);
		while (n < 64 && js_iter_next(&it, &key[n], &val[n]))
			n++;
		for (size_t i = 1; i < n; i++)
			for (size_t j = i; j > 0; j--) {
				size_t m = key[j].n < key[j - 1].n ? key[j].n : key[j - 1].n;
				struct tf_span k = key[j], w = val[j];

				if (memcmp(k.p, key[j - 1].p, m) >= 0)
					break;
				key[j] = key[j - 1];
				val[j] = val[j - 1];
				key[j - 1] = k;
				val[j - 1] = w;
			}
		tf_buf_addc(out, '{');
		for (size_t i = 0; i < n; i++) {
			if (js_is_null(val[i]))
				continue; /* absent and null say the same */
			tf_buf_addspan(out, key[i]);
			tf_buf_addc(out, ':');
			normal(val[i], out);
		}
		tf_buf_addc(out, '}');
		break;
	case JS_ARRAY:
		tf_buf_addc(out, '[');
		js_iter_init(&it, v);
		while (js_iter_next(&it, NULL, &el)) {
			normal(el, out);
			tf_buf_addc(out, ',');
		}
		tf_buf_addc(out, ']');
		break;
	case JS_STRING:
		assert_int_equal(js_str(v, &scratch, &el), 0);
		assert_int_equal(js_quote(out, el), 0);
		tf_buf_free(&scratch);
		break;
	case JS_NUMBER:
		assert_int_equal(js_get_double(v, &d), 0);
		tf_buf_printf(out, "%.17g", d);
		break;
	default:
		tf_buf_addspan(out, v);
	}
}

static void
normal_stream(struct tf_span s, struct tf_buf *out)
{
	const char *e;

	while (s.n > 6 && (e = memmem(s.p, s.n, "\n\n", 2)) != NULL) {
		normal(tf_span(s.p + 6, (size_t)(e - s.p) - 6), out);
		tf_buf_addc(out, '\n');
		s = tf_span(e + 2, s.n - (size_t)(e - s.p) - 2);
	}
}

/* What a client makes of it, less the message's id, which is not the same. */
static void
message_of(const struct golden *g, const struct result *r, struct tf_buf *out)
{
	struct tf_span model = tf_span(g->scan.head.model, g->scan.head.model_len);
	struct tf_buf made = { 0 };
	const char *line;

	if (memmem(r->facts.p, r->facts.n, "complete=1", 10) == NULL)
		return; /* the last block is open, and what is in it not read */
	if (g->scan.head.stream)
		assert_null(reader_stream(tf_buf_span(&r->client), model, true, &made));
	else if (r->client.n > 0)
		assert_null(reader_json(tf_buf_span(&r->client), model, &made));
	line = made.n > 0 ? memchr(made.p, '\n', made.n) : NULL;
	if (line != NULL)
		assert_int_equal(tf_buf_append(out, line, made.n - (size_t)(line - made.p)), 0);
	tf_buf_free(&made);
}

static struct tf_span
without_dropped(const struct tf_buf *facts)
{
	const char *line = memmem(facts->p, facts->n, "dropped=", 8);

	assert_non_null(line);
	return tf_span(facts->p, (size_t)(line - facts->p));
}

static void
differential(const struct golden *g, const struct result *raw)
{
	struct tf_buf a = { 0 }, b = { 0 };
	struct result canonical;

	run(g, true, 0, 0, &canonical);
	if (!g->beyond)
		reads(g, &canonical);
	if (g->surface == DL_ANTHROPIC_MESSAGES && !g->beyond) {
		message_of(g, raw, &a);
		message_of(g, &canonical, &b);
	} else if (g->beyond) {
		assert_true(raw->client.n > 0);
	} else if (g->scan.head.stream) {
		normal_stream(tf_buf_span(&raw->client), &a);
		normal_stream(tf_buf_span(&canonical.client), &b);
	} else {
		normal(tf_buf_span(&raw->client), &a);
		normal(tf_buf_span(&canonical.client), &b);
	}
	same(g, "decode and encode against RAW", &a, &b);
	/* the order of what was dropped is not the same */
	tf_buf_reset(&a);
	tf_buf_reset(&b);
	assert_int_equal(tf_buf_addspan(&a, without_dropped(&raw->facts)), 0);
	assert_int_equal(tf_buf_addspan(&b, without_dropped(&canonical.facts)), 0);
	same(g, "facts of decode and encode", &a, &b);
	tf_buf_free(&a);
	tf_buf_free(&b);
	release(&canonical);
}

static void
one_case(const char *name)
{
	struct result r, cut;
	struct golden g;

	load(&g, name);
	run(&g, false, 0, 0, &r);
	if (getenv("GOLDEN_UPDATE") != NULL) {
		write_file(&g, "sent", &r.sent);
		write_file(&g, "client", &r.client);
		write_file(&g, "facts", &r.facts);
	} else {
		same(&g, "sent", &g.sent, &r.sent);
		same(&g, "client", &g.client, &r.client);
		same(&g, "facts", &g.facts, &r.facts);
	}
	if (!g.beyond)
		reads(&g, &r);
	for (size_t i = 0; i <= g.upstream.n; i++) {
		run(&g, false, i == 0, i, &cut);
		same(&g, "client, cut", &r.client, &cut.client);
		same(&g, "facts, cut", &r.facts, &cut.facts);
		release(&cut);
	}
	if (g.surface == g.runtime && r.sent.n > 0)
		differential(&g, &r);
	release(&r);
	unload(&g);
}

/* Returns how many cases there are. */
static int
directory(const char *dir)
{
	struct dirent **e;
	int n, seen = 0;

	snprintf(root, sizeof root, "%s/tests/golden/%s", top, dir);
	n = scandir(root, &e, NULL, alphasort);
	assert_true(n > 0);
	for (int i = 0; i < n; i++) {
		if (e[i]->d_name[0] != '.') {
			one_case(e[i]->d_name);
			seen++;
		}
		free(e[i]);
	}
	free(e);
	return seen;
}

static void
test_chat(void **state)
{
	(void)state;
	assert_true(directory("openai_chat") >= 40);
}

/* Clients of either dialect and a runtime that speaks Messages. */
static void
test_messages_runtime(void **state)
{
	(void)state;
	assert_true(directory("messages_runtime") >= 30);
}

/* Clients of the Messages API and a runtime that speaks chat. */
static void
test_messages_over_chat(void **state)
{
	(void)state;
	assert_true(directory("messages_over_chat") >= 5);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_chat), cmocka_unit_test(test_messages_runtime),
		cmocka_unit_test(test_messages_over_chat) };

	if (getenv("top_srcdir") != NULL)
		top = getenv("top_srcdir");
	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
