/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells billingd for those who died. What a former start left in the spool (of this instance or of another one) is told
 * in its name, with its own numbers: first its ENDs, then what it had begun and not ended, as provisional records made of
 * BEGIN and progress. When billingd has all of it, it hears that this start holds nothing any more, and the files are put
 * away. The same files always make the same records, so that it does not matter how often this happens.
 */
#include "config.h"

#include <inttypes.h>
#include <stdlib.h>

#include "gatewayd/gw.h"
#include "gatewayd/gw_record.h"

#define GW_LEFT_AHEAD 256u     /* records told beyond the first that is not acknowledged */
#define GW_LEFT_AGAIN_MS 2000  /* silence after which they are told again */
#define GW_FORMER_MAX 256u       /* starts that billingd is told of again */

struct gw_former { /* a start that was told whole and has files still */
	struct tf_node node;
	char name[SP_NAME_MAX];
	uint64_t boot;
};

struct gw_lefts {
	struct sp_left *left;  /* NULL: nobody died */
	size_t acked, told;    /* of its records */
	uint64_t at;           /* tf_mono_ms of the last progress */
	struct tf_buf buf;
	struct tf_list former; /* oldest first */
};

/* ---- one record --------------------------------------------------------------------------------- */

static size_t
gw_left_count(const struct sp_left *l)
{
	return l->nends + l->nbegins;
}

/* ENDs have their numbers; what was open follows the highest one. */
static uint64_t
gw_left_seq(const struct sp_left *l, size_t i)
{
	return i < l->nends ? l->ends[i].seq : l->last + 1 + (i - l->nends);
}

/* What was read once and cannot be read now: its number is missing then. */
static bool *
gw_left_void(const struct sp_left *l, size_t i)
{
	return i < l->nends ? &l->ends[i].unreadable : &l->begins[i - l->nends].unreadable;
}

static uint64_t
gw_left_before(const struct sp_left *l, size_t i)
{
	while (i > 0 && *gw_left_void(l, i - 1))
		i--;
	return i > 0 ? gw_left_seq(l, i - 1) : 0;
}

static void
gw_left_begin(const struct sp_left_begin *b, struct wire_usage *m)
{
	if (!b->known || !b->given || b->tokens == 0) {
		/* nobody saw anything of it: it costs nothing */
		m->prompt = 0;
		m->outcome = WIRE_OUTCOME_LOST;
		return;
	}
	m->outcome = WIRE_OUTCOME_PARTIAL;
	m->completion = b->tokens < DL_TOKENS_MOST ? b->tokens : DL_TOKENS_MOST;
	if (b->reserved > m->reserved)
		m->reserved = b->reserved;
	if (b->money > m->reserved_money)
		m->reserved_money = b->money;
}

/* 0; TF_E_PROTO: it cannot be read, and never will; others: not now. */
static int
gw_left_tell(struct gw_lefts *r, struct wire_peer *p, size_t i)
{
	const struct sp_left *l = r->left;
	const struct sp_left_begin *b = i < l->nends ? NULL : &l->begins[i - l->nends];
	union wire_any m;
	struct wire_frame f;
	struct sp_rec rec;
	size_t used;
	int rc;

	rc = b != NULL ? sp_left_read(l, b->file, b->at, &r->buf, &rec)
	    : sp_left_read(l, l->ends[i].file, l->ends[i].at, &r->buf, &rec);
	if (rc != 0)
		return rc;
	if (wire_frame_read(rec.payload, &f, &used) != 0 || f.verb != WIRE_USAGE || wire_dec(&f, &m) != 0)
		return TF_E_PROTO;
	if (b != NULL)
		gw_left_begin(b, &m.usage);
	else
		m.usage.delivered = rec.delivered;
	m.usage.seq = gw_left_seq(l, i);
	m.usage.missing = m.usage.seq - gw_left_before(l, i) - 1;
	m.usage.of_name = tf_cspan(l->name);
	m.usage.of_boot = l->boot;
	return wire_send_lazy(p, WIRE_USAGE, &rec.id, rec.attempt, &m.usage, (struct tf_span){ 0 });
}

/* ---- all of them -------------------------------------------------------------------------------- */

static void
gw_left_say_settled(struct wire_peer *p, const char *name, uint64_t boot)
{
	struct wire_settled m = { .name = tf_cspan(name), .boot = boot };

	(void)wire_send_lazy(p, WIRE_SETTLED, NULL, 0, &m, (struct tf_span){ 0 });
}

static void
gw_left_end(struct gw_thread *t, struct wire_peer *p)
{
	struct gw_lefts *r = t->lefts;
	struct sp_left *l = r->left;

	tf_log(l->nbad > 0 ? TF_ERROR : TF_INFO, "spool", NULL, "a former start is settled name=%s boot=%016" PRIx64
	    " ended=%zu open=%zu damaged=%zu", l->name, l->boot, l->nends, l->nbegins, l->nbad);
	gw_left_say_settled(p, l->name, l->boot);
	gw_left_former(t, l->name, l->boot);
	r->left = NULL;
	r->acked = r->told = 0;
	gw_keeper_settled(t, l);
}

