/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Content coding of a body (RFC 9110, 8.4.1): gzip with any number of members, and zlib's own
 * format, which HTTP calls deflate. Pieces in, at most as much out as the caller has room for, so
 * that neither time nor memory depends on what the sender claims. Called by conn.c.
 */
#include "config.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "common/http/http_int.h"

#define BOMB_FROM	(8u << 20)	/* what decodes to less is never called a bomb */
#define BOMB_RATIO	100		/* text of people and programs stays below 30 */

struct http_inflate {
	z_stream	z;
	bool		gzip;
	bool		done;		/* a member ended, none began since */
	bool		bad;
	uint64_t	in, out;	/* bytes, all members */
	unsigned char	held[HTTP_INFLATE_IN];
};

int
http_coding(struct tf_span field, enum http_coding *out)
{
	struct tf_span s = tf_span_trim(field);

	if (s.n == 0 || tf_span_caseeq(s, "identity"))
		*out = HTTP_CODING_NONE;
	else if (tf_span_caseeq(s, "gzip") || tf_span_caseeq(s, "x-gzip"))
		*out = HTTP_CODING_GZIP;
	else if (tf_span_caseeq(s, "deflate"))
		*out = HTTP_CODING_DEFLATE;
	else
		return TF_E_INVAL;
	return 0;
}

struct http_inflate *
http_inflate_new(enum http_coding coding)
{
	struct http_inflate *x = calloc(1, sizeof(*x));

	if (x == NULL)
		return NULL;
	x->gzip = coding == HTTP_CODING_GZIP;
	if (inflateInit2(&x->z, x->gzip ? 15 + 16 : 15) != Z_OK) {
		free(x);
		return NULL;
	}
	return x;
}

void
http_inflate_free(struct http_inflate **x)
{
	if (*x == NULL)
		return;
	(void)inflateEnd(&(*x)->z);
	free(*x);
	*x = NULL;
}

size_t
http_inflate_room(const struct http_inflate *x)
{
	return x->z.avail_in > 0 ? 0 : sizeof(x->held);
}

void
http_inflate_give(struct http_inflate *x, struct tf_span in)
{
	memcpy(x->held, in.p, in.n);
	x->z.next_in = x->held;
	x->z.avail_in = (unsigned)in.n;
	x->in += in.n;
}

/* Another member follows, or something that is none: then inflate says so. */
static bool
next_member(struct http_inflate *x)
{
	if (!x->gzip || inflateReset(&x->z) != Z_OK)
		return false;
	x->done = false;
	return true;
}

static bool
is_bomb(const struct http_inflate *x)
{
	return x->out > BOMB_FROM && x->out / BOMB_RATIO > x->in;
}

enum http_refusal
http_inflate_run(struct http_inflate *x, char *out, size_t room, size_t *made)
{
	*made = 0;
	x->z.next_out = (unsigned char *)out;
	x->z.avail_out = room < INT_MAX ? (unsigned)room : INT_MAX;
	room = x->z.avail_out;
	while (x->z.avail_out > 0 && !x->bad) {
		int rc;

		if (x->done && (x->z.avail_in == 0 || !next_member(x))) {
			x->bad = x->z.avail_in > 0;
			break;
		}
		/* without input it still may have output that did not fit the last time */
		rc = inflate(&x->z, Z_NO_FLUSH);
		x->done = rc == Z_STREAM_END;
		if (rc == Z_BUF_ERROR)
			break;
		if (rc == Z_MEM_ERROR)
			return HTTP_R_NO_MEMORY;
		x->bad = rc != Z_OK && rc != Z_STREAM_END;
	}
	*made = room - x->z.avail_out;
	x->out += *made;
	if (x->bad)
		return HTTP_R_BAD_CODING;
	return is_bomb(x) ? HTTP_R_BODY_BOMB : HTTP_R_NONE;
}

bool
http_inflate_whole(const struct http_inflate *x)
{
	return x->done && x->z.avail_in == 0;
}

uint64_t
http_inflate_taken(const struct http_inflate *x)
{
	return x->in;
}
