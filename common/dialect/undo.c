/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events on their way from a runtime's decoder to the client's encoder, where the runtime was asked in other words
 * than the client's. What comes out obeys grammar.c as what goes in does. Called by xlate_facts.c; what there is to
 * turn back is said by the encoders of requests.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "common/dialect/args.h"
#include "common/dialect/undo.h"

#define HELD_MAX (16u << 20) /* text that waits for a call which may be the answer, bytes */
#define FENCE_MAX 64         /* bytes in which a code fence has to begin */
#define WORD_MAX 15          /* of the language that it names */

enum how {
	HOW_SAME,   /* as it came */
	HOW_CUSTOM, /* a call of a function that was a custom tool */
	HOW_ANSWER, /* a call that is the answer */
	HOW_HELD,   /* text that is the answer only if no call comes */
	HOW_FENCE,  /* text that may stand in a code fence */
	HOW_GONE,   /* nobody gets it */
};

struct undo_item {
	enum how how;
	uint32_t as;   /* its number for the encoder */
	bool some;     /* ANSWER: a piece came */
	struct dl_unwrap unwrap; /* CUSTOM */
};

enum fence { FENCE_MAYBE, FENCE_NONE, FENCE_IN, FENCE_OVER };

struct undo_choice {
	struct undo_item *item;
	uint32_t nitem, cap;
	uint32_t given;     /* items that the encoder knows */
	bool answered;
	struct tf_buf held; /* of HELD items */
	enum fence fence;   /* of the text that is open ... */
	struct tf_buf lead; /* ... what may be its beginning ... */
	struct dl_track track; /* ... and the object in it */
};

struct dl_undo {
	dl_emit_fn *emit;
	void *arg;
	struct tf_buf custom; /* names, a list */
	bool answer, fence;
	struct undo_choice *choice;
	uint32_t nchoice;
	struct tf_buf scratch;
};

struct dl_undo *
dl_undo_new(dl_emit_fn *emit, void *arg)
{
	struct dl_undo *u = calloc(1, sizeof *u);

	if (u != NULL) {
		u->emit = emit;
		u->arg = arg;
	}
	return u;
}

void
dl_undo_reset(struct dl_undo *u)
{
	for (uint32_t i = 0; i < u->nchoice; i++) {
		struct undo_choice *c = &u->choice[i];

		for (uint32_t k = 0; k < c->nitem; k++)
			dl_unwrap_fini(&c->item[k].unwrap);
		free(c->item);
		tf_buf_free(&c->held);
		tf_buf_free(&c->lead);
	}
	free(u->choice);
	u->choice = NULL;
	u->nchoice = 0;
}

void
dl_undo_free(struct dl_undo **up)
{
	struct dl_undo *u = *up;

	*up = NULL;
	if (u == NULL)
		return;
	dl_undo_reset(u);
	tf_buf_free(&u->custom);
	tf_buf_free(&u->scratch);
	free(u);
}

/* ---- what there is to turn back ---------------------------------------------------------- */

int
dl_undo_custom(struct dl_undo *u, struct tf_span name)
{
	struct tf_buf *list;
	int r;

	if (u == NULL)
		return 0;
	list = &u->custom;
	r = tf_buf_addc(list, '[');
	if (r == 0 && list->n > 1) {
		list->n--; /* behind the bracket that closed it */
		list->p[list->n - 1] = ',';
	}
	if (r == 0)
		r = js_quote(list, name);
	return r < 0 ? r : tf_buf_addc(list, ']');
}

void
dl_undo_answer(struct dl_undo *u)
{
	if (u != NULL)
		u->answer = u->fence = true;
}

void
dl_undo_fence(struct dl_undo *u)
{
	if (u != NULL)
		u->fence = true;
}

bool
dl_undo_idle(const struct dl_undo *u)
{
	return u == NULL || (u->custom.n == 0 && !u->answer && !u->fence);
}

static bool
is_custom(const struct dl_undo *u, struct tf_span name)
{
	struct tf_span el;
	struct js_iter it;

	js_iter_init(&it, tf_buf_span(&u->custom));
	while (js_iter_next(&it, NULL, &el))
		if (js_str_eqn(el, name))
			return true;
	return false;
}

/* ---- items ------------------------------------------------------------------------------- */

static struct undo_choice *
choice_at(struct dl_undo *u, uint32_t n)
{
	struct undo_choice *v;

	if (n < u->nchoice)
		return &u->choice[n];
	v = dl_choices(u->choice, n, &u->nchoice, sizeof *v);
	if (v == NULL)
		return NULL;
	u->choice = v;
	return &v[n];
}

