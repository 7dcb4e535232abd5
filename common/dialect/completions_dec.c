/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decodes answers of the openai_completions dialect, streamed or whole, into canonical events. Mends
 * what runtimes get wrong: missing finish reasons, broken UTF-8, usage anywhere. Whatever comes in,
 * the events obey grammar.c. Called by xlate.c.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "common/dialect/completions.h"
#include "common/dialect/mend.h"
#include "common/dialect/openai.h"

enum {
	M_ID,
	M_OBJECT,
	M_CREATED,
	M_MODEL,
	M_USAGE,
	M_ERROR,
	M_CHOICES,
	M_EXTRA,
	M_CHOICE,
	M_INDEX,
	M_TEXT,
	M_FINISH,
	M_LOGPROBS,
	M_CHOICE_EXTRA,
};

/* A member given twice would mean one thing here and another to the client: such a chunk is malformed. */
static const struct js_path paths[] = {
	{ "id", M_ID, JS_UNIQUE },
	{ "object", M_OBJECT, JS_UNIQUE },
	{ "created", M_CREATED, JS_UNIQUE },
	{ "model", M_MODEL, JS_UNIQUE },
	{ "usage", M_USAGE, JS_UNIQUE },
	{ "error", M_ERROR, JS_UNIQUE },
	{ "choices", M_CHOICES, JS_UNIQUE },
	{ "*", M_EXTRA, 0 },
	{ "choices[*]", M_CHOICE, JS_AT_START },
	{ "choices[*].index", M_INDEX, JS_UNIQUE },
	{ "choices[*].text", M_TEXT, JS_UNIQUE },
	{ "choices[*].finish_reason", M_FINISH, JS_UNIQUE },
	{ "choices[*].logprobs", M_LOGPROBS, JS_UNIQUE },
	{ "choices[*].*", M_CHOICE_EXTRA, 0 },
};

static struct js_interest *interest;

int
completions_dec_init(void)
{
	return js_interest_new(paths, TF_LEN(paths), &interest);
}

void
completions_dec_exit(void)
{
	js_interest_free(&interest);
}

/* ---- one chunk, or one whole answer, parsed ---------------------------------------------- */

struct piece { /* an entry of choices; raw values, empty: absent, null or of a type that cannot be */
	bool has_index;
	uint32_t index;
	struct tf_span text, finish, logprobs;
};

#define EXTRAS 64
#define TOP UINT32_MAX

struct extra {
	uint32_t piece; /* TOP: of the answer itself */
	struct tf_span key, value;
};

struct answer {
	struct tf_span data, id, created, usage, error;
	bool choices;
	uint32_t npiece;
	struct piece piece[DL_CHOICES_MAX];
	uint32_t nextra;
	struct extra extra[EXTRAS];
};

struct choice {
	bool used, open, finished;
};

struct dl_dec {
	struct dl_dec_conf conf;
	struct answer m;
	struct tf_buf scratch, mended;
	struct dl_carry carry;
	bool started, done, failed;
	uint32_t nchoice;
	struct choice choice[DL_CHOICES_MAX];
};

static void
in_choice(struct answer *m, const struct js_hit *h)
{
	struct piece *p = &m->piece[h->index[0]];
	struct tf_span v = js_hit_text(m->data.p, h);
	uint64_t n;

	switch (h->id) {
	case M_INDEX:
		p->has_index = h->type == JS_NUMBER && js_get_u64(v, &n) == 0 && n <= UINT32_MAX;
		p->index = p->has_index ? (uint32_t)n : 0;
		return;
	case M_TEXT:
		p->text = h->type == JS_STRING ? v : p->text;
		return;
	case M_FINISH:
		p->finish = h->type == JS_STRING && h->text > 0 ? v : p->finish;
		return;
	case M_LOGPROBS:
		p->logprobs = h->type == JS_OBJECT ? v : p->logprobs;
		return;
	default:
		return;
	}
}

static int
on_hit(void *arg, const struct js_hit *h)
{
	struct answer *m = arg;
	struct tf_span v;

	if (h->id >= M_CHOICE && h->index[0] >= DL_CHOICES_MAX)
		return TF_E_FULL;
	if (h->begin) {
		if (h->id == M_CHOICE) {
			memset(&m->piece[h->index[0]], 0, sizeof m->piece[0]);
			m->npiece = h->index[0] + 1;
		}
		return 0;
	}
	v = js_hit_text(m->data.p, h);
	switch (h->id) {
	case M_ID:
		m->id = h->type == JS_STRING ? v : m->id;
		return 0;
	case M_CREATED:
		m->created = h->type == JS_NUMBER ? v : m->created;
		return 0;
	case M_USAGE:
		m->usage = h->type == JS_OBJECT ? v : m->usage;
		return 0;
	case M_ERROR:
		m->error = h->type == JS_NULL ? m->error : v;
		return 0;
	case M_CHOICES:
		m->choices = h->type == JS_ARRAY;
		return 0;
	case M_EXTRA:
	case M_CHOICE_EXTRA:
		if (m->nextra < EXTRAS)
			m->extra[m->nextra++] = (struct extra){ h->id == M_EXTRA ? TOP : h->index[0],
				tf_span(m->data.p + h->key, h->keyend - h->key), v };
		return 0;
	case M_OBJECT:
	case M_MODEL:
		return 0;
	default:
		in_choice(m, h);
		return 0;
	}
}

