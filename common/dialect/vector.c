/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers to text and back for vectors, which hold thousands of them: printing is Schubfach (Raffaello
 * Giulietti, "The Schubfach way to render doubles", here for binary32), reading has the exact short way for
 * what runtimes write. Called by surfaces that answer vectors.
 */
#include "config.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "common/dialect/vector.h"
#include "common/json/json.h"

/* ---- printing ---------------------------------------------------------------------------- */

/*
 * 10^k as g * 2^e with g of 64 bits, rounded up, for the k that printing needs. Made once, by multiplying and
 * dividing numbers that are long enough.
 */
#define K_MIN (-31)
#define K_MAX 45
static uint64_t powers[K_MAX - K_MIN + 1];

/* The 64 leading bits of v (words of 32 bits, lowest first); one more if anything stands below, more says so too. */
static uint64_t
leading(const uint32_t *v, int words, bool more)
{
	int top = words - 1;
	unsigned __int128 head = 0;

	while (v[top] == 0)
		top--;
	for (int i = 0; i < 4 && top - i >= 0; i++)
		head |= (unsigned __int128)v[top - i] << (96 - 32 * i);
	head <<= __builtin_clz(v[top]);
	more = more || (uint64_t)head != 0;
	for (int i = top - 4; i >= 0; i--)
		more = more || v[i] != 0;
	return (uint64_t)(head >> 64) + more;
}

#define WORDS 16 /* 512 bits: 10^45 takes 150; of 2^400 / 10^31 297 are left */

static void
make_powers(void)
{
	uint32_t up[WORDS] = { 1 }, down[WORDS] = { [12] = 1u << 16 };

	for (int k = 0; k <= K_MAX; k++) {
		uint64_t carry = 0;

		powers[k - K_MIN] = leading(up, WORDS, false);
		for (int i = 0; i < WORDS; i++) {
			carry += (uint64_t)up[i] * 10;
			up[i] = (uint32_t)carry;
			carry >>= 32;
		}
	}
	for (int k = -1; k >= K_MIN; k--) {
		uint64_t left = 0;

		for (int i = WORDS - 1; i >= 0; i--) {
			left = left << 32 | down[i];
			down[i] = (uint32_t)(left / 10);
			left %= 10;
		}
		powers[k - K_MIN] = leading(down, WORDS, true); /* no power of ten divides one of two */
	}
}

/* The upper half of g * cp; its last bit also says whether anything stands below. */
static uint32_t
round_to_odd(uint64_t g, uint32_t cp)
{
	unsigned __int128 p = (unsigned __int128)g * cp;

	return (uint32_t)(p >> 64) | ((uint32_t)(p >> 32) > 1);
}

static int
floor_shift(int64_t v, int bits)
{
	return (int)(v >= 0 ? v >> bits : -((-v + (1ll << bits) - 1) >> bits));
}

struct decimal {
	uint32_t digits;
	int exp; /* digits * 10^exp */
};

/* The shortest decimal between the middles towards both neighbours; bits of a positive finite number. */
static struct decimal
shortest(uint32_t bits)
{
	uint32_t fraction = bits & 0x7fffff, e = bits >> 23;
	uint32_t c = e != 0 ? fraction | 0x800000 : fraction, low, high, vb, s, tens;
	int q = e != 0 ? (int)e - 150 : -149, k, h;
	bool nearer = fraction == 0 && e > 1; /* the neighbour below is half as far away */
	bool odd = c & 1, up, down;
	uint64_t g;

	k = floor_shift((int64_t)q * 1262611 - (nearer ? 524031 : 0), 22); /* log10 of the distance */
	h = q + floor_shift((int64_t)-k * 1741647, 19) + 1;
	g = powers[-k - K_MIN];
	low = round_to_odd(g, (4 * c - 2 + nearer) << h) + odd;
	vb = round_to_odd(g, (4 * c) << h);
	high = round_to_odd(g, (4 * c + 2) << h) - odd;
	s = vb / 4;
	if (s >= 10) {
		tens = s / 10;
		down = low <= 40 * tens;
		up = 40 * tens + 40 <= high;
		if (down != up)
			return (struct decimal){ tens + up, k + 1 };
	}
	down = low <= 4 * s;
	up = 4 * s + 4 <= high;
	if (down == up)
		up = vb > 4 * s + 2 || (vb == 4 * s + 2 && (s & 1));
	return (struct decimal){ s + up, k };
}

#define FIXED_LOW (-5) /* from 0.00001 to below 10^9 numbers are written without exponent */
#define FIXED_HIGH 8

