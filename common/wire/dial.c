/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connecting side: a DEALER towards one hub. Says HELLO until it is welcomed; after a
 * loss it takes a new socket, since what lies in the queues of the old one belongs to a
 * session that is over, and says HELLO again, for ever.
 */
#include "config.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/wire/link.h"

enum dial_state {
	DIAL_HELLO,   /* saying HELLO; the timer runs */
	DIAL_REFUSED, /* waiting before the next HELLO; the timer runs */
	DIAL_UP,      /* in session: l.peers holds the peer */
};

struct wire_dial {
	struct link l; /* first */
	enum dial_state state;
	struct ev_timer timer;
	uint64_t session;
	unsigned tries;   /* HELLOs since the last answer or socket */
	bool hasty;       /* a loss was answered at once within the last second */
	struct ev_timer calm; /* ends hasty */
	char trouble[256];
};

static struct wire_dial *
dial_of(struct link *l)
{
	return TF_CONTAINER(l, struct wire_dial, l);
}

static void dial_message(struct ev_zsock *s, struct tf_span from, struct ev_zmsg *msg, void *arg);

/* ---- HELLO -------------------------------------------------------------------------------- */

/*
 * Numbers of sessions, and of the sockets they begin on, rise over all dials of the process: what an
 * older socket still delivers, also that of a dial that was freed, must never look like the newer one.
 */
static uint64_t
next_number(void)
{
	static atomic_uint_fast64_t last;

	return atomic_fetch_add(&last, 1) + 1;
}

/* A new socket, connected or to be connected. The old one goes with all that is in it. */
static int
new_socket(struct wire_dial *d)
{
	char rid[EV_ZID_MAX];
	/* not "immediate": with it ZeroMQ drops what it had received but not handed over when the
	 * other side closes, and with that the last words of a hub that leaves */
	struct ev_zopts o = { .type = EV_DEALER, .msg_max = WIRE_MESSAGE_MAX,
		.linger_ms = WIRE_LINGER_MS, .on_message = dial_message, .arg = d };
	int n;

	if (d->l.sock != NULL)
		ev_zsock_close(&d->l.sock);
	d->session = next_number();
	n = snprintf(rid, sizeof rid, "%s.%016llx.%llu", d->l.self.name,
	    (unsigned long long)d->l.self.boot, (unsigned long long)d->session);
	o.routing_id = tf_span(rid, (size_t)n);
	d->tries = 0;
	d->l.sock = ev_zsock_new(d->l.loop, d->l.ctx, &o);
	return d->l.sock != NULL ? ev_zsock_connect(d->l.sock, d->l.endpoint) : TF_E_NOMEM;
}

static void
say_hello(struct wire_dial *d)
{
	const struct wire_self *self = &d->l.self;
	struct wire_hello m = { .name = tf_cspan(self->name), .role = self->role, .boot = self->boot,
		.epoch = self->epoch, .major_min = WIRE_MAJOR_MIN, .major_max = WIRE_MAJOR,
		.build = tf_cspan(self->build), .endpoint = tf_cspan(self->endpoint),
		.session = d->session, .heartbeat_ms = self->heartbeat_ms };

	if (d->l.sock == NULL || d->tries > WIRE_HELLO_TRIES)
		(void)!new_socket(d);
	if (d->l.sock != NULL &&
	    link_send_raw(&d->l, tf_span(NULL, 0), WIRE_HELLO, &m) == 0) {
		d->tries++;
		ev_timer_set(&d->timer, WIRE_HELLO_MS);
	} else {
		ev_timer_set(&d->timer, WIRE_UNSENT_MS);
	}
}

static void
hello_due(void *arg)
{
	struct wire_dial *d = arg;

	d->state = DIAL_HELLO;
	say_hello(d);
}

static void
calmed(void *arg)
{
	struct wire_dial *d = arg;

	d->hasty = false;
}

/* No session (any more): start over. at_once: the other side is there and waits for HELLO. */
static void
start_over(struct wire_dial *d, bool at_once)
{
	d->state = DIAL_HELLO;
	d->session = next_number();
	if (at_once && !d->hasty) {
		/* a hub that drops us on sight must not be asked at the speed of the wire */
		d->hasty = true;
		ev_timer_set(&d->calm, WIRE_CALM_MS);
		say_hello(d);
	} else {
		ev_timer_set(&d->timer, WIRE_HELLO_MS);
	}
}

static struct tf_span
dial_address(struct peer *p)
{
	(void)p;
	return tf_span(NULL, 0);
}

static void
dial_lost(struct peer *p, const char *why, bool again)
{
	struct wire_dial *d = dial_of(p->link);

	(void)again;
	snprintf(d->trouble, sizeof d->trouble, "%s", why);
	d->state = DIAL_HELLO;
	/* its frames and ours are void: a socket of its own keeps the sessions apart */
	(void)!new_socket(d);
	start_over(d, true);
	link_peer_gone(p, why);
}

static const struct link_ops dial_ops = { .address = dial_address, .lost = dial_lost };

static struct peer *
the_peer(const struct wire_dial *d)
{
	struct tf_node *e = tf_list_first(&d->l.peers);

	return e ? TF_CONTAINER(e, struct peer, node) : NULL;
}

/* ---- answers ------------------------------------------------------------------------------ */

