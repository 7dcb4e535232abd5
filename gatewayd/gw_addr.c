/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open connections by client address, so that one host cannot take all. Shared by all threads under
 * a mutex: touched when a connection opens and closes, never per request.
 */
#include "config.h"

#include <netinet/in.h>
#include <stdlib.h>

#include "gatewayd/gw.h"

struct gw_addr {
	uint8_t key[16];
	unsigned n;
};

struct gw_addrs {
	pthread_mutex_t lock;
	struct tf_map map;
};

struct gw_addrs *
gw_addrs_new(void)
{
	struct gw_addrs *a = calloc(1, sizeof *a);

	if (a != NULL)
		pthread_mutex_init(&a->lock, NULL);
	return a;
}

void
gw_addrs_free(struct gw_addrs **ap)
{
	struct gw_addrs *a = *ap;
	struct gw_addr *e;
	size_t pos = 0;

	if (a == NULL)
		return;
	while ((e = tf_map_next(&a->map, &pos)) != NULL)
		free(e);
	tf_map_free(&a->map);
	pthread_mutex_destroy(&a->lock);
	free(a);
	*ap = NULL;
}

/* IPv4 mapped; a /64 counts as one IPv6 client. False: a local socket, which is not counted. */
static bool
gw_addr_key(const struct sockaddr *sa, uint8_t key[static 16])
{
	memset(key, 0, 16);
	if (sa->sa_family == AF_INET) {
		key[10] = key[11] = 0xff;
		memcpy(key + 12, &((const struct sockaddr_in *)(const void *)sa)->sin_addr, 4);
		return true;
	}
	if (sa->sa_family == AF_INET6) {
		const uint8_t *b = ((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr.s6_addr;
		static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

		memcpy(key, b, memcmp(b, mapped, sizeof mapped) == 0 ? 16 : 8);
		return true;
	}
	return false;
}

bool
gw_addrs_take(struct gw_addrs *a, const struct sockaddr *sa, unsigned max)
{
	uint8_t key[16];
	struct gw_addr *e;
	bool ok = true;

	if (!gw_addr_key(sa, key))
		return true;
	pthread_mutex_lock(&a->lock);
	e = tf_map_get(&a->map, tf_span(key, sizeof key));
	if (e == NULL) {
		e = calloc(1, sizeof *e);
		if (e != NULL) {
			memcpy(e->key, key, sizeof key);
			if (tf_map_put(&a->map, tf_span(e->key, sizeof e->key), e) != 0) {
				free(e);
				e = NULL;
			}
		}
	}
	if (e == NULL || e->n >= max)
		ok = false;
	else
		e->n++;
	pthread_mutex_unlock(&a->lock);
	return ok;
}

void
gw_addrs_give(struct gw_addrs *a, const struct sockaddr *sa)
{
	uint8_t key[16];
	struct gw_addr *e;

	if (!gw_addr_key(sa, key))
		return;
	pthread_mutex_lock(&a->lock);
	e = tf_map_get(&a->map, tf_span(key, sizeof key));
	if (e != NULL && --e->n == 0) {
		tf_map_del(&a->map, tf_span(key, sizeof key));
		free(e);
	}
	pthread_mutex_unlock(&a->lock);
}
