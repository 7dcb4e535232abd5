/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one start of a thread writes: attempts begin in the current segment and end where they began. ENDs that
 * billingd has not acknowledged are known by number and place only; their bytes are in the files.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/spool/inside.h"

#define FULL 4096 /* a segment with less room than this is as good as full */

/* ---- segments -------------------------------------------------------------------------------- */

static void
head_next(const struct sp_writer *w, struct sp_head *h)
{
	*h = (struct sp_head){ .boot = w->boot, .number = w->number + 1, .size = w->segment, .made_ms = tf_wall_ns() / 1000000 };
	memcpy(h->name, w->name, sizeof h->name);
}

static uint64_t
seg_used(const struct sp_seg *s)
{
	return s->tail + s->pending.n + s->reserved;
}

static bool
seg_fits(const struct sp_seg *s, size_t bytes)
{
	return s != NULL && !s->broken && seg_used(s) + bytes <= s->head.size;
}

static void
current_set(struct sp_writer *w, struct sp_seg *s)
{
	w->current = s;
	if (s != NULL)
		tf_list_append(&w->segs, &s->node);
}

int
sp_writer_open(struct sp_writer *w, const struct sp_writer_conf *c)
{
	struct sp_seg *s = NULL;
	struct sp_head h;
	int rc;

	*w = (struct sp_writer){ .boot = c->boot, .segment = c->segment, .keep = c->keep };
	tf_list_init(&w->segs);
	if (strlen(c->dir) >= sizeof w->dir || strlen(c->name) >= sizeof w->name)
		return TF_E_RANGE;
	snprintf(w->dir, sizeof w->dir, "%s", c->dir);
	snprintf(w->name, sizeof w->name, "%s", c->name);
	rc = sp_map_create(c->dir, c->name, c->boot, c->slots, &w->map);
	if (rc != 0)
		return rc;
	head_next(w, &h);
	rc = sp_seg_create(w->dir, &h, &s);
	if (rc == TF_E_FULL)
		return 0; /* refuses work until there is room */
	if (rc != 0) {
		sp_map_remove(w->map);
		sp_map_close(&w->map);
		return rc;
	}
	w->number = h.number;
	current_set(w, s);
	return 0;
}

bool
sp_writer_wants(const struct sp_writer *w, struct sp_head *out)
{
	head_next(w, out);
	return w->map != NULL && w->spare == NULL;
}

void
sp_writer_give(struct sp_writer *w, struct sp_seg *s)
{
	w->number = s->head.number;
	if (w->current == NULL || w->current->broken)
		current_set(w, s);
	else
		w->spare = s;
}

static bool
rotate(struct sp_writer *w)
{
	if (w->spare == NULL)
		return false;
	current_set(w, w->spare);
	w->spare = NULL;
	return true;
}

struct sp_seg *
sp_writer_spent(struct sp_writer *w)
{
	struct tf_node *e, *tmp;

	TF_LIST_EACH(&w->segs, e, tmp) {
		struct sp_seg *s = TF_CONTAINER(e, struct sp_seg, node);

		if (s->open > 0 || s->unacked > 0 || s->pending.n > 0 || atomic_load(&s->refs) > 0)
			continue;
		/* when the disk is full the one that is in use may be what takes the room */
		if (s == w->current && seg_fits(s, FULL))
			continue;
		if (s == w->current && !rotate(w))
			w->current = NULL;
		tf_list_remove(&w->segs, &s->node);
		return s;
	}
	return NULL;
}

/* ---- what is not acknowledged ---------------------------------------------------------------- */

static struct sp_due *
due_at(struct sp_writer *w, size_t i)
{
	return &w->due[(w->first + i) & (w->cap - 1)];
}

static struct sp_due *
due_new(struct sp_writer *w)
{
	struct sp_due *d;

	if (w->n == w->cap) {
		size_t cap = w->cap ? 2 * w->cap : 256;
		struct sp_due *v = malloc(cap * sizeof *v);

		if (v == NULL)
			return NULL;
		for (size_t i = 0; i < w->n; i++)
			v[i] = *due_at(w, i);
		free(w->due);
		w->due = v;
		w->cap = cap;
		w->first = 0;
	}
	d = due_at(w, w->n);
	*d = (struct sp_due){ .made_ms = tf_mono_ms() };
	return d;
}

struct sp_due *
sp_writer_due(struct sp_writer *w, uint64_t seq)
{
	return seq > w->acked && seq - w->acked <= w->n ? due_at(w, seq - w->acked - 1) : NULL;
}