static void
welcomed(struct wire_dial *d, const struct wire_frame *f)
{
	struct peer_facts facts;
	union wire_any any;
	const struct wire_welcome *m = &any.welcome;
	struct peer *p;

	if (wire_dec(f, &any) != 0 || !wire_name_ok(m->name)) {
		link_bad_frame(&d->l, d->l.endpoint, "malformed WELCOME");
		return;
	}
	if (d->state == DIAL_UP || m->session != d->session)
		return; /* of an older or a repeated HELLO */
	if (m->major < WIRE_MAJOR_MIN || m->major > WIRE_MAJOR || m->role > WIRE_ROLE_ST ||
	    !(m->role & d->l.self.roles) ||
	    !wire_allowed(WIRE_HEARTBEAT, d->l.self.role, (enum wire_role)m->role)) {
		link_bad_frame(&d->l, d->l.endpoint, "WELCOME of a wrong role or version");
		return;
	}
	facts = (struct peer_facts){ .name = m->name, .build = m->build, .role = m->role,
		.boot = m->boot, .epoch = m->epoch, .session = m->session,
		.heartbeat_ms = m->heartbeat_ms, .key_change = m->key_change,
		.major = (unsigned)m->major, .minor = f->minor };
	p = link_peer_new(&d->l, &facts);
	if (p == NULL)
		return; /* without memory: HELLO goes on */
	d->state = DIAL_UP;
	d->tries = 0;
	d->trouble[0] = '\0';
	ev_timer_del(&d->timer);
	if (d->l.hooks.up != NULL)
		d->l.hooks.up(d->l.hooks.arg, &p->pub);
}

static void
refused(struct wire_dial *d, const struct wire_frame *f)
{
	union wire_any m;

	if (d->state == DIAL_UP || wire_dec(f, &m) != 0)
		return;
	snprintf(d->trouble, sizeof d->trouble, "refused: " TF_SPAN_FMT, TF_SPAN_ARG(m.refuse.reason));
	tf_log(TF_WARN, "wire", NULL, "refused by a peer self=%s endpoint=%s why=%s", d->l.self.name,
	    d->l.endpoint, tf_log_q(m.refuse.reason));
	d->state = DIAL_REFUSED;
	d->tries = 0;
	ev_timer_set(&d->timer, WIRE_REFUSED_MS);
}

static void
outside_session(struct wire_dial *d, const struct wire_frame *f)
{
	struct peer *p = the_peer(d);

	if (f->verb == WIRE_WELCOME) {
		welcomed(d, f);
	} else if (f->verb == WIRE_REFUSE) {
		refused(d, f);
	} else if (f->verb == WIRE_RESYNC && p != NULL) {
		tf_metric_add(TF_M_WIRE_PEER_LOST, 1);
		/* the same socket: the hub is there and its queue holds only what follows */
		snprintf(d->trouble, sizeof d->trouble, "it has no session with us");
		start_over(d, true);
		link_peer_gone(p, "it has no session with us");
	}
}

static void
dial_message(struct ev_zsock *s, struct tf_span from, struct ev_zmsg *msg, void *arg)
{
	struct wire_dial *d = arg;
	struct tf_span in = ev_zmsg_bytes(msg);

	(void)from;
	while (in.n > 0 && !d->l.dead && d->l.sock == s) {
		struct peer *p = the_peer(d);
		struct wire_frame f;
		size_t used;

		if (wire_frame_read(in, &f, &used) != 0) {
			if (p != NULL)
				wire_drop(&p->pub, "a malformed frame");
			else
				link_bad_frame(&d->l, d->l.endpoint, "a malformed frame");
			return;
		}
		f.hold = msg;
		in = tf_span(in.p + used, in.n - used);
		if (f.verb == WIRE_WELCOME || f.verb == WIRE_REFUSE || f.verb == WIRE_RESYNC ||
		    f.verb == WIRE_HELLO)
			outside_session(d, &f);
		else if (p != NULL)
			link_frame(p, &f);
	}
}

/* ---- what daemons call -------------------------------------------------------------------- */

static void
dial_release(void *arg)
{
	free(arg);
}

int
wire_dial_new(struct ev_loop *loop, struct ev_zctx *ctx, const struct wire_self *self,
    const char *endpoint, const struct wire_hooks *hooks, struct wire_dial **out)
{
	struct wire_dial *d = calloc(1, sizeof *d);
	int rc;

	if (d == NULL)
		return TF_E_NOMEM;
	rc = link_init(&d->l, loop, ctx, self, hooks, endpoint);
	if (rc != 0) {
		free(d);
		return rc;
	}
	d->l.ops = &dial_ops;
	snprintf(d->trouble, sizeof d->trouble, "not connected yet");
	ev_timer_init(&d->timer, loop, hello_due, d);
	ev_timer_init(&d->calm, loop, calmed, d);
	rc = new_socket(d);
	if (rc != 0) {
		link_fini(&d->l);
		free(d);
		return rc;
	}
	say_hello(d);
	*out = d;
	return 0;
}

void
wire_dial_free(struct wire_dial **dial)
{
	struct wire_dial *d = *dial;
	struct peer *p;

	*dial = NULL;
	if (d == NULL || d->l.dead)
		return;
	p = the_peer(d);
	if (p != NULL) {
		struct wire_bye bye = { 0 };

		wire_send_bye(&p->pub, NULL, 0, &bye, tf_span(NULL, 0));
		if (!p->down)
			out_flush(p);
		link_peer_gone(p, "we are leaving");
	}
	ev_timer_del(&d->timer);
	ev_timer_del(&d->calm);
	link_fini(&d->l);
	ev_free_later(d->l.loop, d, dial_release);
}

struct wire_peer *
wire_dial_peer(const struct wire_dial *d)
{
	struct peer *p = the_peer(d);

	return p && !p->down ? &p->pub : NULL;
}

const char *
wire_dial_endpoint(const struct wire_dial *d)
{
	return d->l.endpoint;
}

const char *
wire_dial_trouble(const struct wire_dial *d)
{
	return d->trouble;
}