static struct undo_item *
new_item(struct undo_choice *c)
{
	struct undo_item *v = tf_grow(c->item, c->nitem, &c->cap, sizeof *v, 4);

	if (v == NULL)
		return NULL;
	c->item = v;
	v = &c->item[c->nitem++];
	memset(v, 0, sizeof *v);
	return v;
}

static int
give(struct dl_undo *u, const struct undo_item *it, const struct dl_event *e)
{
	struct dl_event as = *e;

	as.item = it->as;
	return u->emit(u->arg, &as);
}

/* An event of that kind for an item that is text now; of text: empty says nothing. */
static int
give_text(struct dl_undo *u, const struct undo_item *it, enum dl_ev kind, uint32_t choice, struct tf_span text)
{
	struct dl_event e = { .kind = kind, .choice = choice, .item_kind = DL_ITEM_TEXT, .text = text };

	return kind == DL_EV_TEXT && text.n == 0 ? 0 : give(u, it, &e);
}

/* ---- code fences ------------------------------------------------------------------------- */

static bool
blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Where the JSON in a fence begins; 0: that cannot be told yet; SIZE_MAX: there is no fence. */
static size_t
fence_inside(struct tf_span s)
{
	size_t i = 0, from;

	while (i < s.n && blank(s.p[i]))
		i++;
	for (from = i; i < s.n && i < from + 3; i++)
		if (s.p[i] != '`')
			return SIZE_MAX;
	for (from = i; i < s.n && i <= from + WORD_MAX && (dl_plain_char(s.p[i]) || s.p[i] == '+'); i++)
		;
	while (i < s.n && blank(s.p[i]))
		i++;
	if (i == s.n)
		return s.n < FENCE_MAX ? 0 : SIZE_MAX;
	return s.p[i] == '{' || s.p[i] == '[' ? i : SIZE_MAX;
}

/* The object in the fence, to its end. */
static int
fence_in(struct dl_undo *u, struct undo_choice *c, const struct undo_item *it, uint32_t n, struct tf_span s)
{
	size_t i = 0;

	while (i < s.n && !c->track.whole)
		dl_track(&c->track, tf_span(s.p + i++, 1));
	if (c->track.whole)
		c->fence = FENCE_OVER;
	return give_text(u, it, DL_EV_TEXT, n, tf_span(s.p, i));
}

static int
fence_text(struct dl_undo *u, struct undo_choice *c, const struct undo_item *it, const struct dl_event *e)
{
	struct tf_span lead;
	size_t at;
	int r;

	switch (c->fence) {
	case FENCE_NONE:
		return give(u, it, e);
	case FENCE_IN:
		return fence_in(u, c, it, e->choice, e->text);
	case FENCE_OVER:
		return 0;
	case FENCE_MAYBE:
		break;
	}
	r = tf_buf_addspan(&c->lead, e->text);
	if (r < 0)
		return r;
	lead = tf_buf_span(&c->lead);
	at = fence_inside(lead);
	if (at == 0)
		return 0;
	c->fence = at == SIZE_MAX ? FENCE_NONE : FENCE_IN;
	r = at == SIZE_MAX ? give_text(u, it, DL_EV_TEXT, e->choice, lead)
			   : fence_in(u, c, it, e->choice, tf_span(lead.p + at, lead.n - at));
	tf_buf_reset(&c->lead);
	return r;
}

static void
fence_begin(struct undo_choice *c)
{
	c->fence = FENCE_MAYBE;
	c->track = (struct dl_track){ 0 };
	tf_buf_reset(&c->lead);
}

/* What never became a fence is text. */
static int
fence_end(struct dl_undo *u, struct undo_choice *c, const struct undo_item *it, uint32_t n)
{
	int r = give_text(u, it, DL_EV_TEXT, n, tf_buf_span(&c->lead));

	tf_buf_reset(&c->lead);
	return r;
}

/* ---- events ------------------------------------------------------------------------------ */

static int
begin(struct dl_undo *u, struct undo_choice *c, const struct dl_event *e)
{
	struct undo_item *it = new_item(c);
	struct dl_event as = *e;

	if (it == NULL)
		return TF_E_NOMEM;
	if (u->answer && c->answered) {
		it->how = HOW_GONE;
	} else if (e->item_kind == DL_ITEM_CALL && u->answer) {
		c->answered = true;
		it->how = HOW_ANSWER;
		as = (struct dl_event){ .kind = DL_EV_ITEM, .choice = e->choice, .item_kind = DL_ITEM_TEXT };
	} else if (e->item_kind == DL_ITEM_CALL && e->tool == DL_TOOL_FUNCTION && is_custom(u, e->name)) {
		it->how = HOW_CUSTOM;
		as.tool = DL_TOOL_CUSTOM;
	} else if (e->item_kind == DL_ITEM_TEXT && u->fence) {
		it->how = u->answer ? HOW_HELD : HOW_FENCE;
		fence_begin(c);
	}
	if (it->how == HOW_GONE || it->how == HOW_HELD)
		return 0;
	it->as = c->given++;
	return give(u, it, &as);
}

