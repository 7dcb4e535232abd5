/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Embeddings, reranking, images and their edits in JSON: a byte that chooses the surface and how the runtime answers, a
 * byte for the cuts, a request up to the first line feed (empty: one of our own), then the runtime's answer. A request
 * gets the same verdict at every cut and is sent on as JSON; an answer becomes the same bytes or the same failure;
 * vectors are the same numbers whichever form was asked for.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/dialect/dialect.h"
#include "common/dialect/vector.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void
must(bool ok, const char *why)
{
	if (ok)
		return;
	fprintf(stderr, "%s\n", why);
	abort();
}

static const struct {
	enum dl_dialect surface;
	const char *body;
} asks[] = {
	{ DL_OPENAI_EMBEDDINGS, "{\"model\":\"m\",\"input\":[\"a\",\"b\"]}" },
	{ DL_OPENAI_EMBEDDINGS, "{\"model\":\"m\",\"input\":[\"a\",\"b\"],\"encoding_format\":\"base64\",\"dimensions\":2}" },
	{ DL_OPENAI_RERANK, "{\"model\":\"m\",\"query\":\"q\",\"documents\":[\"a\",{\"text\":\"b\"},\"c\"],\"top_n\":2}" },
	{ DL_OPENAI_RERANK, "{\"model\":\"m\",\"query\":\"q\",\"documents\":[\"a\",{\"text\":\"b\"}],\"return_documents\":true}" },
	{ DL_OPENAI_IMAGES, "{\"model\":\"m\",\"prompt\":\"p\",\"n\":2}" },
	{ DL_OPENAI_IMAGES, "{\"model\":\"m\",\"prompt\":\"p\",\"response_format\":\"b64_json\"}" },
	{ DL_OPENAI_IMAGES, "{\"model\":\"m\",\"prompt\":\"p\",\"stream\":true}" },
	{ DL_OPENAI_IMAGES, "{\"model\":\"m\",\"prompt\":\"p\",\"response_format\":\"url\"}" },
	/* with 8 in the first byte */
	{ DL_OPENAI_IMAGE_EDITS, "{\"model\":\"m\",\"prompt\":\"p\","
				 "\"images\":[{\"image_url\":\"data:image/png;base64,iVBORw0KGgo=\"}]}" },
};

struct ask {
	enum dl_dialect surface;
	struct tf_span body;
	unsigned how;
};

/* False: refused. Whole and in slices alike. */
static bool
scan(const struct ask *a, size_t step, struct dl_scan *s)
{
	static struct dl_scan sliced;
	int r, r2 = 0;

	dl_scan_init(s, a->surface, 32, 5000);
	dl_scan_init(&sliced, a->surface, 32, 5000);
	r = dl_scan_end(s, a->body.p, a->body.n);
	for (size_t at = step; r2 == 0 && at < a->body.n; at += step)
		r2 = dl_scan_feed(&sliced, a->body.p, at);
	if (r2 == 0)
		r2 = dl_scan_end(&sliced, a->body.p, a->body.n);
	must(r == r2, "slices give another verdict");
	must((r == 0) == (s->fault.err == 0), "refused without a fault, or accepted with one");
	must(strcmp(s->fault.param, sliced.fault.param) == 0, "slices give another param");
	must(r != 0 || s->head.prompt_bytes == sliced.head.prompt_bytes, "slices give another size");
	return r == 0;
}

static bool
sound(const char *type, struct tf_span body)
{
	struct dl_form_reader f;

	if (!dl_form_is(tf_cspan(type)))
		return js_valid(body) == 0;
	return dl_form_init(&f, tf_cspan(type), 0, NULL, NULL) == 0 && dl_form_end(&f, body.p, body.n) == 0;
}

/* Events of images, each of the type that its first line says. */
static void
typed(struct tf_span s)
{
	while (s.n > 0) {
		const char *data = memmem(s.p, s.n, "\ndata: ", 7), *end = memmem(s.p, s.n, "\n\n", 2);
		struct tf_span json, v = { NULL, 0 };

		must(s.n > 7 && memcmp(s.p, "event: ", 7) == 0 && data != NULL && end > data, "half an event");
		json = tf_span(data + 7, (size_t)(end - data) - 7);
		must(js_valid(json) == 0 && js_member(json, "type", &v), "data without a type");
		must(js_str_eqn(v, tf_span(s.p + 7, (size_t)(data - s.p) - 7)), "another type in the data");
		s = tf_span(end + 2, s.n - (size_t)(end + 2 - s.p));
	}
}