static char *
put_exponent(char *to, int exp)
{
	unsigned v = (unsigned)(exp < 0 ? -exp : exp);

	*to++ = 'e';
	if (exp < 0)
		*to++ = '-';
	if (v >= 10)
		*to++ = (char)('0' + v / 10);
	*to++ = (char)('0' + v % 10);
	return to;
}

/* d[0..n) with the point behind its first `before` digits; zeros fill what is missing. */
static char *
put_fixed(char *to, const char *d, int n, int before)
{
	if (before <= 0) {
		*to++ = '0';
		*to++ = '.';
		for (int i = before; i < 0; i++)
			*to++ = '0';
		memcpy(to, d, (size_t)n);
		return to + n;
	}
	for (int i = 0; i < before; i++)
		*to++ = i < n ? d[i] : '0';
	*to++ = '.';
	for (int i = before; i < n; i++)
		*to++ = d[i];
	if (n <= before)
		*to++ = '0';
	return to;
}

size_t
dl_f32_text(float f, char out[static DL_F32_TEXT])
{
	struct decimal v;
	char d[10] = { 0 }, *to = out;
	uint32_t bits;
	int n = 0, sci;

	memcpy(&bits, &f, sizeof bits);
	if (bits >> 31)
		*to++ = '-';
	bits &= 0x7fffffff;
	if (bits == 0) {
		memcpy(to, "0.0", 3);
		return (size_t)(to - out) + 3;
	}
	v = shortest(bits);
	for (; v.digits % 10 == 0; v.digits /= 10)
		v.exp++;
	for (uint32_t rest = v.digits; rest > 0; rest /= 10)
		n++;
	for (int i = n; i > 0; v.digits /= 10)
		d[--i] = (char)('0' + v.digits % 10);
	sci = v.exp + n - 1;
	if (sci >= FIXED_LOW && sci <= FIXED_HIGH)
		return (size_t)(put_fixed(to, d, n, sci + 1) - out);
	*to++ = d[0];
	if (n > 1) {
		*to++ = '.';
		memcpy(to, d + 1, (size_t)n - 1);
		to += n - 1;
	}
	return (size_t)(put_exponent(to, sci) - out);
}

/* ---- reading ----------------------------------------------------------------------------- */

/*
 * m / 10^places, m not 0, by one multiplication with a power that is right to 63 bits. False: the result lies so near
 * the middle between two floats that this does not tell them apart, nor the detour by way of a double; or it is too
 * small to have all its bits.
 */
static bool
scale(uint64_t m, int places, float *out)
{
	int shift = __builtin_clzll(m), e;
	unsigned __int128 p = (unsigned __int128)(m << shift) * powers[-places - K_MIN];
	uint64_t top = (uint64_t)(p >> 64), rest;

	e = 1 + floor_shift((int64_t)-places * 1741647, 19) - shift;
	if (!(top >> 63)) {
		top = (uint64_t)(p >> 63);
		e--;
	}
	rest = top & ((1ull << 40) - 1);
	if ((rest > (1ull << 39) - 4096 && rest < (1ull << 39) + 4096) || e + 63 < -126)
		return false;
	top = (top >> 40) + (rest >> 39); /* 24 bits, or 2^24 */
	*out = ldexpf((float)top, e + 40);
	return true;
}

/* Numbers without exponent, of 19 digits and 31 places at most. False: another way is needed. */
static bool
parse_short(struct tf_span text, float *out)
{
	const char *p = text.p, *end = p + text.n;
	bool minus = p < end && *p == '-', point = false;
	uint64_t m = 0;
	int places = 0, digits = 0;

	for (p += minus; p < end; p++) {
		if (*p >= '0' && *p <= '9') {
			m = m * 10 + (uint64_t)(*p - '0');
			digits += m > 0;
			places += point;
		} else if (*p == '.' && !point) {
			point = true;
		} else {
			return false; /* an exponent */
		}
		if (digits > 19)
			return false;
	}
	if (m == 0)
		*out = 0;
	else if (places > -K_MIN || !scale(m, places, out))
		return false;
	*out = minus ? -*out : *out;
	return true;
}

int
dl_f32_parse(struct tf_span text, float *out)
{
	double v;
	int r;

	if (parse_short(text, out))
		return 0;
	r = js_get_double(text, &v);
	if (r < 0)
		return r;
	/* up to the middle between the largest float and the next that there would be */
	if (v >= 0x1.ffffffp127 || v <= -0x1.ffffffp127)
		return TF_E_RANGE;
	*out = v > FLT_MAX ? FLT_MAX : v < -FLT_MAX ? -FLT_MAX : (float)v;
	return 0;
}