static int
parse_text(struct answer *m, struct tf_span data)
{
	struct js_scan s;
	int r;

	m->data = data;
	m->id = m->created = m->usage = m->error = tf_span(NULL, 0);
	m->choices = false;
	m->npiece = m->nextra = 0;
	js_scan_init(&s, interest, on_hit, m);
	r = js_scan_end(&s, data.p, data.n);
	return r == 0 && s.root != JS_OBJECT ? TF_E_INVAL : r;
}

/* Text with broken UTF-8 is mended first. */
static int
parse(struct dl_dec *d, struct tf_span data)
{
	int r = parse_text(&d->m, data);

	if (r != TF_E_INVAL || dl_utf8_ok(data)) {
		d->carry.n = 0;
		return r;
	}
	tf_buf_reset(&d->mended);
	r = dl_mend(&d->carry, data, &d->mended);
	return r < 0 ? r : parse_text(&d->m, tf_buf_span(&d->mended));
}

/* ---- events ------------------------------------------------------------------------------ */

static int
fault(struct dl_dec *d, const struct dl_fault *f)
{
	struct dl_event e = { .kind = DL_EV_ERROR, .fault = f };

	d->failed = true;
	return d->conf.emit(d->conf.arg, &e);
}

static int
failed(struct dl_dec *d, const char *why)
{
	struct dl_fault f;

	dl_fault_set(&f, TF_E_UPSTREAM_ERROR, NULL, "%s", why);
	f.retryable = true;
	return fault(d, &f);
}

static int
start(struct dl_dec *d)
{
	struct dl_event e = { .kind = DL_EV_START };
	int r = 0;

	if (d->started)
		return 0;
	d->started = true;
	tf_buf_reset(&d->scratch);
	if (d->m.id.n > 0)
		r = js_str(d->m.id, &d->scratch, &e.id);
	if (d->m.created.n == 0 || js_get_i64(d->m.created, &e.created) < 0 || e.created < 0)
		e.created = 0;
	return r < 0 ? r : d->conf.emit(d->conf.arg, &e);
}

static int
extras(struct dl_dec *d, uint32_t piece, uint32_t n)
{
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < d->m.nextra; i++) {
		const struct extra *x = &d->m.extra[i];
		struct dl_event e = { .kind = DL_EV_RAW,
			.choice = n,
			.level = piece == TOP ? DL_LEVEL_TOP : DL_LEVEL_CHOICE,
			.origin = DL_OPENAI_COMPLETIONS,
			.name = x->key,
			.text = x->value };

		if (x->piece == piece)
			r = d->conf.emit(d->conf.arg, &e);
	}
	return r;
}

static int
say(struct dl_dec *d, uint32_t n, const struct piece *p)
{
	struct dl_event e = { .kind = DL_EV_ITEM, .choice = n, .item_kind = DL_ITEM_TEXT };
	struct choice *c = &d->choice[n];
	struct tf_span s = { NULL, 0 };
	int r = 0;

	tf_buf_reset(&d->scratch);
	if (p->text.n > 0)
		r = js_str(p->text, &d->scratch, &s);
	if (r < 0 || (s.n == 0 && p->logprobs.n == 0))
		return r;
	if (!c->open) {
		c->open = true;
		r = d->conf.emit(d->conf.arg, &e);
		if (r < 0)
			return r;
	}
	e.kind = DL_EV_TEXT;
	e.text = s;
	e.logprobs = p->logprobs;
	return d->conf.emit(d->conf.arg, &e);
}

static int
finish(struct dl_dec *d, uint32_t n, enum dl_finish why)
{
	struct dl_event end = { .kind = DL_EV_ITEM_END, .choice = n, .item_kind = DL_ITEM_TEXT };
	struct dl_event e = { .kind = DL_EV_FINISH, .choice = n, .finish = why == DL_FINISH_CALLS ? DL_FINISH_STOP : why };
	struct choice *c = &d->choice[n];
	int r = 0;

	c->finished = true;
	if (c->open)
		r = d->conf.emit(d->conf.arg, &end);
	return r < 0 ? r : d->conf.emit(d->conf.arg, &e);
}

