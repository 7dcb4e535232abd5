/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A change of a key acts at the next request, whether the message that announces it has come or not. gatewayd runs as a
 * process; this one is its billingd and its clients, and keeps the announcements back.
 */
#include "config.h"

#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/event/event.h"
#include "common/wire/board.h"
#include "common/wire/wire.h"

#define NONE tf_span(NULL, 0)
#define BOOT 0x77
#define CLIENTS 3
#define WAIT_MS 20000 /* a busy machine */

struct client { /* one connection */
	int fd;
	char in[8192];
	size_t n;
};

struct world {
	char dir[64], key[TF_APIKEY_MAX + 1];
	pid_t pid;
	struct ev_loop *loop;
	struct ev_zctx *zctx;
	struct ev_timer wake;
	struct wire_hub *hub;
	struct wire_board *board;
	struct wire_peer *gateway;
	struct client client[CLIENTS];
	uint64_t change;             /* as answers about keys say it */
	enum wire_key_status status; /* likewise */
	bool hold;                   /* answers are given by hand */
	struct tf_id held;
	unsigned asks;
};

/* ---- billingd ----------------------------------------------------------------------------- */

static void
answer(struct world *w, const struct tf_id *id, uint64_t change, enum wire_key_status status)
{
	struct wire_key m = { .status = status, .key = TF_SPAN("0123456789abcdef"), .workspace = TF_SPAN("fedcba9876543210"),
		.key_name = TF_SPAN("k"), .workspace_name = TF_SPAN("w"), .plan = TF_SPAN("p"), .change = change };

	assert_int_equal(wire_send_key(w->gateway, id, 0, &m, NONE), 0);
}

static void
on_up(void *arg, struct wire_peer *p)
{
	((struct world *)arg)->gateway = p;
}

static void
on_down(void *arg, struct wire_peer *p, const char *why)
{
	(void)p;
	(void)why;
	((struct world *)arg)->gateway = NULL;
}

static void
on_frame(void *arg, struct wire_peer *p, const struct wire_frame *f, const union wire_any *m)
{
	struct world *w = arg;

	(void)p;
	(void)m;
	if (f->verb != WIRE_KEY_ASK)
		return;
	w->asks++;
	w->held = f->id;
	if (!w->hold)
		answer(w, &f->id, w->change, w->status);
}

/* The operator's command is over: the board says so, and nothing has been sent, in heartbeats either. */
static void
change(struct world *w, enum wire_key_status status)
{
	w->status = status;
	wire_board_change(w->board, ++w->change);
}

static void
announce(struct world *w)
{
	struct wire_key_change m = { .change = w->change, .key = TF_SPAN("another key's id") };

	assert_int_equal(wire_send_key_change(w->gateway, NULL, 0, &m, NONE), 0);
}

/* ---- clients ------------------------------------------------------------------------------ */

static void
on_wake(void *arg)
{
	struct world *w = arg;

	ev_timer_set(&w->wake, 2);
}

#define UNTIL(w, cond) \
	do { \
		uint64_t until_ = tf_mono_ms() + WAIT_MS; \
		while (!(cond)) { \
			ev_loop_once((w)->loop, true); \
			if (tf_mono_ms() > until_) \
				fail_msg("line %d: waited in vain for %s", __LINE__, #cond); \
		} \
	} while (0)

static bool
client_open(struct world *w, struct client *c)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	snprintf(sun.sun_path, sizeof sun.sun_path, "%s/api.sock", w->dir);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(c->fd >= 0);
	if (connect(c->fd, (struct sockaddr *)&sun, sizeof sun) == 0)
		return true;
	close(c->fd);
	c->fd = -1;
	return false;
}

static void
client_send(struct world *w, struct client *c, const char *path)
{
	char text[512];
	int n = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", path, w->key);

	c->n = 0;
	assert_int_equal(write(c->fd, text, (size_t)n), n);
}

/* Status of the whole answer; 0: it is not there yet. */
static unsigned
client_status(struct client *c)
{
	ssize_t n = recv(c->fd, c->in + c->n, sizeof c->in - 1 - c->n, MSG_DONTWAIT);
	const char *end, *length;

	if (n > 0)
		c->n += (size_t)n;
	c->in[c->n] = '\0';
	end = strstr(c->in, "\r\n\r\n");
	if (end == NULL)
		return 0;
	length = strcasestr(c->in, "content-length:");
	assert_true(length != NULL && length < end);
	if (strlen(end + 4) < strtoul(length + 15, NULL, 10))
		return 0;
	return (unsigned)strtoul(c->in + 9, NULL, 10);
}

static unsigned
client_get(struct world *w, struct client *c, const char *path)
{
	unsigned status;

	client_send(w, c, path);
	UNTIL(w, (status = client_status(c)) != 0);
	return status;
}

/* ---- the bed ------------------------------------------------------------------------------ */

static void
write_conf(const struct world *w, char path[static 128])
{
	FILE *out;

	snprintf(path, 128, "%s/tokenfactory.conf", w->dir);
	out = fopen(path, "w");
	assert_non_null(out);
	fprintf(out, "[common]\nrun-dir = %s\nheartbeat = 10s\n[gatewayd]\nlisten = unix:%s/api.sock\nspool-dir = %s/spool\n"
	    "spool-segment = 1m\nthreads = 1\n[plan p]\nrpm = 0\ntpm = 0\n", w->dir, w->dir, w->dir);
	assert_int_equal(fclose(out), 0);
	assert_int_equal(chmod(path, 0600), 0);
}