/* Arguments of a custom call: the text in them. end: no more will come. */
static int
unwrap(struct dl_undo *u, struct undo_item *it, const struct dl_event *e, bool end)
{
	struct dl_event piece = { .kind = DL_EV_ARGS, .choice = e->choice, .item_kind = DL_ITEM_CALL };
	int r;

	tf_buf_reset(&u->scratch);
	r = end ? dl_unwrap_end(&it->unwrap, &u->scratch) : dl_unwrap_feed(&it->unwrap, e->text, &u->scratch);
	piece.text = tf_buf_span(&u->scratch);
	return r < 0 || piece.text.n == 0 ? r : give(u, it, &piece);
}

static int
piece(struct dl_undo *u, struct undo_choice *c, struct undo_item *it, const struct dl_event *e)
{
	switch (it->how) {
	case HOW_SAME:
		return give(u, it, e);
	case HOW_CUSTOM:
		return e->kind == DL_EV_ARGS ? unwrap(u, it, e, false) : give(u, it, e);
	case HOW_ANSWER:
		it->some = it->some || e->text.n > 0;
		return give_text(u, it, DL_EV_TEXT, e->choice, e->text);
	case HOW_HELD:
		return c->held.n + e->text.n <= HELD_MAX ? tf_buf_addspan(&c->held, e->text) : TF_E_FULL;
	case HOW_FENCE:
		return fence_text(u, c, it, e);
	case HOW_GONE:
		break;
	}
	return 0;
}

static int
end(struct dl_undo *u, struct undo_choice *c, struct undo_item *it, const struct dl_event *e)
{
	int r = 0;

	switch (it->how) {
	case HOW_CUSTOM:
		r = unwrap(u, it, e, true);
		break;
	case HOW_ANSWER:
		r = it->some ? 0 : give_text(u, it, DL_EV_TEXT, e->choice, TF_SPAN("{}"));
		return r < 0 ? r : give_text(u, it, DL_EV_ITEM_END, e->choice, tf_span(NULL, 0));
	case HOW_FENCE:
		r = fence_end(u, c, it, e->choice);
		break;
	case HOW_HELD:
	case HOW_GONE:
		return 0;
	case HOW_SAME:
		break;
	}
	return r < 0 ? r : give(u, it, e);
}

/* No call came: what was said is the answer. */
static int
settle(struct dl_undo *u, struct undo_choice *c, uint32_t n)
{
	struct undo_item *it = new_item(c);
	struct dl_event e = { .kind = DL_EV_TEXT, .choice = n, .item_kind = DL_ITEM_TEXT, .text = tf_buf_span(&c->held) };
	int r;

	if (it == NULL)
		return TF_E_NOMEM;
	it->as = c->given++;
	fence_begin(c);
	r = give_text(u, it, DL_EV_ITEM, n, tf_span(NULL, 0));
	if (r == 0)
		r = fence_text(u, c, it, &e);
	if (r == 0)
		r = fence_end(u, c, it, n);
	tf_buf_free(&c->held);
	return r < 0 ? r : give_text(u, it, DL_EV_ITEM_END, n, tf_span(NULL, 0));
}

static int
finish(struct dl_undo *u, struct undo_choice *c, const struct dl_event *e)
{
	struct dl_event as = *e;
	int r = u->answer && !c->answered && c->held.n > 0 ? settle(u, c, e->choice) : 0;

	if (c->answered && e->finish == DL_FINISH_CALLS)
		as.finish = DL_FINISH_STOP;
	return r < 0 ? r : u->emit(u->arg, &as);
}

int
dl_undo_event(struct dl_undo *u, const struct dl_event *e)
{
	struct undo_choice *c;

	switch (e->kind) {
	case DL_EV_ITEM:
	case DL_EV_TEXT:
	case DL_EV_REASONING:
	case DL_EV_SIGNATURE:
	case DL_EV_ARGS:
	case DL_EV_ITEM_END:
	case DL_EV_FINISH:
		break;
	default:
		return u->emit(u->arg, e);
	}
	c = choice_at(u, e->choice);
	if (c == NULL)
		return TF_E_NOMEM;
	if (e->kind == DL_EV_FINISH)
		return finish(u, c, e);
	if (e->kind == DL_EV_ITEM)
		return begin(u, c, e);
	if (e->item >= c->nitem)
		return TF_E_STATE;
	return e->kind == DL_EV_ITEM_END ? end(u, c, &c->item[e->item], e) : piece(u, c, &c->item[e->item], e);
}
