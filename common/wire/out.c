/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way out: frames of one loop turn are joined into as few ZeroMQ messages as possible,
 * because a message costs some 10 us and a frame 0.2 us. Knows nothing of what is said.
 */
#include "config.h"

#include <assert.h>
#include <stdlib.h>

#include "common/wire/link.h"

/* The one place that moves a peer between the output lists. */
void
out_state(struct peer *p, enum peer_out to)
{
	struct link *l = p->link;
	struct tf_list *lists[] = { NULL, &l->lazy, &l->prompt, &l->full };

	if (p->out == to)
		return;
	if (lists[p->out] != NULL)
		tf_list_remove(lists[p->out], &p->out_node);
	p->out = to;
	if (lists[to] != NULL)
		tf_list_append(lists[to], &p->out_node);
	if (to == OUT_PROMPT)
		ev_turn_arm(l->loop, &l->turn);
	else if (to == OUT_LAZY && !ev_timer_pending(&l->lazy_timer))
		ev_timer_set_us(&l->lazy_timer, l->self.lazy_us);
	else if (to == OUT_FULL && !ev_timer_pending(&l->full_timer))
		ev_timer_set_us(&l->full_timer, WIRE_FULL_US);
}

static void
chunk_free(struct peer *p, struct chunk *c)
{
	tf_list_remove(&p->chunks, &c->node);
	p->backlog -= c->b.n;
	tf_buf_free(&c->b);
	free(c);
}

void
out_clear(struct peer *p)
{
	struct tf_node *e;

	while ((e = tf_list_first(&p->chunks)) != NULL)
		chunk_free(p, TF_CONTAINER(e, struct chunk, node));
	out_state(p, OUT_IDLE);
}

/* The chunk that takes the next frame; NULL without memory. */
static struct chunk *
chunk_open(struct peer *p)
{
	struct chunk *c;

	if (p->chunks.n > 0) {
		c = TF_CONTAINER(p->chunks.head.prev, struct chunk, node);
		if (c->b.n < WIRE_JOIN_MAX)
			return c;
	}
	c = calloc(1, sizeof *c);
	if (c != NULL)
		tf_list_append(&p->chunks, &c->node);
	return c;
}

static int
chunk_send(struct peer *p, struct chunk *c)
{
	struct link *l = p->link;
	struct tf_span to = l->ops->address(p);
	int rc;

	if (c->b.n <= WIRE_COPY_MAX)
		return ev_zsock_send(l->sock, to, tf_buf_span(&c->b));
	p->backlog -= c->b.n;
	rc = ev_zsock_send_take(l->sock, to, c->b.p, c->b.n);
	if (rc == 0)
		c->b = (struct tf_buf){ 0 };
	else
		p->backlog += c->b.n;
	return rc;
}

void
out_flush(struct peer *p)
{
	struct tf_node *e;
	int rc;

	while ((e = tf_list_first(&p->chunks)) != NULL) {
		struct chunk *c = TF_CONTAINER(e, struct chunk, node);

		rc = chunk_send(p, c);
		if (rc == TF_E_FULL) {
			out_state(p, OUT_FULL);
			return;
		}
		if (rc != 0) {
			link_doom(p, rc == TF_E_NOENT ? "its connection is gone" : tf_err_text(rc), false);
			return;
		}
		p->idle_ticks = 0;
		if (p->chunks.n == 1 && c->b.p != NULL) {
			/* the last one keeps its memory for the next turn */
			p->backlog -= c->b.n;
			tf_buf_reset(&c->b);
			break;
		}
		chunk_free(p, c);
	}
	out_state(p, OUT_IDLE);
}

void
out_lazy_due(void *link)
{
	struct link *l = link;
	struct tf_node *e;

	while ((e = tf_list_first(&l->lazy)) != NULL)
		out_state(TF_CONTAINER(e, struct peer, out_node), OUT_PROMPT);
}

