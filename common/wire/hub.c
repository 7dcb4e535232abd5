/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The binding side: a ROUTER with any number of peers. A peer exists from its HELLO on;
 * whoever speaks without one is asked for it (RESYNC), so that after our own restart all
 * are back as soon as they say anything.
 *
 * Routing id: NAME "." BOOT as 16 hex digits "." number of the peer's socket. ZeroMQ holds
 * on to the id of a closed connection for a while, hence the number; NAME and BOOT must be
 * those of HELLO.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/wire/link.h"

struct wire_hub {
	struct link l; /* first */
	struct tf_map by_rid, by_name;
	unsigned resyncs; /* sent since the last refill */
	struct ev_timer refill;
};

static struct wire_hub *
hub_of(struct link *l)
{
	return TF_CONTAINER(l, struct wire_hub, l);
}

static struct tf_span
rid_of(struct peer *p)
{
	return tf_span(p->rid, p->rid_len);
}

/* RESYNC to whoever is at that address, bounded: a peer repeats itself anyway. */
static void
resync(struct wire_hub *h, struct tf_span to)
{
	struct wire_resync m = { 0 };

	if (h->resyncs++ < WIRE_RESYNC_BURST)
		(void)!link_send_raw(&h->l, to, WIRE_RESYNC, &m);
	if (!ev_timer_pending(&h->refill))
		ev_timer_set(&h->refill, 50);
}

static void
refill(void *arg)
{
	struct wire_hub *h = arg;

	h->resyncs = 0;
}

static void
hub_lost(struct peer *p, const char *why, bool again)
{
	struct wire_hub *h = hub_of(p->link);

	tf_map_del(&h->by_rid, rid_of(p));
	tf_map_del(&h->by_name, tf_cspan(p->name));
	if (again)
		resync(h, rid_of(p));
	link_peer_gone(p, why);
}

static const struct link_ops hub_ops = { .address = rid_of, .lost = hub_lost };

/* ---- HELLO -------------------------------------------------------------------------------- */

static void
refuse(struct wire_hub *h, struct tf_span from, const char *name, const char *sentence)
{
	struct wire_refuse m = { .reason = tf_cspan(sentence) };

	tf_log(TF_WARN, "wire", NULL, "refused a peer self=%s peer=%s why=%s", h->l.self.name,
	    tf_log_q(tf_cspan(name)), tf_log_q(tf_cspan(sentence)));
	(void)!link_send_raw(&h->l, from, WIRE_REFUSE, &m);
}

static bool
rid_matches(struct tf_span rid, const struct wire_hello *m)
{
	char want[WIRE_NAME_MAX + 32];
	int n = snprintf(want, sizeof want, TF_SPAN_FMT ".%016llx.", TF_SPAN_ARG(m->name),
	    (unsigned long long)m->boot);

	if (n < 0 || rid.n <= (size_t)n || memcmp(rid.p, want, (size_t)n) != 0)
		return false;
	for (size_t i = (size_t)n; i < rid.n; i++)
		if (rid.p[i] < '0' || rid.p[i] > '9')
			return false;
	return true;
}

/* True when this HELLO may open a session; else the sentence for both operators. */
static bool
acceptable(struct wire_hub *h, struct tf_span from, const struct wire_hello *m, char *why, size_t cap)
{
	struct tf_span build = m->build.n ? tf_span(m->build.p, m->build.n > 64 ? 64 : m->build.n)
					  : TF_SPAN("?");
	const struct wire_self *self = &h->l.self;

	if (!wire_name_ok(m->name) || !rid_matches(from, m))
		snprintf(why, cap, "the instance name or boot in HELLO is not the one of its connection");
	else if (m->major_max < WIRE_MAJOR_MIN || m->major_min > WIRE_MAJOR)
		snprintf(why, cap, "%s (%s) speaks wire version %d to %d, " TF_SPAN_FMT " (" TF_SPAN_FMT
		    ") speaks %llu to %llu: upgrade the older one", self->name,
		    self->build ? self->build : "?", WIRE_MAJOR_MIN, WIRE_MAJOR, TF_SPAN_ARG(m->name),
		    TF_SPAN_ARG(build), (unsigned long long)m->major_min, (unsigned long long)m->major_max);
	else if (m->role > WIRE_ROLE_ST || !(m->role & self->roles) ||
	    !wire_allowed(WIRE_HEARTBEAT, (enum wire_role)m->role, self->role))
		snprintf(why, cap, "%s takes no %s as its peer here", self->name, wire_role_text(m->role));
	else
		return true;
	return false;
}