void
sp_writer_ack(struct sp_writer *w, uint64_t seq)
{
	while (w->n > 0 && w->acked < seq) {
		struct sp_due *d = due_at(w, 0);

		if (d->seg != NULL)
			d->seg->unacked--;
		else
			w->in_memory--;
		if (d->seg != NULL && d->frame != NULL)
			w->kept -= d->n;
		free(d->frame);
		w->first = (w->first + 1) & (w->cap - 1);
		w->n--;
		w->acked++;
	}
	if (w->map != NULL)
		sp_map_set_acked(w->map, w->acked);
}

/* ---- records --------------------------------------------------------------------------------- */

bool
sp_writer_fits(struct sp_writer *w, size_t payload, size_t end_max)
{
	size_t bytes = sp_record_size(payload) + sp_record_size(end_max);

	return seg_fits(w->current, bytes) || seg_fits(w->spare, bytes);
}

int
sp_writer_begin(struct sp_writer *w, struct sp_open *o, struct tf_span payload, size_t end_max)
{
	struct sp_rec r = { .kind = SP_BEGIN, .id = o->id, .attempt = o->attempt, .payload = payload };
	size_t room = sp_record_size(end_max);
	int rc;

	if (payload.n > SP_PAYLOAD_MAX || end_max > SP_PAYLOAD_MAX)
		return TF_E_RANGE;
	if (!seg_fits(w->current, sp_record_size(payload.n) + room) && !rotate(w))
		return TF_E_FULL;
	if (!seg_fits(w->current, sp_record_size(payload.n) + room))
		return TF_E_FULL;
	r.slot = sp_map_take(w->map, o->id, o->attempt);
	if (r.slot == SP_NO_SLOT)
		return TF_E_FULL;
	rc = sp_record_write(&w->current->pending, w->current->seed, &r);
	if (rc != 0) {
		sp_map_give(w->map, r.slot);
		return rc;
	}
	o->seg = w->current;
	o->number = r.slot;
	o->slot = sp_map_slot(w->map, r.slot, o->id, o->attempt);
	o->room = (uint32_t)room;
	w->current->reserved += room;
	w->current->open++;
	return 0;
}

static int
due_copy(struct sp_due *d, struct tf_span payload)
{
	d->frame = malloc(payload.n ? payload.n : 1);
	if (d->frame == NULL)
		return TF_E_NOMEM;
	memcpy(d->frame, payload.p, payload.n);
	return 0;
}

/* In memory: there is no room for it, or none that can be written. */
static int
due_keep(struct sp_writer *w, struct sp_due *d, struct tf_span payload)
{
	if (d->frame != NULL)
		w->kept -= d->n;
	else if (due_copy(d, payload) != 0)
		return TF_E_NOMEM;
	d->seg = NULL;
	w->in_memory++;
	return 0;
}

static int
due_put(struct sp_due *d, struct sp_seg *s, const struct sp_rec *r)
{
	uint64_t at = s->tail + s->pending.n;
	int rc = sp_record_write(&s->pending, s->seed, r);

	if (rc != 0)
		return rc;
	d->seg = s;
	d->at = (uint32_t)at;
	s->unacked++;
	return 0;
}

int
sp_writer_end(struct sp_writer *w, struct sp_open *o, struct tf_span payload, uint64_t *seq)
{
	struct sp_rec r = { .kind = SP_END, .id = o->id, .attempt = o->attempt, .slot = SP_NO_SLOT, .seq = sp_writer_next(w),
		.payload = payload };
	struct sp_due *d = due_new(w);
	bool own = o->seg != NULL && !o->seg->broken && sp_record_size(payload.n) <= o->room;
	int rc;

	if (d == NULL)
		return TF_E_NOMEM;
	d->id = o->id;
	d->attempt = o->attempt;
	d->n = (uint32_t)payload.n;
	if (own)
		rc = due_put(d, o->seg, &r);
	else if (o->seg != NULL && payload.n <= SP_PAYLOAD_MAX && seg_fits(w->current, sp_record_size(payload.n)))
		rc = due_put(d, w->current, &r);
	else
		rc = due_keep(w, d, payload);
	if (rc != 0)
		return rc;
	/* most are told at once: that spares reading them back */
	if (d->seg != NULL && w->kept + payload.n <= w->keep && due_copy(d, payload) == 0)
		w->kept += payload.n;
	w->n++;
	*seq = r.seq;
	if (w->map != NULL)
		sp_map_set_seq(w->map, r.seq);
	if (o->seg != NULL) {
		o->seg->reserved -= o->room;
		o->seg->open--;
		sp_map_give(w->map, o->number);
	}
	*o = (struct sp_open){ 0 };
	return 0;
}

