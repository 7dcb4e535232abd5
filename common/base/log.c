/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line per event on stderr, as text or JSON, each in one write(2) so that lines
 * of several threads and daemons never mix. Under the journal the time is left out
 * and the priority goes in front (sd-daemon(3)).
 */
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/base/base.h"

#define LINE_MAX_TF 4096 /* bytes of the text of one line; the rest is cut */
#define QUOTES 8
#define QUOTE_SIZE 512

static const char *const level_names[] = { "error", "warn", "info", "debug" };
static const int priorities[] = { 3, 4, 6, 7 };

static char daemon_name[32] = "tokenfactory"; /* written before there is a second thread */
static _Atomic int level_now = TF_INFO;
static atomic_bool as_json;
static atomic_bool to_journal;

static pthread_mutex_t token_lock = PTHREAD_MUTEX_INITIALIZER;
static char tokens[256];
static atomic_bool have_tokens;

/* systemd sets JOURNAL_STREAM to DEVICE:INODE of the stream it gave us. */
static bool
stderr_is_journal(void)
{
	const char *s = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;
	char *end;

	if (s == NULL || fstat(STDERR_FILENO, &st) != 0)
		return false;
	dev = strtoull(s, &end, 10);
	if (*end != ':')
		return false;
	ino = strtoull(end + 1, &end, 10);
	return *end == '\0' && dev == st.st_dev && ino == st.st_ino;
}

void
tf_log_init(const char *daemon, enum tf_level level, bool json)
{
	/* a reload says it again, while other threads write lines */
	if (strcmp(daemon_name, daemon) != 0)
		snprintf(daemon_name, sizeof daemon_name, "%s", daemon);
	atomic_store_explicit(&as_json, json, memory_order_relaxed);
	atomic_store_explicit(&to_journal, stderr_is_journal(), memory_order_relaxed);
	tf_log_level(level);
}

void
tf_log_level(enum tf_level level)
{
	atomic_store(&level_now, (int)level);
}

void
tf_log_tokens(const char *list)
{
	pthread_mutex_lock(&token_lock);
	snprintf(tokens, sizeof tokens, "%s", list);
	atomic_store(&have_tokens, tokens[0] != '\0');
	pthread_mutex_unlock(&token_lock);
}

int
tf_level_parse(const char *s, enum tf_level *out)
{
	for (size_t i = 0; i < TF_LEN(level_names); i++)
		if (strcmp(s, level_names[i]) == 0) {
			*out = (enum tf_level)i;
			return 0;
		}
	return TF_E_INVAL;
}

static bool
token_listed(const char *subsystem)
{
	size_t want = strlen(subsystem);
	bool found = false;

	pthread_mutex_lock(&token_lock);
	for (const char *p = tokens; *p != '\0' && !found;) {
		size_t n = strcspn(p, ",");

		found = n == want && memcmp(p, subsystem, n) == 0;
		p += n + (p[n] == ',');
	}
	pthread_mutex_unlock(&token_lock);
	return found;
}

bool
tf_log_on(enum tf_level level, const char *subsystem)
{
	if ((int)level <= atomic_load_explicit(&level_now, memory_order_relaxed))
		return true;
	return atomic_load_explicit(&have_tokens, memory_order_relaxed) && token_listed(subsystem);
}

