/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What hub and dial share: who we are, peers and their end, liveness by counted ticks, and
 * the check of every frame before a daemon sees it.
 *
 * Time is counted in ticks and not read from a clock: a process that was stopped or starved
 * gets one tick when it wakes, and hears its peers before it declares them dead.
 */
#include "config.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/wire/link.h"

static atomic_uint_fast64_t peers_now; /* of all links of the process */

bool
wire_name_ok(struct tf_span name)
{
	if (name.n == 0 || name.n > WIRE_NAME_MAX)
		return false;
	for (size_t i = 0; i < name.n; i++) {
		char c = name.p[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
		    c != '.' && c != '_' && c != '-')
			return false;
	}
	return true;
}

void
link_trace(const char *from, const char *to, const struct wire_frame *f)
{
	tf_log(TF_DEBUG, "wire", &f->id, "%s -> %s %s attempt=%u seq=%u bytes=%zu", from, to,
	    wire_verb_text(f->verb), f->attempt, f->seq, f->raw.n);
}

void
link_bad_frame(const struct link *l, const char *from, const char *why)
{
	tf_metric_add(TF_M_WIRE_BAD_FRAMES, 1);
	tf_log(TF_WARN, "wire", NULL, "a peer broke the protocol self=%s peer=%s why=%s", l->self.name,
	    tf_log_q(tf_cspan(from)), tf_log_q(tf_cspan(why)));
}

/* ---- life of a link ----------------------------------------------------------------------- */

static void
bury(struct link *l)
{
	struct tf_node *e;

	while (!l->dead && (e = tf_list_pop(&l->doomed)) != NULL) {
		struct peer *p = TF_CONTAINER(e, struct peer, doom_node);

		l->ops->lost(p, p->why, p->resync);
	}
}

static void
turn_end(void *arg)
{
	struct link *l = arg;
	struct tf_node *e;

	bury(l);
	while (!l->dead && (e = tf_list_first(&l->prompt)) != NULL) {
		struct peer *p = TF_CONTAINER(e, struct peer, out_node);

		out_flush(p);
		/* doomed while its output was waiting: nothing more goes out */
		if (p->out == OUT_PROMPT)
			out_state(p, OUT_IDLE);
	}
}

static void
peer_tick(struct peer *p)
{
	struct link *l = p->link;

	if (p->down)
		return;
	if (++p->silent_ticks > p->dead_ticks) {
		tf_metric_add(TF_M_WIRE_PEER_LOST, 1);
		link_doom(p, "it is silent", true);
	} else if (++p->idle_ticks >= 2 && p->out == OUT_IDLE) {
		struct wire_heartbeat h = { .key_change = l->key_change };

		wire_send_heartbeat(&p->pub, NULL, 0, &h, tf_span(NULL, 0));
	}
}

static void
tick(void *arg)
{
	struct link *l = arg;
	struct tf_node *e, *tmp;

	TF_LIST_EACH(&l->peers, e, tmp)
		peer_tick(TF_CONTAINER(e, struct peer, node));
	ev_timer_set(&l->tick, l->self.heartbeat_ms / 2);
}

static char *
dup_or_null(const char *s, bool *ok)
{
	char *d = s ? strdup(s) : NULL;

	*ok = *ok && (s == NULL || d != NULL);
	return d;
}