/* ---- vectors ----------------------------------------------------------------------------- */

int64_t
dl_vector_count(struct tf_span text)
{
	static const bool fits[256] = { ['0'] = true, ['1'] = true, ['2'] = true, ['3'] = true, ['4'] = true,
		['5'] = true, ['6'] = true, ['7'] = true, ['8'] = true, ['9'] = true, ['-'] = true, ['+'] = true,
		['.'] = true, ['e'] = true, ['E'] = true, [','] = true, [' '] = true, ['\t'] = true, ['\n'] = true,
		['\r'] = true };
	int64_t commas = 0;
	bool some = false;

	if (text.n < 2 || text.p[0] != '[')
		return -1;
	for (size_t i = 1; i + 1 < text.n; i++) {
		if (!fits[(unsigned char)text.p[i]])
			return -1;
		commas += text.p[i] == ',';
		some = some || text.p[i] >= '+';
	}
	return some ? commas + 1 : 0;
}

int64_t
dl_vector_count64(struct tf_span text)
{
	size_t pad = 0, bytes;

	if (text.n == 0 || text.n % 4 != 0)
		return text.n == 0 ? 0 : -1;
	pad = (text.p[text.n - 1] == '=') + (text.p[text.n - 2] == '=');
	bytes = text.n / 4 * 3 - pad;
	return bytes % 4 == 0 ? (int64_t)(bytes / 4) : -1;
}

#define PIECE 48 /* numbers at a time: a whole number of base64 groups */

static int
flush(uint8_t *bytes, size_t *n, struct tf_buf *out)
{
	int r = tf_b64_encode(tf_span(bytes, *n * 4), out);

	*n = 0;
	return r;
}

static void
put_le(float f, uint8_t *to)
{
	uint32_t bits;

	memcpy(&bits, &f, sizeof bits);
	for (int i = 0; i < 4; i++)
		to[i] = (uint8_t)(bits >> (8 * i));
}

int
dl_vector_encode(struct tf_span list, struct tf_buf *out)
{
	const char *p = list.p + 1, *end = list.p + list.n - 1, *from;
	uint8_t bytes[PIECE * 4];
	size_t n = 0;
	float f;
	int r = dl_vector_count(list) < 0 ? TF_E_INVAL : 0;

	/* it holds numbers, commas and white space alone */
	while (r == 0 && p < end) {
		if (*p <= ' ' || *p == ',') {
			p++;
			continue;
		}
		for (from = p; p < end && *p > ' ' && *p != ',';)
			p++;
		r = dl_f32_parse(tf_span(from, (size_t)(p - from)), &f);
		if (r < 0)
			return r;
		put_le(f, bytes + 4 * n++);
		if (n == PIECE)
			r = flush(bytes, &n, out);
	}
	return r == 0 ? flush(bytes, &n, out) : r;
}

static int
put_numbers(const uint8_t *p, size_t n, struct tf_buf *out)
{
	if (tf_buf_reserve(out, n * (DL_F32_TEXT + 1)) < 0)
		return TF_E_NOMEM;
	for (size_t i = 0; i < n; i++, p += 4) {
		uint32_t bits = (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
		float f;

		memcpy(&f, &bits, sizeof f);
		if (!isfinite(f))
			return TF_E_RANGE;
		if (out->p[out->n - 1] != '[')
			out->p[out->n++] = ',';
		out->n += dl_f32_text(f, out->p + out->n);
	}
	return 0;
}

int
dl_vector_decode(struct tf_span text, struct tf_buf *out)
{
	struct tf_buf bytes = { 0 };
	int r = dl_vector_count64(text) < 0 ? TF_E_INVAL : tf_buf_addc(out, '[');

	/* four groups of letters are three numbers */
	for (size_t at = 0; r == 0 && at < text.n; at += PIECE / 3 * 16) {
		size_t n = text.n - at < PIECE / 3 * 16 ? text.n - at : PIECE / 3 * 16;

		tf_buf_reset(&bytes);
		r = tf_b64_decode(tf_span(text.p + at, n), &bytes);
		if (r == 0)
			r = bytes.n % 4 != 0 ? TF_E_INVAL : put_numbers((const uint8_t *)bytes.p, bytes.n / 4, out);
	}
	tf_buf_free(&bytes);
	return r == 0 ? tf_buf_addc(out, ']') : r;
}

int
dl_vector_init(void)
{
	make_powers();
	return 0;
}