/* What was to be in a file that cannot be written: to another one, or into memory. */
static void
seg_rescue(struct sp_writer *w, struct sp_seg *s)
{
	struct tf_span file = tf_buf_span(&s->pending);

	s->broken = true;
	if (s == w->current && !rotate(w))
		w->current = NULL;
	for (size_t i = 0; i < w->n; i++) {
		struct sp_due *d = due_at(w, i);
		struct sp_rec r = { .kind = SP_END, .id = d->id, .attempt = d->attempt, .slot = SP_NO_SLOT,
			.seq = w->acked + i + 1 };
		int rc = TF_E_FULL;

		if (d->seg != s || d->at < s->tail)
			continue;
		r.payload = tf_span(file.p + (d->at - s->tail) + SP_RECORD, d->n);
		s->unacked--;
		if (seg_fits(w->current, sp_record_size(d->n)))
			rc = due_put(d, w->current, &r);
		if (rc != 0 && due_keep(w, d, r.payload) != 0)
			abort(); /* without memory for a few hundred bytes there is no honest way on */
	}
	tf_buf_free(&s->pending);
}

static int
seg_flush(struct sp_seg *s)
{
	size_t done = 0;

	while (done < s->pending.n) {
		ssize_t k = pwrite(s->fd, s->pending.p + done, s->pending.n - done, (off_t)(s->tail + done));

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return TF_E_IO;
		done += (size_t)k;
	}
	s->tail += s->pending.n;
	tf_buf_reset(&s->pending);
	atomic_store(&s->dirty, true);
	return 0;
}

int
sp_writer_flush(struct sp_writer *w)
{
	struct tf_node *e, *tmp;
	int rc = 0;

	TF_LIST_EACH(&w->segs, e, tmp) {
		struct sp_seg *s = TF_CONTAINER(e, struct sp_seg, node);

		if (s->pending.n == 0 || seg_flush(s) == 0)
			continue;
		tf_log(TF_ERROR, "spool", NULL, "a segment cannot be written and is not used any more file=%s errno=%d",
		    tf_log_q(tf_cspan(s->path)), errno);
		/* it may go to a segment that comes later in the list, or to one that we have passed */
		seg_rescue(w, s);
		rc = TF_E_IO;
		if (w->current != NULL && w->current->pending.n > 0 && seg_flush(w->current) != 0)
			seg_rescue(w, w->current);
	}
	if (w->map != NULL)
		sp_map_settle(w->map);
	return rc;
}

void
sp_writer_delivered(struct sp_writer *w, uint64_t seq)
{
	struct sp_due *d = sp_writer_due(w, seq);
	static const char mark = 'D';

	/* without it the answer only looks as if it had been cut in its last moment */
	if (d != NULL && d->seg != NULL && !d->seg->broken && d->at < d->seg->tail &&
	    pwrite(d->seg->fd, &mark, 1, (off_t)d->at + 4) == 1)
		atomic_store_explicit(&d->seg->dirty, true, memory_order_relaxed);
}

int
sp_writer_read(struct sp_writer *w, uint64_t seq, struct tf_buf *buf, struct sp_rec *out)
{
	struct sp_due *d = sp_writer_due(w, seq);
	size_t n;

	if (d == NULL)
		return TF_E_NOENT;
	if (d->frame != NULL) {
		*out = (struct sp_rec){ .kind = SP_END, .id = d->id, .attempt = d->attempt, .seq = seq,
			.delivered = d->delivered, .payload = tf_span(d->frame, d->n) };
		return 0;
	}
	n = sp_record_size(d->n);
	tf_buf_reset(buf);
	if (tf_buf_reserve(buf, SP_HEAD + n) != 0)
		return TF_E_NOMEM;
	if (pread(d->seg->fd, buf->p + SP_HEAD, n, (off_t)d->at) != (ssize_t)n)
		return TF_E_IO;
	/* placed as if it were the first record of its file */
	if (sp_record_read(tf_span(buf->p, SP_HEAD + n), d->seg->seed, SP_HEAD, out) != 1 || out->seq != seq)
		return TF_E_IO;
	out->at = d->at;
	return 0;
}

void
sp_writer_close(struct sp_writer *w)
{
	struct sp_seg *s;

	if (w->map == NULL)
		return;
	(void)sp_writer_flush(w);
	w->current = NULL;
	while ((s = sp_writer_spent(w)) != NULL)
		sp_seg_done(&s);
	if (w->segs.n == 0 && w->in_memory == 0)
		sp_map_remove(w->map);
	while (tf_list_first(&w->segs) != NULL) {
		s = TF_CONTAINER(tf_list_pop(&w->segs), struct sp_seg, node);
		(void)sp_seg_sync(s);
		sp_seg_close(&s);
	}
	sp_seg_close(&w->spare);
	sp_map_close(&w->map);
	for (size_t i = 0; i < w->n; i++)
		free(due_at(w, i)->frame);
	free(w->due);
	tf_buf_free(&w->scratch);
	w->due = NULL;
	w->n = w->cap = 0;
}