int
link_init(struct link *l, struct ev_loop *loop, struct ev_zctx *ctx, const struct wire_self *self,
    const struct wire_hooks *hooks, const char *endpoint)
{
	struct tf_list *lists[] = { &l->prompt, &l->lazy, &l->full, &l->doomed, &l->peers };
	bool ok = true;

	memset(l, 0, sizeof *l);
	if (!wire_name_ok(tf_cspan(self->name)))
		return TF_E_INVAL;
	for (size_t i = 0; i < TF_LEN(lists); i++)
		tf_list_init(lists[i]);
	l->loop = loop;
	l->ctx = ctx;
	l->hooks = *hooks;
	l->self = *self;
	l->self.name = dup_or_null(self->name, &ok);
	l->self.build = dup_or_null(self->build, &ok);
	l->self.endpoint = dup_or_null(self->endpoint, &ok);
	l->endpoint = dup_or_null(endpoint, &ok);
	if (l->self.heartbeat_ms == 0)
		l->self.heartbeat_ms = 500;
	if (l->self.roles == 0)
		l->self.roles = UINT32_MAX;
	if (l->self.lazy_us == 0)
		l->self.lazy_us = WIRE_LAZY_US;
	ev_turn_init(&l->turn, turn_end, l);
	ev_timer_init(&l->tick, loop, tick, l);
	ev_timer_init(&l->lazy_timer, loop, out_lazy_due, l);
	ev_timer_init(&l->full_timer, loop, out_full_due, l);
	if (!ok) {
		link_fini(l);
		return TF_E_NOMEM;
	}
	ev_timer_set(&l->tick, l->self.heartbeat_ms / 2);
	return 0;
}

void
link_fini(struct link *l)
{
	l->dead = true;
	ev_turn_disarm(l->loop, &l->turn);
	ev_timer_del(&l->tick);
	ev_timer_del(&l->lazy_timer);
	ev_timer_del(&l->full_timer);
	if (l->sock != NULL)
		ev_zsock_close(&l->sock);
	free((char *)l->self.name);
	free((char *)l->self.build);
	free((char *)l->self.endpoint);
	free(l->endpoint);
	l->self.name = l->self.build = l->self.endpoint = l->endpoint = NULL;
}

/* ---- peers -------------------------------------------------------------------------------- */

static void
peer_free(void *arg)
{
	struct peer *p = arg;

	free(p->name);
	free(p->endpoint);
	free(p->build);
	free(p);
}

struct peer *
link_peer_new(struct link *l, const struct peer_facts *facts)
{
	unsigned tick_ms = l->self.heartbeat_ms / 2, longest = l->self.heartbeat_ms;
	struct peer *p = calloc(1, sizeof *p);

	if (p == NULL)
		return NULL;
	p->name = tf_span_dup(facts->name);
	p->endpoint = tf_span_dup(facts->endpoint);
	p->build = tf_span_dup(facts->build);
	if (p->name == NULL || p->endpoint == NULL || p->build == NULL) {
		peer_free(p);
		return NULL;
	}
	if (facts->heartbeat_ms > longest)
		longest = facts->heartbeat_ms > 60000 ? 60000 : (unsigned)facts->heartbeat_ms;
	p->link = l;
	p->session = facts->session;
	p->dead_ticks = (3 * longest + tick_ms - 1) / (tick_ms ? tick_ms : 1);
	p->pub = (struct wire_peer){ .name = p->name, .endpoint = p->endpoint, .build = p->build,
		.role = (enum wire_role)facts->role, .boot = facts->boot, .epoch = facts->epoch,
		.key_change = facts->key_change, .major = facts->major, .minor = facts->minor };
	tf_list_init(&p->chunks);
	tf_list_append(&l->peers, &p->node);
	tf_metric_set(TF_M_WIRE_PEERS, atomic_fetch_add(&peers_now, 1) + 1);
	tf_log(TF_INFO, "wire", NULL, "peer up self=%s peer=%s role=%s boot=%016llx build=%s",
	    l->self.name, p->name, wire_role_text(facts->role), (unsigned long long)facts->boot,
	    tf_log_q(facts->build));
	return p;
}

void
link_peer_discard(struct peer *p)
{
	struct link *l = p->link;

	p->down = true;
	out_clear(p);
	if (tf_node_linked(&p->doom_node))
		tf_list_remove(&l->doomed, &p->doom_node);
	tf_list_remove(&l->peers, &p->node);
	tf_metric_set(TF_M_WIRE_PEERS, atomic_fetch_sub(&peers_now, 1) - 1);
	ev_free_later(l->loop, p, peer_free);
}

void
link_peer_gone(struct peer *p, const char *why)
{
	struct link *l = p->link;

	tf_log(TF_INFO, "wire", NULL, "peer down self=%s peer=%s why=%s", l->self.name, p->name,
	    tf_log_q(tf_cspan(why)));
	link_peer_discard(p);
	if (l->hooks.down != NULL)
		l->hooks.down(l->hooks.arg, &p->pub, why);
}