static int
piece(struct dl_dec *d, uint32_t i)
{
	const struct piece *p = &d->m.piece[i];
	/* when one answer was asked for it is the first, whatever number it bears */
	uint32_t n = p->has_index && d->conf.n > 1 ? p->index : i;
	enum dl_finish why;
	bool gave_up;
	int r;

	if (n >= d->conf.n || n >= DL_CHOICES_MAX || (n < d->nchoice && d->choice[n].finished))
		return 0;
	if (n >= d->nchoice)
		d->nchoice = n + 1;
	d->choice[n].used = true;
	/* what stands beside the reason belongs to the end, not to the text */
	r = p->finish.n == 0 ? extras(d, i, n) : 0;
	if (r == 0)
		r = say(d, n, p);
	if (r < 0 || p->finish.n == 0)
		return r;
	why = chat_finish(p->finish, &gave_up);
	if (gave_up)
		return failed(d, "The model's runtime gave up on this answer.");
	r = extras(d, i, n);
	return r < 0 ? r : finish(d, n, why);
}

static int
message(struct dl_dec *d)
{
	struct dl_event e = { .kind = DL_EV_USAGE, .origin = DL_OPENAI_COMPLETIONS };
	struct dl_fault f;
	int r;

	if (d->m.error.n > 0) {
		dl_upstream_fault(200, d->m.data, 0, d->conf.quirks, &f);
		return fault(d, &f);
	}
	if (!d->m.choices && d->m.usage.n == 0)
		return d->started ? extras(d, TOP, 0) : TF_E_INVAL;
	r = start(d);
	if (r == 0)
		r = extras(d, TOP, 0);
	for (uint32_t i = 0; r == 0 && !d->failed && i < d->m.npiece; i++)
		r = piece(d, i);
	if (r == 0 && !d->failed && d->m.usage.n > 0 && chat_usage(d->m.usage, &e.usage)) {
		e.text = d->m.usage;
		r = d->conf.emit(d->conf.arg, &e);
	}
	return r;
}

/* Nothing more comes: what is not finished is finished here, for that reason. */
static int
settle(struct dl_dec *d, enum dl_finish why)
{
	bool some = false;
	int r = 0;

	if (d->done || d->failed)
		return 0;
	for (uint32_t i = 0; i < d->nchoice; i++)
		some = some || d->choice[i].finished || d->choice[i].open;
	for (uint32_t i = 0; some && r == 0 && i < d->nchoice; i++)
		if (d->choice[i].used && !d->choice[i].finished)
			r = finish(d, i, why);
	d->done = some && r == 0;
	return some ? r : failed(d, "The model's runtime ended without an answer.");
}

/* ---- the vtable -------------------------------------------------------------------------- */

struct dl_dec *
completions_dec_new(const struct dl_dec_conf *conf)
{
	struct dl_dec *d = calloc(1, sizeof *d);

	if (d != NULL)
		d->conf = *conf;
	return d;
}

void
completions_dec_free(struct dl_dec **dp)
{
	struct dl_dec *d = *dp;

	*dp = NULL;
	if (d == NULL)
		return;
	tf_buf_free(&d->scratch);
	tf_buf_free(&d->mended);
	free(d);
}

static bool
is_done_mark(struct tf_span data)
{
	while (data.n > 0 && data.p[data.n - 1] == ' ')
		data.n--;
	return tf_span_is(data, "[DONE]");
}

int
completions_dec_event(struct dl_dec *d, struct tf_span event, struct tf_span data)
{
	struct dl_fault f;
	int r;

	if (d->done || d->failed)
		return 0;
	if (is_done_mark(data))
		return settle(d, DL_FINISH_STOP); /* it forgot to say so */
	r = parse(d, data);
	if (r == TF_E_NOMEM)
		return r;
	if (tf_span_is(event, "error") && (r < 0 || d->m.error.n == 0)) {
		dl_upstream_fault(200, r < 0 ? tf_span(NULL, 0) : data, 0, d->conf.quirks, &f);
		return fault(d, &f);
	}
	return r < 0 ? TF_E_INVAL : message(d);
}

int
completions_dec_response(struct dl_dec *d, struct tf_span body)
{
	int r = parse(d, body);

	if (r == 0)
		r = message(d);
	if (r == 0)
		r = settle(d, DL_FINISH_STOP);
	return r == 0 || r == TF_E_NOMEM ? r : failed(d, "The model's runtime gave an answer that cannot be read.");
}

int
completions_dec_end(struct dl_dec *d)
{
	if (d->failed || completions_dec_state(d) != DL_GOING) {
		d->done = !d->failed;
		return 0;
	}
	return failed(d, "The model's runtime broke off its answer.");
}

int
completions_dec_cut(struct dl_dec *d)
{
	return settle(d, DL_FINISH_LENGTH);
}

enum dl_state
completions_dec_state(const struct dl_dec *d)
{
	bool some = false;

	for (uint32_t i = 0; i < d->nchoice; i++) {
		if (d->choice[i].used && !d->choice[i].finished)
			return DL_GOING;
		some = some || d->choice[i].finished;
	}
	return !some ? DL_GOING : d->done ? DL_DONE : DL_FINISHED;
}
