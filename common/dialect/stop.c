/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks for stop strings in text as it comes. Called by xlate.c where a request names more of them
 * than its runtime takes. Holds back less than the longest of them.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "common/dialect/stop.h"

struct stop_choice {
	struct tf_buf held; /* text not passed on yet */
	uint32_t item;      /* of the held text */
	bool ended;
};

struct dl_stop {
	dl_emit_fn *emit;
	void *arg;
	struct tf_buf text;  /* the strings, one behind the other */
	struct tf_span *string;
	size_t nstring;
	struct stop_choice *choice;
	uint32_t nchoice;
	uint32_t ended;
};

void
dl_stop_reset(struct dl_stop *s)
{
	for (size_t i = 0; i < s->nchoice; i++) {
		tf_buf_reset(&s->choice[i].held);
		s->choice[i].ended = false;
	}
	s->ended = 0;
}

void
dl_stop_free(struct dl_stop **sp)
{
	struct dl_stop *s = *sp;

	*sp = NULL;
	if (s == NULL)
		return;
	for (size_t i = 0; i < s->nchoice; i++)
		tf_buf_free(&s->choice[i].held);
	tf_buf_free(&s->text);
	free(s->choice);
	free(s->string);
	free(s);
}

int
dl_stop_new(const struct dl_extra *strings, uint32_t most, dl_emit_fn *emit, void *arg, struct dl_stop **sp)
{
	const struct dl_extra *x;
	struct dl_stop *s;
	size_t n = 0, at = 0;
	int r = 0;

	dl_stop_free(sp);
	for (x = strings; x != NULL; x = x->next)
		n++;
	if (n <= most)
		return 0;
	*sp = s = calloc(1, sizeof *s);
	if (s == NULL)
		return TF_E_NOMEM;
	s->emit = emit;
	s->arg = arg;
	for (x = strings; r == 0 && x != NULL; x = x->next)
		r = tf_buf_addspan(&s->text, x->value);
	s->string = r == 0 ? calloc(n, sizeof *s->string) : NULL;
	if (s->string == NULL) {
		dl_stop_free(sp);
		return TF_E_NOMEM;
	}
	for (x = strings; x != NULL; at += x->value.n, x = x->next)
		if (x->value.n > 0)
			s->string[s->nstring++] = tf_span(s->text.p + at, x->value.n);
	return 0;
}

bool
dl_stop_over(const struct dl_stop *s, uint32_t n)
{
	return s != NULL && s->ended >= n;
}

static struct stop_choice *
choice_at(struct dl_stop *s, uint32_t n)
{
	struct stop_choice *more;

	if (n < s->nchoice)
		return &s->choice[n];
	more = dl_choices(s->choice, n, &s->nchoice, sizeof *more);
	if (more == NULL)
		return NULL;
	s->choice = more;
	return &more[n];
}

/* The first place where one of the strings stands, the longest of those that begin there; NULL none. */
static const struct tf_span *
find(const struct dl_stop *s, struct tf_span text, size_t *at)
{
	const struct tf_span *found = NULL;

	for (size_t i = 0; i < s->nstring; i++) {
		const char *p = memmem(text.p, text.n, s->string[i].p, s->string[i].n);
		size_t where = p != NULL ? (size_t)(p - text.p) : 0;

		if (p == NULL || (found != NULL && (where > *at || (where == *at && s->string[i].n <= found->n))))
			continue;
		found = &s->string[i];
		*at = where;
	}
	return found;
}

/* Bytes at the end of text that may be the beginning of a string. */
static size_t
undecided(const struct dl_stop *s, struct tf_span text)
{
	size_t most = 0;

	for (size_t i = 0; i < s->nstring; i++) {
		size_t n = s->string[i].n - 1;

		for (n = n < text.n ? n : text.n; n > most; n--)
			if (memcmp(text.p + text.n - n, s->string[i].p, n) == 0)
				most = n;
	}
	return most;
}

static int
pass_text(struct dl_stop *s, const struct dl_event *e, struct stop_choice *c, size_t n)
{
	struct dl_event part = *e;
	int r;

	if (n == 0)
		return 0;
	part.kind = DL_EV_TEXT;
	part.item = c->item;
	part.text = tf_span(c->held.p, n);
	r = s->emit(s->arg, &part);
	tf_buf_shift(&c->held, n);
	return r;
}

static int
end_choice(struct dl_stop *s, const struct dl_event *e, struct stop_choice *c, const struct tf_span *string)
{
	struct dl_event end = { .kind = DL_EV_ITEM_END, .choice = e->choice, .item = e->item, .item_kind = e->item_kind };
	int r = s->emit(s->arg, &end);

	c->ended = true;
	s->ended++;
	tf_buf_reset(&c->held);
	end = (struct dl_event){ .kind = DL_EV_FINISH, .choice = e->choice, .finish = DL_FINISH_STOP, .text = *string };
	return r != 0 ? r : s->emit(s->arg, &end);
}

static int
on_text(struct dl_stop *s, const struct dl_event *e, struct stop_choice *c)
{
	const struct tf_span *string;
	struct tf_span text;
	size_t at = 0;
	int r;

	c->item = e->item;
	if (tf_buf_addspan(&c->held, e->text) < 0)
		return TF_E_NOMEM;
	text = tf_buf_span(&c->held);
	string = find(s, text, &at);
	if (string == NULL)
		return pass_text(s, e, c, text.n - undecided(s, text));
	r = pass_text(s, e, c, at);
	return r != 0 ? r : end_choice(s, e, c, string);
}

int
dl_stop_event(struct dl_stop *s, const struct dl_event *e)
{
	struct stop_choice *c;
	int r = 0;

	switch (e->kind) {
	case DL_EV_START:
	case DL_EV_USAGE:
	case DL_EV_ERROR:
	case DL_EV_PING:
		return s->emit(s->arg, e);
	default:
		break;
	}
	c = choice_at(s, e->choice);
	if (c == NULL)
		return TF_E_NOMEM;
	if (c->ended)
		return e->kind == DL_EV_RAW && e->level == DL_LEVEL_TOP ? s->emit(s->arg, e) : 0;
	if (e->kind == DL_EV_TEXT && e->item_kind == DL_ITEM_TEXT)
		return on_text(s, e, c);
	/* the item is over without the rest of a stop string */
	if (e->kind == DL_EV_ITEM_END && c->held.n > 0) {
		struct dl_event rest = { .choice = e->choice, .item_kind = e->item_kind };

		r = pass_text(s, &rest, c, c->held.n);
	}
	return r != 0 ? r : s->emit(s->arg, e);
}