static int
welcome(struct wire_hub *h, struct tf_span from, const struct peer *p)
{
	const struct wire_self *self = &h->l.self;
	struct wire_welcome m = { .name = tf_cspan(self->name), .role = self->role, .boot = self->boot,
		.epoch = self->epoch, .major = p->pub.major, .build = tf_cspan(self->build),
		.session = p->session, .heartbeat_ms = self->heartbeat_ms,
		.key_change = h->l.key_change };

	return link_send_raw(&h->l, from, WIRE_WELCOME, &m);
}

/* The peer of the same name makes way, or this HELLO is an old or repeated one: false. */
static bool
displace(struct wire_hub *h, struct tf_span from, const struct wire_hello *m, struct peer *old)
{
	if (old->pub.boot == m->boot) {
		if (m->session < old->session)
			return false;
		if (m->session == old->session && !old->down && tf_span_eq(from, rid_of(old))) {
			(void)!welcome(h, from, old);
			return false;
		}
		hub_lost(old, "it opened a new session", false);
	} else if (old->prev_boot == m->boot && !old->down) {
		/* two live processes of one name would displace each other for ever */
		refuse(h, from, old->name, "another instance of this name has taken its place");
		return false;
	} else {
		tf_metric_add(TF_M_WIRE_PEER_LOST, 1);
		hub_lost(old, "it was restarted", false);
	}
	return true;
}

static struct peer *
admit(struct wire_hub *h, struct tf_span from, const struct wire_hello *m, unsigned minor)
{
	struct peer_facts facts = { .name = m->name, .build = m->build, .endpoint = m->endpoint,
		.role = m->role, .boot = m->boot, .epoch = m->epoch, .session = m->session,
		.heartbeat_ms = m->heartbeat_ms,
		.major = m->major_max < WIRE_MAJOR ? (unsigned)m->major_max : WIRE_MAJOR,
		.minor = minor };
	struct peer *p = link_peer_new(&h->l, &facts);

	if (p == NULL)
		return NULL;
	memcpy(p->rid, from.p, from.n);
	p->rid_len = from.n;
	if (tf_map_put(&h->by_rid, rid_of(p), p) != 0 ||
	    tf_map_put(&h->by_name, tf_cspan(p->name), p) != 0 || welcome(h, from, p) != 0) {
		tf_map_del(&h->by_rid, rid_of(p));
		tf_map_del(&h->by_name, tf_cspan(p->name));
		link_peer_discard(p);
		return NULL;
	}
	return p;
}

static void
hub_hello(struct wire_hub *h, struct tf_span from, const struct wire_frame *f)
{
	uint64_t prev_boot = 0;
	union wire_any m;
	struct peer *p;
	char why[512];

	if (wire_dec(f, &m) != 0) {
		link_bad_frame(&h->l, "?", "malformed HELLO");
		refuse(h, from, "?", "this HELLO cannot be read");
		return;
	}
	if (!acceptable(h, from, &m.hello, why, sizeof why)) {
		char *name = tf_span_dup(m.hello.name);

		refuse(h, from, name ? name : "?", why);
		free(name);
		return;
	}
	p = tf_map_get(&h->by_name, m.hello.name);
	if (p != NULL) {
		prev_boot = p->pub.boot != m.hello.boot ? p->pub.boot : p->prev_boot;
		if (!displace(h, from, &m.hello, p) || h->l.dead)
			return;
	}
	p = admit(h, from, &m.hello, f->minor);
	if (p == NULL)
		return;
	p->prev_boot = prev_boot;
	if (h->l.hooks.up != NULL)
		h->l.hooks.up(h->l.hooks.arg, &p->pub);
}

