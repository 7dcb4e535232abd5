/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text in turns, and system text in the middle of a conversation. Called by the decoders of requests;
 * must not know any dialect.
 */
#include "config.h"

#include <string.h>

#include "common/dialect/turns.h"

bool
dl_is_blank(struct tf_span s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] != ' ' && s.p[i] != '\n' && s.p[i] != '\t' && s.p[i] != '\r')
			return false;
	return true;
}

bool
dl_type_is(struct tf_span object, const char *type)
{
	struct tf_span v;

	return js_member(object, "type", &v) && js_str_eq(v, type);
}

int
dl_add_member(struct tf_span object, const char *member, struct tf_buf *out)
{
	struct tf_span v;

	return js_member(object, member, &v) && js_type(v) == JS_STRING ? js_str_append(v, out) : 0;
}

int
dl_add_text(struct dl_request *rq, struct dl_part **first, struct dl_part **last, struct tf_span text)
{
	struct dl_part *p = dl_rq_part(rq, first, last, DL_PART_TEXT);

	if (p == NULL)
		return TF_E_NOMEM;
	p->text = dl_arena_dup(&rq->arena, text);
	return p->text.p != NULL || text.n == 0 ? 0 : TF_E_NOMEM;
}

struct dl_turn *
dl_user_turn(struct dl_request *rq)
{
	return rq->last != NULL && rq->last->role == DL_ROLE_USER ? rq->last : dl_rq_turn(rq, DL_ROLE_USER);
}

int
dl_system_hold(struct tf_buf *held, struct tf_span text)
{
	int r = 0;

	if (dl_is_blank(text))
		return 0;
	if (held->n > 0)
		r = tf_buf_addstr(held, "\n\n");
	return r < 0 ? r : tf_buf_addspan(held, text);
}

/* Before anything else was said it is the system text itself. */
static int
release_first(struct dl_request *rq, struct tf_span held)
{
	struct dl_turn *turn = rq->last;
	struct tf_buf all = { 0 };
	int r = 0;

	if (turn == NULL)
		turn = dl_rq_turn(rq, DL_ROLE_SYSTEM);
	else
		r = tf_buf_addspan(&all, turn->parts->text);
	if (turn == NULL)
		return TF_E_NOMEM;
	if (r == 0 && all.n > 0)
		r = tf_buf_addstr(&all, "\n\n");
	if (r == 0)
		r = tf_buf_addspan(&all, held);
	turn->parts = turn->last = NULL;
	if (r == 0)
		r = dl_add_text(rq, &turn->parts, &turn->last, tf_buf_span(&all));
	tf_buf_free(&all);
	return r;
}

/* Templates want system text at the beginning; hoisting it would change the prefix of every turn. */
static int
release_later(struct dl_request *rq, struct tf_span held)
{
	struct dl_part **first, *last = NULL;
	struct tf_buf all = { 0 };
	struct dl_turn *turn;
	int r = 0;

	if (rq->last->role == DL_ROLE_TOOL) {
		first = &rq->last->parts->parts;
		r = tf_buf_addspan(&all, (*first)->text);
		if (r == 0)
			r = tf_buf_addstr(&all, "\n\n");
		*first = NULL;
	} else {
		turn = dl_user_turn(rq);
		if (turn == NULL)
			return TF_E_NOMEM;
		first = &turn->parts;
		last = turn->last;
	}
	if (r == 0)
		r = tf_buf_addstr(&all, "<system-reminder>\n");
	if (r == 0)
		r = tf_buf_addspan(&all, held);
	if (r == 0)
		r = tf_buf_addstr(&all, "\n</system-reminder>");
	if (r == 0)
		r = dl_add_text(rq, first, &last, tf_buf_span(&all));
	if (rq->last->role == DL_ROLE_USER)
		rq->last->last = last;
	tf_buf_free(&all);
	return r;
}

int
dl_system_release(struct dl_request *rq, struct tf_buf *held)
{
	int r;

	if (held->n == 0)
		return 0;
	if (rq->last == NULL || rq->last->role == DL_ROLE_SYSTEM)
		r = release_first(rq, tf_buf_span(held));
	else
		r = release_later(rq, tf_buf_span(held));
	tf_buf_reset(held);
	return r;
}