void
out_full_due(void *link)
{
	struct link *l = link;
	struct tf_node *e;

	while ((e = tf_list_first(&l->full)) != NULL)
		out_state(TF_CONTAINER(e, struct peer, out_node), OUT_PROMPT);
}

/* ---- what daemons call -------------------------------------------------------------------- */

/* A frame was appended to c at offset at: number it, count it, arm the flush. */
static int
appended(struct peer *p, struct chunk *c, size_t at, bool lazy)
{
	struct link *l = p->link;

	wire_frame_seq(c->b.p + at, ++p->tx_seq);
	p->backlog += c->b.n - at;
	if (tf_log_on(TF_DEBUG, "wire")) {
		struct wire_frame f;
		size_t used;

		if (wire_frame_read(tf_span(c->b.p + at, c->b.n - at), &f, &used) == 0)
			link_trace(l->self.name, p->name, &f);
	}
	if (p->backlog > WIRE_BACKLOG_MAX) {
		link_doom(p, "it reads too slowly", true);
		return TF_E_CLOSED;
	}
	if (p->out == OUT_IDLE || (p->out == OUT_LAZY && !lazy))
		out_state(p, lazy ? OUT_LAZY : OUT_PROMPT);
	return 0;
}

static int
send_frame(struct peer *p, struct wire_frame f, const void *m, bool lazy)
{
	struct chunk *c;
	size_t at;
	int rc;

	if (p->down)
		return TF_E_CLOSED;
	assert(wire_allowed(f.verb, p->link->self.role, p->pub.role));
	c = chunk_open(p);
	if (c == NULL)
		return TF_E_NOMEM;
	at = c->b.n;
	rc = wire_enc(&c->b, f.verb, &f.id, f.attempt, m, f.payload);
	return rc ? rc : appended(p, c, at, lazy);
}

int
wire_send(struct wire_peer *p, enum wire_verb verb, const struct tf_id *id, uint32_t attempt,
    const void *m, struct tf_span payload)
{
	struct wire_frame f = { .verb = (uint8_t)verb, .attempt = attempt, .payload = payload };

	if (id != NULL)
		f.id = *id;
	return send_frame(peer_of(p), f, m, false);
}

int
wire_send_lazy(struct wire_peer *p, enum wire_verb verb, const struct tf_id *id, uint32_t attempt,
    const void *m, struct tf_span payload)
{
	struct wire_frame f = { .verb = (uint8_t)verb, .attempt = attempt, .payload = payload };

	if (id != NULL)
		f.id = *id;
	return send_frame(peer_of(p), f, m, true);
}

struct patch {
	unsigned number; /* of a U field; 0: none */
	uint64_t v;
};

static int
forward(struct peer *p, struct tf_span raw, const struct patch *patch, bool lazy)
{
	struct chunk *c;
	size_t at;
	int rc;

	if (p->down)
		return TF_E_CLOSED;
	assert(raw.n >= WIRE_HEAD);
	assert(wire_allowed((uint8_t)raw.p[4], p->link->self.role, p->pub.role));
	if ((uint8_t)raw.p[2] != p->pub.major)
		return TF_E_STATE;
	c = chunk_open(p);
	if (c == NULL)
		return TF_E_NOMEM;
	at = c->b.n;
	rc = tf_buf_append(&c->b, raw.p, raw.n);
	if (rc == 0 && patch->number != 0)
		rc = wire_patch(c->b.p + at, raw.n, patch->number, patch->v);
	if (rc != 0) {
		c->b.n = at;
		return rc;
	}
	return appended(p, c, at, lazy);
}

int
wire_forward(struct wire_peer *p, struct tf_span raw, unsigned patch, uint64_t v)
{
	return forward(peer_of(p), raw, &(struct patch){ patch, v }, false);
}

int
wire_forward_lazy(struct wire_peer *p, struct tf_span raw, unsigned patch, uint64_t v)
{
	return forward(peer_of(p), raw, &(struct patch){ patch, v }, true);
}

size_t
wire_backlog(const struct wire_peer *p)
{
	return ((const struct peer *)(const void *)p)->backlog;
}