static int
setup(void **state)
{
	struct world *w = calloc(1, sizeof *w);
	struct wire_self self = { .name = "billingd", .role = WIRE_ROLE_BL, .boot = BOOT, .epoch = 1, .build = "test",
		.heartbeat_ms = 100, .roles = WIRE_ROLE_GW };
	struct wire_hooks hooks = { on_up, on_down, on_frame, w };
	const char *top = getenv("top_builddir");
	char program[1024], conf[128], endpoint[128];

	assert_non_null(w);
	alarm(120);
	snprintf(w->dir, sizeof w->dir, "/tmp/tf-change-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	assert_int_equal(tf_apikey_mint("tf", "dev", w->key, sizeof w->key), 0);
	w->loop = ev_loop_new();
	w->zctx = ev_zctx_new(1);
	assert_true(w->loop != NULL && w->zctx != NULL);
	ev_timer_init(&w->wake, w->loop, on_wake, w);
	ev_timer_set(&w->wake, 2);
	assert_int_equal(wire_board_create(w->dir, BOOT, &w->board), 0);
	w->status = WIRE_KEY_ACTIVE;
	w->change = 7;
	wire_board_change(w->board, w->change);
	snprintf(endpoint, sizeof endpoint, "ipc://%s/billingd.sock", w->dir);
	assert_int_equal(wire_hub_new(w->loop, w->zctx, &self, endpoint, &hooks, &w->hub), 0);
	wire_hub_key_change(w->hub, w->change);
	write_conf(w, conf);
	snprintf(program, sizeof program, "%s/gatewayd/gatewayd", top ? top : ".");
	w->pid = fork();
	assert_true(w->pid >= 0);
	if (w->pid == 0) {
		alarm(120);
		execl(program, "gatewayd", "--config", conf, (char *)NULL);
		_exit(127);
	}
	UNTIL(w, w->gateway != NULL);
	for (size_t i = 0; i < CLIENTS; i++) {
		UNTIL(w, client_open(w, &w->client[i]));
		assert_int_equal(client_get(w, &w->client[i], "/healthz"), 200);
	}
	*state = w;
	return 0;
}

static int
gone(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

static int
teardown(void **state)
{
	struct world *w = *state;
	int status;

	kill(w->pid, SIGKILL);
	waitpid(w->pid, &status, 0);
	for (size_t i = 0; i < CLIENTS; i++)
		close(w->client[i].fd);
	wire_hub_free(&w->hub);
	wire_board_close(&w->board);
	ev_timer_del(&w->wake);
	ev_loop_free(&w->loop);
	ev_zctx_free(&w->zctx);
	status = nftw(w->dir, gone, 8, FTW_DEPTH | FTW_PHYS);
	free(w);
	return status;
}

/* ---- tests -------------------------------------------------------------------------------- */

/*
 * A machine that stops this process for so long makes billingd silent: keys are asked for again then, and what was asked
 * before is given up.
 */
#define QUICK_MS 800
#define TRIES 20

static void
quickly(struct world *w, bool (*body)(struct world *w))
{
	for (unsigned i = 0; i < TRIES; i++) {
		uint64_t began = tf_mono_ms();

		change(w, WIRE_KEY_ACTIVE);
		announce(w);
		UNTIL(w, client_get(w, &w->client[0], "/v1/models") == 200);
		w->asks = 0;
		if (body(w))
			return;
		if (tf_mono_ms() - began < QUICK_MS)
			fail_msg("not as it should be");
	}
	fail_msg("this machine is too slow");
}

static bool
next_request(struct world *w)
{
	struct client *c = &w->client[0];

	change(w, WIRE_KEY_REVOKED);
	if (client_get(w, c, "/v1/models") != 401)
		return false;
	/* a refusal is believed for a moment, too; not beyond a change */
	if (client_get(w, c, "/v1/models") != 401)
		return false;
	change(w, WIRE_KEY_ACTIVE);
	return client_get(w, c, "/v1/models") == 200 && w->asks == 2;
}

static void
test_next_request(void **state)
{
	quickly(*state, next_request);
}

/* One question a key and change, not one a request; the announcement of another key's change brings none. */
static bool
asked_once(struct world *w)
{
	struct client *c = &w->client[0];
	bool good = client_get(w, c, "/v1/models") == 200 && w->asks == 0; /* what is known is believed */

	change(w, WIRE_KEY_ACTIVE);
	for (unsigned i = 0; i < 5; i++)
		good = client_get(w, c, "/v1/models") == 200 && w->asks == 1 && good;
	announce(w);
	for (unsigned i = 0; i < 5; i++)
		good = client_get(w, c, "/v1/models") == 200 && w->asks == 1 && good;
	return good;
}

static void
test_asked_once(void **state)
{
	quickly(*state, asked_once);
}

/* A question is under way when the change is made: its answer serves those who came before, and nobody else. */
static bool
while_asking(struct world *w)
{
	struct client *before = &w->client[0], *after = &w->client[1];
	unsigned first, second;

	change(w, WIRE_KEY_ACTIVE);
	w->hold = true;
	client_send(w, before, "/v1/models");
	UNTIL(w, w->asks > 0);
	change(w, WIRE_KEY_REVOKED);
	client_send(w, after, "/v1/models");
	/* what was sent before this is read when this is answered, or in the same turn */
	(void)client_get(w, &w->client[2], "/healthz");
	w->hold = false;
	answer(w, &w->held, w->change - 1, WIRE_KEY_ACTIVE);
	UNTIL(w, (first = client_status(before)) != 0);
	UNTIL(w, (second = client_status(after)) != 0);
	return first == 200 && second == 401 && w->asks == 2;
}

static void
test_while_asking(void **state)
{
	quickly(*state, while_asking);
}

int
main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = { T(test_next_request), T(test_asked_once), T(test_while_asking) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