static void
gw_left_pump(struct gw_thread *t)
{
	static const char *const end[] = { "end" }, *const begin[] = { "begin" };
	struct gw_lefts *r = t->lefts;
	struct wire_peer *p = gw_billing(t);

	if (r->left == NULL || p == NULL)
		return;
	while (r->told < gw_left_count(r->left) && r->told - r->acked < GW_LEFT_AHEAD) {
		int rc = gw_left_tell(r, p, r->told);

		if (rc == TF_E_PROTO) {
			*gw_left_void(r->left, r->told) = true;
			tf_metric_add(TF_M_GW_SPOOL_FAILURES, 1);
			tf_log(TF_ERROR, "spool", NULL, "a record of a former start cannot be read name=%s boot=%016" PRIx64
			    " seq=%" PRIu64, r->left->name, r->left->boot, gw_left_seq(r->left, r->told));
		} else if (rc != 0) {
			return; /* the tick tries again */
		} else {
			tf_metric_add_l(TF_M_GW_SPOOL_REPLAYED, 1, r->told < r->left->nends ? end : begin);
		}
		r->told++;
	}
	while (r->acked < r->told && *gw_left_void(r->left, r->acked))
		r->acked++;
	if (r->acked == gw_left_count(r->left))
		gw_left_end(t, p);
}

void
gw_left_start(struct gw_thread *t, struct sp_left *l)
{
	struct gw_lefts *r = t->lefts;

	if (r->left != NULL) { /* the keeper finds one at a time */
		sp_left_free(&l);
		return;
	}
	tf_log(TF_INFO, "spool", NULL, "a former start left something name=%s boot=%016" PRIx64 " ended=%zu open=%zu", l->name,
	    l->boot, l->nends, l->nbegins);
	r->left = l;
	r->acked = r->told = 0;
	r->at = tf_mono_ms();
	gw_left_pump(t);
}

void
gw_left_ack(struct gw_thread *t, const struct wire_usage_ack *m)
{
	struct gw_lefts *r = t->lefts;
	size_t before = r->acked;

	if (r->left == NULL || m->of_boot != r->left->boot || !tf_span_is(m->of_name, r->left->name))
		return;
	while (r->acked < r->told && gw_left_seq(r->left, r->acked) <= m->seq)
		r->acked++;
	if (r->acked > before)
		r->at = tf_mono_ms();
	gw_left_pump(t);
}

/* ---- those that were settled -------------------------------------------------------------------- */

void
gw_left_former(struct gw_thread *t, const char *name, uint64_t boot)
{
	struct gw_lefts *r = t->lefts;
	struct gw_former *f = calloc(1, sizeof *f);
	struct wire_peer *p = gw_billing(t);

	if (f == NULL)
		return;
	memcpy(f->name, name, strlen(name) + 1);
	f->boot = boot;
	tf_list_append(&r->former, &f->node);
	if (r->former.n > GW_FORMER_MAX)
		free(TF_CONTAINER(tf_list_pop(&r->former), struct gw_former, node));
	if (p != NULL)
		gw_left_say_settled(p, name, boot);
}

void
gw_left_link_up(struct gw_thread *t)
{
	struct gw_lefts *r = t->lefts;
	struct wire_peer *p = gw_billing(t);
	struct tf_node *e, *tmp;

	if (p == NULL)
		return;
	TF_LIST_EACH(&r->former, e, tmp) {
		const struct gw_former *f = TF_CONTAINER(e, struct gw_former, node);

		gw_left_say_settled(p, f->name, f->boot);
	}
	r->told = r->acked;
	gw_left_pump(t);
}

void
gw_left_tick(struct gw_thread *t, uint64_t now)
{
	struct gw_lefts *r = t->lefts;

	if (r->left == NULL)
		return;
	if (now - r->at >= GW_LEFT_AGAIN_MS) {
		r->at = now;
		r->told = r->acked;
	}
	gw_left_pump(t);
}

int
gw_left_new(struct gw_thread *t)
{
	t->lefts = calloc(1, sizeof *t->lefts);
	if (t->lefts == NULL)
		return TF_E_NOMEM;
	tf_list_init(&t->lefts->former);
	return 0;
}

void
gw_left_free(struct gw_thread *t)
{
	struct gw_lefts *r = t->lefts;
	struct tf_node *e;

	if (r == NULL)
		return;
	while ((e = tf_list_pop(&r->former)) != NULL)
		free(TF_CONTAINER(e, struct gw_former, node));
	sp_left_free(&r->left);
	tf_buf_free(&r->buf);
	free(r);
	t->lefts = NULL;
}
