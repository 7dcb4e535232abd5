/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a key can be held to beside its limits: names of operations, and networks that it may be used
 * from. Addresses are 16 bytes, IPv4 ones mapped into IPv6, so that a client counts as the same
 * whichever socket it came in by.
 */
#include "config.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "common/base/base.h"

#define MAPPED_BITS 96 /* of an IPv4 address inside IPv6: ::ffff:0:0/96 */

static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

/* ---- operations --------------------------------------------------------------------------- */

static const char *const names[] = {
#define OPERATION(sym, name, what) name,
#include "common/base/operation.def"
#undef OPERATION
};

const char *
tf_operation_name(enum tf_operation op)
{
	return op < TF_OP_COUNT ? names[op] : NULL;
}

enum tf_operation
tf_operation_by_name(struct tf_span name)
{
	for (unsigned i = 0; i < TF_LEN(names); i++)
		if (tf_span_is(name, names[i]))
			return (enum tf_operation)i;
	return TF_OP_COUNT;
}

/* ---- addresses ---------------------------------------------------------------------------- */

int
tf_address_of(const struct sockaddr *sa, uint8_t out[static TF_ADDRESS])
{
	if (sa->sa_family == AF_INET) {
		memcpy(out, mapped, sizeof mapped);
		memcpy(out + sizeof mapped, &((const struct sockaddr_in *)(const void *)sa)->sin_addr, 4);
		return 0;
	}
	if (sa->sa_family == AF_INET6) {
		memcpy(out, &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr, TF_ADDRESS);
		return 0;
	}
	return TF_E_INVAL;
}

/* The address alone. *v4: it was written as IPv4. */
static int
parse_bare(struct tf_span s, uint8_t out[static TF_ADDRESS], bool *v4)
{
	char text[INET6_ADDRSTRLEN];

	if (s.n == 0 || s.n >= sizeof text || memchr(s.p, '\0', s.n) != NULL)
		return TF_E_INVAL;
	memcpy(text, s.p, s.n);
	text[s.n] = '\0';
	*v4 = memchr(s.p, ':', s.n) == NULL;
	if (!*v4)
		return inet_pton(AF_INET6, text, out) == 1 ? 0 : TF_E_INVAL;
	memcpy(out, mapped, sizeof mapped);
	return inet_pton(AF_INET, text, out + sizeof mapped) == 1 ? 0 : TF_E_INVAL;
}

/* Takes a port off: ADDRESS:PORT of IPv4, [ADDRESS] and [ADDRESS]:PORT. False: what follows is no port. */
static bool
without_port(struct tf_span *s)
{
	const char *end, *colon = s->n > 0 ? memchr(s->p, ':', s->n) : NULL;
	struct tf_span port = { 0 };
	uint64_t n;

	if (s->n > 0 && s->p[0] == '[') {
		end = memchr(s->p, ']', s->n);
		if (end == NULL)
			return false;
		port = tf_span(end + 1, s->n - (size_t)(end + 1 - s->p));
		*s = tf_span(s->p + 1, (size_t)(end - s->p - 1));
		if (memchr(s->p, ':', s->n) == NULL)
			return false;
		if (port.n == 0)
			return true;
		if (port.p[0] != ':')
			return false;
		port = tf_span(port.p + 1, port.n - 1);
	} else if (colon != NULL && memchr(colon + 1, ':', s->n - (size_t)(colon + 1 - s->p)) == NULL) {
		port = tf_span(colon + 1, s->n - (size_t)(colon + 1 - s->p));
		s->n = (size_t)(colon - s->p);
	} else {
		return true;
	}
	return tf_span_u64(port, 65535, &n) == 0;
}

int
tf_address_parse(struct tf_span text, uint8_t out[static TF_ADDRESS])
{
	bool v4;

	return without_port(&text) ? parse_bare(text, out, &v4) : TF_E_INVAL;
}

/* ---- networks ----------------------------------------------------------------------------- */

/* Bits of address n that lie beyond the prefix are cleared. */
static void
clear_host(struct tf_network *n)
{
	for (unsigned i = 0; i < TF_ADDRESS; i++) {
		unsigned have = n->bits > i * 8 ? n->bits - i * 8 : 0;

		if (have < 8)
			n->address[i] &= (uint8_t)(0xff00u >> have);
	}
}

int
tf_network_parse(struct tf_span text, struct tf_network *out)
{
	const char *slash = text.n > 0 ? memchr(text.p, '/', text.n) : NULL;
	struct tf_span address = text, digits;
	uint64_t bits;
	bool v4;

	if (slash != NULL)
		address.n = (size_t)(slash - text.p);
	if (parse_bare(address, out->address, &v4) != 0)
		return TF_E_INVAL;
	out->bits = TF_ADDRESS * 8;
	if (slash != NULL) {
		digits = tf_span(slash + 1, text.n - address.n - 1);
		if (tf_span_u64(digits, v4 ? 32 : 128, &bits) != 0)
			return TF_E_INVAL;
		out->bits = (unsigned)bits + (v4 ? MAPPED_BITS : 0);
	}
	clear_host(out);
	return 0;
}

bool
tf_network_has(const struct tf_network *n, const uint8_t address[static TF_ADDRESS])
{
	unsigned whole = n->bits / 8, rest = n->bits % 8;

	if (memcmp(n->address, address, whole) != 0)
		return false;
	return rest == 0 || ((n->address[whole] ^ address[whole]) & (0xff00u >> rest) & 0xff) == 0;
}

void
tf_network_text(const struct tf_network *n, char out[static TF_NETWORK_TEXT])
{
	bool v4 = n->bits >= MAPPED_BITS && memcmp(n->address, mapped, sizeof mapped) == 0;
	char text[INET6_ADDRSTRLEN];

	if (inet_ntop(v4 ? AF_INET : AF_INET6, n->address + (v4 ? sizeof mapped : 0), text, sizeof text) == NULL)
		text[0] = '\0';
	snprintf(out, TF_NETWORK_TEXT, "%s/%u", text, n->bits - (v4 ? MAPPED_BITS : 0));
}
