/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The legal order of canonical events. Debug builds, tests and fuzzers run every event of every
 * decoder through it, so that encoders need not be defensive. Knows no dialect.
 *
 * answer  = START ( choice-event | USAGE | PING | RAW )* [ ERROR ]
 * choice  = ( ITEM piece* ITEM_END )* FINISH     items numbered from 0. Calls may stay open while
 * others begin; text, reasoning and refusal end before anything else begins ERROR, PING and RAW may
 * also come before START.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "common/dialect/canon.h"

struct grammar_item {
	uint8_t kind;
	bool open;
};
struct dl_grammar_choice {
	struct grammar_item *item;
	uint32_t nitem;
	uint32_t open; /* how many are open */
	bool said;     /* a text, reasoning or refusal item is open */
	bool finished;
};

static const char *const ev_name[] = {
#define EVENT(sym, name, meaning) name,
#include "common/dialect/event.def"
#undef EVENT
};

const char *
dl_ev_name(enum dl_ev ev)
{
	return (size_t)ev < TF_LEN(ev_name) ? ev_name[ev] : "?";
}

const char *
dl_finish_name(enum dl_finish finish)
{
	static const char *const name[] = { NULL, "stop", "length", "tool_calls",
		"content_filter" };

	return (size_t)finish < TF_LEN(name) ? name[finish] : NULL;
}

static int
bad(const char **why, const char *text)
{
	*why = text;
	return TF_E_PROTO;
}

static int
choice_at(struct dl_grammar *g, uint32_t n, struct dl_grammar_choice **out)
{
	struct dl_grammar_choice *v = dl_choices(g->choice, n, &g->nchoice, sizeof *v);

	if (v == NULL)
		return TF_E_NOMEM;
	g->choice = v;
	*out = &v[n];
	return 0;
}

static int
item_begins(struct dl_grammar_choice *c, const struct dl_event *e, const char **why)
{
	struct grammar_item *v;

	if (e->item != c->nitem)
		return bad(why, "item number out of order");
	if (e->item_kind >= DL_ITEM_COUNT)
		return bad(why, "unknown kind of item");
	if (c->said)
		return bad(why, "item begins inside text, reasoning or a refusal");
	if (e->item_kind == DL_ITEM_CALL && (e->id.n == 0 || e->name.n == 0))
		return bad(why, "call without id or name");
	v = realloc(c->item, (c->nitem + 1) * sizeof *v);
	if (v == NULL)
		return TF_E_NOMEM;
	c->item = v;
	v[c->nitem++] = (struct grammar_item){ (uint8_t)e->item_kind, true };
	c->open++;
	if (e->item_kind != DL_ITEM_CALL)
		c->said = true;
	return 0;
}

static bool
fits(enum dl_ev ev, unsigned kind)
{
	switch (ev) {
	case DL_EV_TEXT:
		return kind == DL_ITEM_TEXT || kind == DL_ITEM_REFUSAL;
	case DL_EV_REASONING:
	case DL_EV_SIGNATURE:
		return kind == DL_ITEM_REASONING;
	case DL_EV_ARGS:
		return kind == DL_ITEM_CALL;
	default:
		return true;
	}
}

static int
choice_event(struct dl_grammar *g, const struct dl_event *e, const char **why)
{
	struct dl_grammar_choice *c;
	int r;

	if (e->choice >= DL_CHOICES_MAX)
		return bad(why, "choice number too high");
	r = choice_at(g, e->choice, &c);
	if (r < 0)
		return r;
	if (c->finished)
		return bad(why, "event behind the finish of its choice");
	if (e->kind == DL_EV_ITEM)
		return item_begins(c, e, why);
	if (e->kind == DL_EV_FINISH) {
		c->finished = true;
		if (c->open > 0)
			return bad(why, "finish with an open item");
		return e->finish != DL_FINISH_NONE ? 0 : bad(why, "finish without a reason");
	}
	if (e->item >= c->nitem || !c->item[e->item].open)
		return bad(why, "no such item is open");
	if (c->item[e->item].kind != e->item_kind || !fits(e->kind, e->item_kind))
		return bad(why, "event does not fit its item");
	if (e->kind == DL_EV_ITEM_END) {
		c->item[e->item].open = false;
		c->open--;
		if (e->item_kind != DL_ITEM_CALL)
			c->said = false;
	}
	return 0;
}

int
dl_grammar_check(struct dl_grammar *g, const struct dl_event *e, const char **why)
{
	if (g->failed)
		return bad(why, "event behind an error");
	switch (e->kind) {
	case DL_EV_START:
		if (g->started)
			return bad(why, "second start");
		g->started = true;
		return 0;
	case DL_EV_ERROR:
		g->failed = true;
		return e->fault != NULL && e->fault->err > 0 ? 0
							     : bad(why, "error without a fault");
	case DL_EV_PING:
	case DL_EV_RAW:
		return 0;
	case DL_EV_USAGE:
		return g->started ? 0 : bad(why, "usage before the start");
	default:
		if ((unsigned)e->kind >= DL_EV_COUNT)
			return bad(why, "unknown event");
		return g->started ? choice_event(g, e, why) : bad(why, "item before the start");
	}
}

int
dl_grammar_end(const struct dl_grammar *g, const char **why)
{
	if (g->failed)
		return 0;
	if (!g->started)
		return bad(why, "end before the start");
	for (size_t i = 0; i < g->nchoice; i++) {
		const struct dl_grammar_choice *c = &g->choice[i];

		if (!c->finished && c->nitem > 0)
			return bad(why, "end with an unfinished choice");
	}
	return 0;
}

void
dl_grammar_fini(struct dl_grammar *g)
{
	for (size_t i = 0; i < g->nchoice; i++)
		free(g->choice[i].item);
	free(g->choice);
	memset(g, 0, sizeof *g);
}