void
link_doom(struct peer *p, const char *why, bool resync)
{
	if (p->down)
		return;
	p->down = true;
	p->resync = resync;
	snprintf(p->why, sizeof p->why, "%s", why);
	tf_list_append(&p->link->doomed, &p->doom_node);
	ev_turn_arm(p->link->loop, &p->link->turn);
}

bool
wire_is_down(const struct wire_peer *p)
{
	return ((const struct peer *)(const void *)p)->down;
}

uint64_t
wire_silent_ms(const struct wire_peer *pub)
{
	const struct peer *p = (const struct peer *)(const void *)pub;

	return (uint64_t)p->silent_ticks * (p->link->self.heartbeat_ms / 2);
}

static void
broke(struct peer *p, const char *why)
{
	link_bad_frame(p->link, p->name, why);
	link_doom(p, why, true);
}

void
wire_drop(struct wire_peer *p, const char *why)
{
	if (!peer_of(p)->down)
		broke(peer_of(p), why);
}

/* ---- frames ------------------------------------------------------------------------------- */

int
link_send_raw(struct link *l, struct tf_span to, enum wire_verb verb, const void *m)
{
	struct tf_buf b = { 0 };
	int rc = wire_enc(&b, verb, NULL, 0, m, tf_span(NULL, 0));

	if (rc == 0)
		rc = ev_zsock_send(l->sock, to, tf_buf_span(&b));
	tf_buf_free(&b);
	return rc;
}

static const char *
frame_fault(struct peer *p, const struct wire_frame *f, union wire_any *m)
{
	if (f->major != p->pub.major)
		return "a frame of another version";
	if (f->flags != 0 && f->minor <= WIRE_MINOR)
		return "unknown frame flags";
	if (!wire_verb_known(f->verb))
		return f->minor > WIRE_MINOR ? NULL : "an unknown message";
	if (!wire_allowed(f->verb, p->pub.role, p->link->self.role))
		return "a message that its role may not send";
	if (wire_dec(f, m) != 0)
		return "malformed fields";
	return NULL;
}

void
link_frame(struct peer *p, struct wire_frame *f)
{
	struct link *l = p->link;
	union wire_any m;
	const char *fault;

	if (p->down)
		return;
	if (tf_log_on(TF_DEBUG, "wire"))
		link_trace(p->name, l->self.name, f);
	if (f->seq != (uint16_t)(p->rx_seq + 1)) {
		tf_log(TF_WARN, "wire", NULL, "frames were lost self=%s peer=%s expected=%u got=%u", l->self.name,
		    p->name, (uint16_t)(p->rx_seq + 1), f->seq);
		tf_metric_add(TF_M_WIRE_PEER_LOST, 1);
		link_doom(p, "frames were lost on the way", true);
		return;
	}
	p->rx_seq++;
	p->silent_ticks = 0;
	fault = frame_fault(p, f, &m);
	if (fault != NULL) {
		broke(p, fault);
		return;
	}
	if (f->verb == WIRE_HEARTBEAT) {
		if (wire_has(&m.heartbeat, HEARTBEAT, key_change))
			p->pub.key_change = m.heartbeat.key_change;
	} else if (f->verb == WIRE_BYE) {
		link_doom(p, "it said goodbye", false);
	} else if (wire_verb_known(f->verb) && l->hooks.frame != NULL) {
		l->hooks.frame(l->hooks.arg, &p->pub, f, &m);
	}
}

int
wire_keep(const struct wire_frame *f, struct wire_kept **out)
{
	struct wire_kept *k = malloc(sizeof *k);

	if (k == NULL)
		return TF_E_NOMEM;
	k->frame = *f;
	k->frame.hold = ev_zmsg_ref(f->hold);
	*out = k;
	return 0;
}

void
wire_kept_free(struct wire_kept **k)
{
	struct ev_zmsg *m;

	if (*k == NULL)
		return;
	m = (*k)->frame.hold;
	ev_zmsg_unref(&m);
	free(*k);
	*k = NULL;
}