/* ---- messages ----------------------------------------------------------------------------- */

static void
hub_message(struct ev_zsock *s, struct tf_span from, struct ev_zmsg *msg, void *arg)
{
	struct wire_hub *h = arg;
	struct peer *p = tf_map_get(&h->by_rid, from);
	struct tf_span in = ev_zmsg_bytes(msg);

	(void)s;
	while (in.n > 0 && !h->l.dead) {
		struct wire_frame f;
		size_t used;

		if (wire_frame_read(in, &f, &used) != 0) {
			if (p != NULL)
				wire_drop(&p->pub, "a malformed frame");
			else
				link_bad_frame(&h->l, "?", "a malformed frame");
			return;
		}
		f.hold = msg;
		in = tf_span(in.p + used, in.n - used);
		if (f.verb == WIRE_HELLO) {
			hub_hello(h, from, &f);
			p = h->l.dead ? NULL : tf_map_get(&h->by_rid, from);
		} else if (p != NULL) {
			link_frame(p, &f);
		} else if (f.verb != WIRE_BYE) {
			resync(h, from);
			return;
		}
	}
}

/* ---- what daemons call -------------------------------------------------------------------- */

static void
hub_release(void *arg)
{
	free(arg);
}

int
wire_hub_new(struct ev_loop *loop, struct ev_zctx *ctx, const struct wire_self *self,
    const char *endpoint, const struct wire_hooks *hooks, struct wire_hub **out)
{
	struct wire_hub *h = calloc(1, sizeof *h);
	struct ev_zopts o = { .type = EV_ROUTER, .msg_max = WIRE_MESSAGE_MAX,
		.linger_ms = WIRE_LINGER_MS, .on_message = hub_message, .arg = h };
	int rc;

	if (h == NULL)
		return TF_E_NOMEM;
	rc = link_init(&h->l, loop, ctx, self, hooks, endpoint);
	if (rc != 0) {
		free(h);
		return rc;
	}
	h->l.ops = &hub_ops;
	ev_timer_init(&h->refill, loop, refill, h);
	h->l.sock = ev_zsock_new(loop, ctx, &o);
	rc = h->l.sock != NULL ? ev_zsock_bind(h->l.sock, endpoint) : TF_E_NOMEM;
	if (rc != 0) {
		link_fini(&h->l);
		free(h);
		return rc;
	}
	*out = h;
	return 0;
}

void
wire_hub_free(struct wire_hub **hub)
{
	struct wire_hub *h = *hub;
	struct tf_node *e;

	*hub = NULL;
	if (h == NULL || h->l.dead)
		return;
	while ((e = tf_list_first(&h->l.peers)) != NULL) {
		struct peer *p = TF_CONTAINER(e, struct peer, node);
		struct wire_bye bye = { 0 };

		wire_send_bye(&p->pub, NULL, 0, &bye, tf_span(NULL, 0));
		if (!p->down)
			out_flush(p);
		hub_lost(p, "we are leaving", false);
	}
	ev_timer_del(&h->refill);
	link_fini(&h->l);
	tf_map_free(&h->by_rid);
	tf_map_free(&h->by_name);
	ev_free_later(h->l.loop, h, hub_release);
}

struct wire_peer *
wire_hub_next(const struct wire_hub *h, const struct wire_peer *after)
{
	const struct tf_node *e = after ? ((const struct peer *)(const void *)after)->node.next
					: h->l.peers.head.next;

	return e == &h->l.peers.head ? NULL : &TF_CONTAINER(e, struct peer, node)->pub;
}

size_t
wire_hub_count(const struct wire_hub *h)
{
	return h->l.peers.n;
}

struct wire_peer *
wire_hub_find(const struct wire_hub *h, struct tf_span name)
{
	struct peer *p = tf_map_get(&h->by_name, name);

	return p && !p->down ? &p->pub : NULL;
}

void
wire_hub_epoch(struct wire_hub *h, uint64_t epoch)
{
	h->l.self.epoch = epoch;
}

void
wire_hub_key_change(struct wire_hub *h, uint64_t number)
{
	h->l.key_change = number;
}
