/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The framing of a message body: length, chunked (RFC 9112, 7.1) or until close. Bytes in, spans
 * of content out. Chunk extensions and trailers are checked, bounded and dropped. Called by the
 * server and the client with whatever has arrived.
 */
#include "config.h"

#include <string.h>

#include "common/http/http.h"
#include "common/http/http_int.h"

enum state {
	S_CONTENT,		/* of a length, a chunk or until close */
	S_SIZE,			/* hex digits */
	S_EXT,
	S_SIZE_LF,
	S_DATA_CR,
	S_DATA_LF,
	S_TRAILER_START,	/* at the beginning of a trailer line */
	S_TRAILER_NAME,
	S_TRAILER_VALUE,
	S_TRAILER_LF,
	S_LAST_LF,
	S_END,
	S_BAD,
};

#define DIGITS_MAX	16
#define TRAILER_MAX	8192
#define EXCESS_MAX	16384	/* framing bytes that no content pays for */

void
http_body_init(struct http_body *b, const struct http_head *h, bool bodyless)
{
	memset(b, 0, sizeof(*b));
	if (h->response && (bodyless || h->status < 200 || h->status == 204 || h->status == 304))
		b->mode = HTTP_BODY_NONE;
	else if (h->chunked)
		b->mode = HTTP_BODY_CHUNKED;
	else if (h->has_length)
		b->mode = h->length > 0 ? HTTP_BODY_LENGTH : HTTP_BODY_NONE;
	else
		b->mode = h->response ? HTTP_BODY_CLOSE : HTTP_BODY_NONE;
	b->left = b->mode == HTTP_BODY_LENGTH ? h->length : 0;
	b->state = b->mode == HTTP_BODY_NONE ? S_END :
	    b->mode == HTTP_BODY_CHUNKED ? S_SIZE : S_CONTENT;
}

static int
bad(struct http_body *b, enum http_refusal why)
{
	b->refusal = (uint8_t)why;
	return S_BAD;
}

static int
step_size(struct http_body *b, unsigned char c)
{
	int v = http_hex(c);

	if (v >= 0) {
		if (b->digits >= DIGITS_MAX || b->left >> 58 != 0)
			return bad(b, HTTP_R_BAD_CHUNK);
		b->digits++;
		b->left = b->left << 4 | (uint64_t)v;
		return S_SIZE;
	}
	if (b->digits == 0)
		return bad(b, HTTP_R_BAD_CHUNK);
	if (c == '\r')
		return S_SIZE_LF;
	return c == ';' ? S_EXT : bad(b, HTTP_R_BAD_CHUNK);
}

static int
step_trailer(struct http_body *b, unsigned char c)
{
	if (++b->trailer > TRAILER_MAX)
		return bad(b, HTTP_R_TRAILER_TOO_BIG);
	switch (b->state) {
	case S_TRAILER_START:
		if (c == '\r')
			return S_LAST_LF;
		return http_ctype[c] & HTTP_CT_TOKEN ? S_TRAILER_NAME : bad(b, HTTP_R_BAD_TRAILER);
	case S_TRAILER_NAME:
		if (c == ':')
			return S_TRAILER_VALUE;
		return http_ctype[c] & HTTP_CT_TOKEN ? S_TRAILER_NAME : bad(b, HTTP_R_BAD_TRAILER);
	case S_TRAILER_VALUE:
		if (c == '\r')
			return S_TRAILER_LF;
		return http_ctype[c] & HTTP_CT_VALUE ? S_TRAILER_VALUE : bad(b, HTTP_R_BAD_TRAILER);
	case S_TRAILER_LF:
		return c == '\n' ? S_TRAILER_START : bad(b, HTTP_R_BAD_TRAILER);
	default:
		return c == '\n' ? S_END : bad(b, HTTP_R_BAD_TRAILER);
	}
}

/*
 * One byte of chunk framing. Extensions cost the receiver work and carry nothing, so they are
 * paid for by content: 16 bytes per chunk and twice the chunk's size are free.
 */
static int
step_framing(struct http_body *b, unsigned char c)
{
	switch (b->state) {
	case S_SIZE:
		return step_size(b, c);
	case S_EXT:
		if (c == '\r')
			return S_SIZE_LF;
		if (!(http_ctype[c] & HTTP_CT_VALUE) || ++b->excess > EXCESS_MAX)
			return bad(b, HTTP_R_BAD_CHUNK);
		return S_EXT;
	case S_SIZE_LF:
		if (c != '\n')
			return bad(b, HTTP_R_BAD_CHUNK);
		b->excess -= b->left >= b->excess / 2 ? b->excess : (uint32_t)(2 * b->left);
		b->digits = 0;
		return b->left > 0 ? S_CONTENT : S_TRAILER_START;
	case S_DATA_CR:
		return c == '\r' ? S_DATA_LF : bad(b, HTTP_R_BAD_CHUNK);
	case S_DATA_LF:
		return c == '\n' ? S_SIZE : bad(b, HTTP_R_BAD_CHUNK);
	default:
		return step_trailer(b, c);
	}
}

static enum http_body_step
content(struct http_body *b, const char *in, size_t n, size_t *used, struct tf_span *data)
{
	size_t take = n;

	if (b->mode != HTTP_BODY_CLOSE) {
		if (take > b->left)
			take = (size_t)b->left;
		b->left -= take;
		if (b->left == 0)
			b->state = b->mode == HTTP_BODY_LENGTH ? S_END : S_DATA_CR;
	}
	*used += take;
	*data = (struct tf_span){ in, take };
	return HTTP_BODY_DATA;
}

enum http_body_step
http_body_next(struct http_body *b, const char *in, size_t n, size_t *used, struct tf_span *data)
{
	*used = 0;
	for (;;) {
		if (b->state == S_END)
			return HTTP_BODY_END;
		if (b->state == S_BAD)
			return HTTP_BODY_BAD;
		if (*used == n)
			return HTTP_BODY_MORE;
		if (b->state == S_CONTENT)
			return content(b, in + *used, n - *used, used, data);
		b->state = (uint8_t)step_framing(b, (unsigned char)in[(*used)++]);
	}
}

bool
http_body_eof(const struct http_body *b)
{
	return b->state == S_END || b->mode == HTTP_BODY_CLOSE;
}

void
http_body_finish(struct http_body *b)
{
	b->left = 0;
	b->state = S_END;
}
