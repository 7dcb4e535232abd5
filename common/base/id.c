/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Randomness and the ids made of it. Ids sort by the millisecond in which they were
 * made; nothing may rely on the order of two ids of one millisecond.
 */
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/random.h>

#include "common/base/base.h"

#define POOL 1024 /* bytes drawn from the kernel at once */

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

static _Atomic unsigned forks; /* a child must not repeat what its parent had drawn ahead */
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;

static __thread struct {
	uint8_t bytes[POOL];
	size_t left;
	unsigned forks;
} pool;

static void
fork_child(void)
{
	atomic_fetch_add(&forks, 1);
}

static void
fork_watch(void)
{
	if (pthread_atfork(NULL, NULL, fork_child) != 0)
		abort();
}

static void
kernel_random(uint8_t *p, size_t n)
{
	while (n > 0) {
		ssize_t got = getrandom(p, n, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			abort();
		p += got;
		n -= (size_t)got;
	}
}

void
tf_random(void *p, size_t n)
{
	unsigned now;

	if (n > POOL / 4) {
		kernel_random(p, n);
		return;
	}
	pthread_once(&fork_once, fork_watch);
	now = atomic_load_explicit(&forks, memory_order_relaxed);
	if (pool.left < n || pool.forks != now) {
		kernel_random(pool.bytes, POOL);
		pool.left = POOL;
		pool.forks = now;
	}
	pool.left -= n;
	memcpy(p, pool.bytes + pool.left, n);
	tf_wipe(pool.bytes + pool.left, n);
}

uint64_t
tf_random_u64(void)
{
	uint64_t v;

	tf_random(&v, sizeof v);
	return v;
}

struct tf_id
tf_id_new(void)
{
	uint64_t ms = (uint64_t)(tf_wall_ns() / 1000000);
	struct tf_id id;

	for (int i = 0; i < 6; i++)
		id.b[i] = (uint8_t)(ms >> (40 - 8 * i));
	tf_random(id.b + 6, 10);
	return id;
}

/* 26 characters carry 130 bits: the first one holds only the top three. */
void
tf_id_text(struct tf_id id, char out[static TF_ID_TEXT + 1])
{
	unsigned acc = 0;
	int bits = 2, pos = 0;

	for (size_t i = 0; i < sizeof id.b; i++) {
		acc = (acc << 8 | id.b[i]) & 0xfff;
		bits += 8;
		for (; bits >= 5; bits -= 5)
			out[pos++] = alphabet[acc >> (bits - 5) & 31];
	}
	out[pos] = '\0';
}

static int
digit_value(char c)
{
	const char *at;

	if (c >= 'a' && c <= 'z')
		c = (char)(c - 'a' + 'A');
	at = c != '\0' ? strchr(alphabet, c) : NULL;
	return at ? (int)(at - alphabet) : -1;
}

int
tf_id_parse(struct tf_span s, struct tf_id *out)
{
	unsigned acc = 0;
	int bits = -2;
	size_t pos = 0;
	struct tf_id id;

	if (s.n != TF_ID_TEXT || digit_value(s.p[0]) > 7)
		return TF_E_INVAL;
	for (size_t i = 0; i < s.n; i++) {
		int v = digit_value(s.p[i]);

		if (v < 0)
			return TF_E_INVAL;
		acc = (acc << 5 | (unsigned)v) & 0x1fff;
		bits += 5;
		if (bits >= 8) {
			bits -= 8;
			id.b[pos++] = (uint8_t)(acc >> bits);
		}
	}
	*out = id;
	return 0;
}