/* Length of the valid UTF-8 sequence at s (n >= 1 bytes are there), or 0. */
static size_t
utf8_len(const unsigned char *s, size_t n)
{
	size_t len = s[0] < 0x80 ? 1 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : s[0] >= 0xe0 && s[0] < 0xf0 ? 3 :
	    s[0] >= 0xf0 && s[0] < 0xf5 ? 4 : 0;

	if (len == 0 || len > n)
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
	    (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return len;
}

/* True for what may stand as it is inside a line: no controls, C1 ones neither. */
static bool
printable(const unsigned char *s, size_t len)
{
	if (len == 1)
		return s[0] >= 0x20 && s[0] != 0x7f;
	return len > 2 || (len == 2 && !(s[0] == 0xc2 && s[1] < 0xa0));
}

const char *
tf_log_q(struct tf_span s)
{
	static __thread char ring[QUOTES][QUOTE_SIZE];
	static __thread unsigned turn;
	char *buf = ring[turn++ % QUOTES];
	const size_t room = QUOTE_SIZE - sizeof "\\x00...\"";
	size_t at = 0, i = 0;

	buf[at++] = '"';
	while (i < s.n && at < room) {
		const unsigned char *c = (const unsigned char *)s.p + i;
		size_t len = utf8_len(c, s.n - i);

		if (len == 0 || !printable(c, len)) {
			at += (size_t)snprintf(buf + at, 5, "\\x%02x", c[0]);
			i++;
			continue;
		}
		if (at + len > room)
			break;
		if (*c == '"' || *c == '\\')
			buf[at++] = '\\';
		memcpy(buf + at, c, len);
		at += len;
		i += len;
	}
	if (i < s.n) {
		memcpy(buf + at, "...", 3);
		at += 3;
	}
	buf[at++] = '"';
	buf[at] = '\0';
	return buf;
}

/* Appends text as the inside of a line or of a JSON string; returns the new end. */
static char *
put_text(char *to, const char *end, const char *text, bool json)
{
	size_t n = strlen(text);

	for (size_t i = 0; i < n && end - to > 8;) {
		const unsigned char *c = (const unsigned char *)text + i;
		size_t len = utf8_len(c, n - i);

		if (len == 0 || !printable(c, len)) {
			*to++ = '?';
			i += len ? len : 1;
			continue;
		}
		if (json && (*c == '"' || *c == '\\'))
			*to++ = '\\';
		memcpy(to, c, len);
		to += len;
		i += len;
	}
	return to;
}

/* Appends a literal; the caller has room. */
static char *
put_lit(char *to, const char *s)
{
	size_t n = strlen(s);

	memcpy(to, s, n);
	return to + n;
}

static char *
put_time(char *to)
{
	int64_t ns = tf_wall_ns();
	time_t s = (time_t)(ns / 1000000000);
	struct tm tm;

	gmtime_r(&s, &tm);
	to += strftime(to, 32, "%Y-%m-%dT%H:%M:%S", &tm);
	return to + snprintf(to, 8, ".%03dZ", (int)(ns / 1000000 % 1000));
}

static size_t
make_line(char *line, size_t cap, enum tf_level level, const char *subsystem, const char *rid,
    const char *msg)
{
	char *to = line;
	const char *end = line + cap - 8;
	bool journal = atomic_load_explicit(&to_journal, memory_order_relaxed);

	if (journal)
		to += snprintf(to, 8, "<%d>", priorities[level]);
	if (atomic_load_explicit(&as_json, memory_order_relaxed)) {
		to = put_lit(to, "{\"ts\":\"");
		to = put_time(to);
		to += snprintf(to, 256, "\",\"level\":\"%s\",\"daemon\":\"%s\",\"sub\":\"%.64s\",",
		    level_names[level], daemon_name, subsystem);
		if (rid != NULL)
			to += snprintf(to, 64, "\"rid\":\"%s\",", rid);
		to = put_lit(to, "\"msg\":\"");
		to = put_text(to, end, msg, true);
		to = put_lit(to, "\"}\n");
		return (size_t)(to - line);
	}
	if (!journal) {
		to = put_time(to);
		*to++ = ' ';
	}
	to += snprintf(to, 256, "%s %s %.64s ", level_names[level], daemon_name, subsystem);
	if (rid != NULL)
		to += snprintf(to, 64, "rid=%s ", rid);
	to = put_text(to, end, msg, false);
	*to++ = '\n';
	return (size_t)(to - line);
}

void
tf_log(enum tf_level level, const char *subsystem, const struct tf_id *rid, const char *fmt, ...)
{
	const char *label[] = { level_names[level] };
	char msg[LINE_MAX_TF], line[LINE_MAX_TF * 2 + 512], rid_text[TF_ID_TEXT + 1];
	int saved = errno;
	va_list ap;
	size_t n;

	if (!tf_log_on(level, subsystem))
		return;
	va_start(ap, fmt);
	n = (size_t)vsnprintf(msg, sizeof msg, fmt, ap);
	va_end(ap);
	if (n >= sizeof msg)
		memcpy(msg + sizeof msg - 4, "...", 4);
	if (rid != NULL)
		tf_id_text(*rid, rid_text);
	n = make_line(line, sizeof line, level, subsystem, rid ? rid_text : NULL, msg);
	while (write(STDERR_FILENO, line, n) < 0 && errno == EINTR)
		;
	tf_metric_add_l(TF_M_LOG_LINES, 1, label);
	errno = saved;
}