/* The error, 0 when the answer is complete. */
static int
answer(const struct ask *a, const struct dl_head *head, struct tf_span bytes, size_t step, struct tf_buf *out)
{
	struct dl_xlate_conf conf = { .surface = a->surface, .runtime = DL_OPENAI_CHAT, .asked = TF_SPAN("m"),
		.model = TF_SPAN("r"), .base_url = a->how & 16 ? TF_SPAN("https://api.test") : TF_SPAN(""),
		.quirks = a->how & 64 ? DL_Q_HOSTED | DL_Q_RERANK_TEXTS : 0 };
	struct dl_xlate *x = dl_xlate_new(&conf, head);
	const struct dl_facts *f;
	struct tf_buf sent = { 0 };
	struct dl_kept kept;
	struct tf_span url;
	int err;

	must(x != NULL, "memory");
	f = dl_xlate_facts(x);
	err = dl_xlate_request(x, a->body, &sent);
	if (err != 0) {
		/* that the bytes of an image are none shows late */
		must(a->surface == DL_OPENAI_IMAGE_EDITS && f->fault.err == TF_E_BAD_REQUEST, "an accepted request is not sent");
		err = f->fault.err;
		tf_buf_free(&sent);
		dl_xlate_free(&x);
		return err;
	}
	must(sound(dl_xlate_request_type(x), tf_buf_span(&sent)), "the runtime gets neither JSON nor a form");
	dl_xlate_head(x, 200, a->how & 32 ? TF_SPAN("text/event-stream") : TF_SPAN("application/json"), 0);
	for (size_t at = 0; at < bytes.n; at += step)
		must(dl_xlate_feed(x, bytes.p + at, bytes.n - at < step ? bytes.n - at : step, out) == 0, "feed");
	must(dl_xlate_end(x, out) == 0, "end");
	for (unsigned i = 0; dl_xlate_wants(x, &url); i++) {
		must(i < 10 && url.n > 0 && !f->complete && f->fault.err == 0, "more is fetched than there can be");
		must(dl_xlate_fetched(x, a->how & 128 ? TF_SPAN("GIF89a") : tf_span(NULL, 0), out) == 0, "fetched");
	}
	err = f->fault.err;
	must(f->complete == (err == 0), "neither complete nor failed");
	must(err == 0 || head->stream || out->n == 0, "bytes of a failed answer");
	must(err != 0 || head->stream || js_valid(tf_buf_span(out)) == 0, "the client gets no JSON");
	must(err != 0 || out->n > 0, "an empty answer");
	if (err == 0 && head->stream)
		typed(tf_buf_span(out));
	must(f->units.images <= head->n, "more images than were asked for");
	for (size_t i = 0; dl_xlate_kept(x, i, &kept); i++)
		must(kept.bytes.n > 0 && kept.name.n > 40, "nothing is kept, or where anybody finds it");
	tf_buf_free(&sent);
	dl_xlate_free(&x);
	return err;
}

/* Names of what is kept are random, so only the size can be the same. */
static bool
alike(const struct ask *a, const struct tf_buf *one, const struct tf_buf *other)
{
	if (one->n != other->n)
		return false;
	if (a->surface == DL_OPENAI_IMAGES || a->surface == DL_OPENAI_IMAGE_EDITS)
		return true; /* and the time, where the runtime gave none */
	return tf_span_eq(tf_buf_span(one), tf_buf_span(other));
}

/* One answer asked for as numbers and as base64. */
static void
same_vectors(struct tf_span bytes)
{
	static struct dl_scan s;
	struct tf_buf out[2] = { { 0 }, { 0 } };
	struct tf_span list[2], one[2], v[2];
	struct js_iter it[2];
	bool good = true;

	for (unsigned i = 0; i < 2; i++) {
		struct ask a = { DL_OPENAI_EMBEDDINGS, tf_cspan(i == 0 ? "{\"model\":\"m\",\"input\":[\"a\",\"b\"]}" :
			"{\"model\":\"m\",\"input\":[\"a\",\"b\"],\"encoding_format\":\"base64\"}"), 0 };

		must(scan(&a, 1000, &s), "our own request is refused");
		good = answer(&a, &s.head, bytes, bytes.n + 1, &out[i]) == 0 && good;
		if (good)
			must(js_member(tf_buf_span(&out[i]), "data", &list[i]), "no data");
	}
	for (unsigned i = 0; good && i < 2; i++)
		js_iter_init(&it[i], list[i]);
	while (good && js_iter_next(&it[0], NULL, &one[0])) {
		struct tf_buf b64 = { 0 };

		must(js_iter_next(&it[1], NULL, &one[1]), "fewer vectors");
		for (unsigned i = 0; i < 2; i++)
			must(js_member(one[i], "embedding", &v[i]), "no vector");
		must(dl_vector_encode(v[0], &b64) == 0, "numbers that are none");
		must(v[1].n == b64.n + 2 && memcmp(v[1].p + 1, b64.p, b64.n) == 0, "other numbers");
		tf_buf_free(&b64);
	}
	tf_buf_free(&out[0]);
	tf_buf_free(&out[1]);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct dl_scan s;
	static bool ready;
	struct tf_buf whole = { 0 }, cut = { 0 };
	struct tf_span bytes;
	const char *eol;
	struct ask a;
	size_t step, which;
	int err;

	if (!ready)
		must(dl_init() == 0, "init");
	ready = true;
	eol = n > 2 ? memchr(data + 2, '\n', n - 2) : NULL;
	if (eol == NULL)
		return 0;
	step = data[1] % 37 + 1;
	bytes = tf_span(eol + 1, (size_t)((const char *)data + n - eol - 1));
	which = data[0] & 8 ? TF_LEN(asks) - 1 : data[0] & 7;
	a = (struct ask){ asks[which].surface, tf_span(data + 2, (size_t)(eol - (const char *)data - 2)), data[0] };
	if (a.body.n == 0)
		a.body = tf_cspan(asks[which].body);
	if (!scan(&a, step, &s))
		return 0;
	err = answer(&a, &s.head, bytes, bytes.n + 1, &whole);
	must(answer(&a, &s.head, bytes, step, &cut) == err, "slices give another fault");
	must(err != 0 || alike(&a, &whole, &cut), "slices give other bytes");
	if (a.surface == DL_OPENAI_EMBEDDINGS)
		same_vectors(bytes);
	tf_buf_free(&whole);
	tf_buf_free(&cut);
	return 0;
}
