/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters, gauges and histograms, from metric.def, and their Prometheus text.
 * Every value is an atomic, so any thread may count; a child of a labelled row is
 * found without a lock and made under one.
 */
#include "config.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "common/base/base.h"

#define CHILDREN_MAX 512 /* of one row, without the "other" one */
#define TABLE (CHILDREN_MAX * 2)
#define LABELS_MAX 4

enum kind { COUNTER, GAUGE, HISTOGRAM };

static const struct row {
	const char *daemon;
	enum kind kind;
	const char *name;
	const char *labels; /* comma separated */
	const char *help;
} rows[TF_M_COUNT] = {
#define METRIC(sym, daemon, kind, name, labels, help) [TF_M_##sym] = { daemon, kind, name, labels, help },
#include "common/base/metric.def"
#undef METRIC
};

/* Upper bounds of the histogram buckets. */
static const struct {
	uint64_t ns;
	const char *text;
} bounds[] = {
	{ UINT64_C(500000), "0.0005" },      { UINT64_C(1000000), "0.001" },
	{ UINT64_C(2500000), "0.0025" },     { UINT64_C(5000000), "0.005" },
	{ UINT64_C(10000000), "0.01" },      { UINT64_C(25000000), "0.025" },
	{ UINT64_C(50000000), "0.05" },      { UINT64_C(100000000), "0.1" },
	{ UINT64_C(250000000), "0.25" },     { UINT64_C(500000000), "0.5" },
	{ UINT64_C(1000000000), "1" },       { UINT64_C(2500000000), "2.5" },
	{ UINT64_C(5000000000), "5" },       { UINT64_C(10000000000), "10" },
	{ UINT64_C(30000000000), "30" },     { UINT64_C(60000000000), "60" },
	{ UINT64_C(120000000000), "120" },   { UINT64_C(300000000000), "300" },
	{ UINT64_C(600000000000), "600" },
};

struct child {
	_Atomic uint64_t value;
	const char *values[LABELS_MAX]; /* into text */
	char text[];
};

struct family {
	size_t labels, n;
	struct child *other;
	_Atomic(struct child *) table[TABLE];
};

struct histogram {
	_Atomic uint64_t bucket[TF_LEN(bounds) + 1];
	_Atomic uint64_t sum_ns;
};

static _Atomic uint64_t plain[TF_M_COUNT];
static _Atomic(struct family *) families[TF_M_COUNT];
static _Atomic(struct histogram *) histograms[TF_M_COUNT];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static size_t
label_count(const char *labels)
{
	size_t n = *labels != '\0';

	for (; *labels != '\0'; labels++)
		n += *labels == ',';
	return n;
}

void
tf_metric_add(enum tf_metric m, uint64_t n)
{
	atomic_fetch_add_explicit(&plain[m], n, memory_order_relaxed);
}

void
tf_metric_set(enum tf_metric m, uint64_t v)
{
	atomic_store_explicit(&plain[m], v, memory_order_relaxed);
}

uint64_t
tf_metric_get(enum tf_metric m)
{
	struct family *f = atomic_load_explicit(&families[m], memory_order_acquire);
	struct histogram *h = atomic_load_explicit(&histograms[m], memory_order_acquire);
	uint64_t sum = atomic_load_explicit(&plain[m], memory_order_relaxed);

	for (size_t i = 0; h != NULL && i < TF_LEN(h->bucket); i++)
		sum += atomic_load_explicit(&h->bucket[i], memory_order_relaxed);
	if (f == NULL)
		return sum;
	for (size_t i = 0; i < TABLE; i++) {
		struct child *c = atomic_load_explicit(&f->table[i], memory_order_acquire);

		if (c != NULL)
			sum += atomic_load_explicit(&c->value, memory_order_relaxed);
	}
	return sum + atomic_load_explicit(&f->other->value, memory_order_relaxed);
}

static struct child *
child_new(const char *const *values, size_t labels)
{
	size_t size = 0;
	struct child *c;
	char *p;

	for (size_t i = 0; i < labels; i++)
		size += strlen(values[i]) + 1;
	c = calloc(1, sizeof *c + size);
	if (c == NULL)
		return NULL;
	p = c->text;
	for (size_t i = 0; i < labels; i++) {
		size_t n = strlen(values[i]) + 1;

		c->values[i] = memcpy(p, values[i], n);
		p += n;
	}
	return c;
}

static struct family *
family_get(enum tf_metric m)
{
	static const char *const other[LABELS_MAX] = { "other", "other", "other", "other" };
	struct family *f = atomic_load_explicit(&families[m], memory_order_acquire);

	if (f != NULL)
		return f;
	pthread_mutex_lock(&lock);
	f = atomic_load_explicit(&families[m], memory_order_acquire);
	if (f == NULL && (f = calloc(1, sizeof *f)) != NULL) {
		f->labels = label_count(rows[m].labels);
		assert(f->labels >= 1 && f->labels <= LABELS_MAX);
		f->other = child_new(other, f->labels);
		if (f->other == NULL) {
			free(f);
			f = NULL;
		}
	}
	if (f != NULL)
		atomic_store_explicit(&families[m], f, memory_order_release);
	pthread_mutex_unlock(&lock);
	return f;
}

/* The child with these values, or NULL with *at set to the free slot where it belongs. */
static struct child *
child_find(struct family *f, const char *const *values, size_t *at)
{
	uint64_t hash = 0;

	for (size_t i = 0; i < f->labels; i++)
		hash = tf_hash(tf_cspan(values[i]), hash);
	for (size_t i = hash % TABLE;; i = (i + 1) % TABLE) {
		struct child *c = atomic_load_explicit(&f->table[i], memory_order_acquire);
		size_t k = 0;

		*at = i;
		if (c == NULL)
			return NULL;
		while (k < f->labels && strcmp(c->values[k], values[k]) == 0)
			k++;
		if (k == f->labels)
			return c;
	}
}

static struct child *
child_make(struct family *f, const char *const *values)
{
	struct child *c;
	size_t at;

	pthread_mutex_lock(&lock);
	c = child_find(f, values, &at);
	if (c == NULL) {
		c = f->n < CHILDREN_MAX ? child_new(values, f->labels) : NULL;
		if (c == NULL) {
			c = f->other;
		} else {
			f->n++;
			atomic_store_explicit(&f->table[at], c, memory_order_release);
		}
	}
	pthread_mutex_unlock(&lock);
	return c;
}

void
tf_metric_add_l(enum tf_metric m, uint64_t n, const char *const *values)
{
	struct family *f = family_get(m);
	struct child *c;
	size_t at;

	if (f == NULL)
		return;
	c = child_find(f, values, &at);
	if (c == NULL)
		c = child_make(f, values);
	atomic_fetch_add_explicit(&c->value, n, memory_order_relaxed);
}

void
tf_metric_observe(enum tf_metric m, uint64_t ns)
{
	struct histogram *h = atomic_load_explicit(&histograms[m], memory_order_acquire);
	size_t i = 0;

	assert(rows[m].kind == HISTOGRAM);
	if (h == NULL) {
		struct histogram *made = calloc(1, sizeof *made);

		if (made == NULL)
			return;
		if (atomic_compare_exchange_strong(&histograms[m], &h, made))
			h = made;
		else
			free(made);
	}
	while (i < TF_LEN(bounds) && ns > bounds[i].ns)
		i++;
	atomic_fetch_add_explicit(&h->bucket[i], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&h->sum_ns, ns, memory_order_relaxed);
}

static int
render_value(struct tf_buf *out, const char *value)
{
	int rc = 0;

	for (; *value != '\0' && rc == 0; value++) {
		if (*value == '\n')
			rc = tf_buf_addstr(out, "\\n");
		else if (*value == '"' || *value == '\\')
			rc = tf_buf_printf(out, "\\%c", *value);
		else
			rc = tf_buf_addc(out, *value);
	}
	return rc;
}

static int
render_child(struct tf_buf *out, const struct row *row, struct child *c)
{
	const char *name = row->labels;
	int rc = tf_buf_printf(out, "%s{", row->name);

	for (size_t i = 0; *name != '\0' && rc == 0; i++) {
		size_t n = strcspn(name, ",");

		rc = tf_buf_printf(out, "%s%.*s=\"", i ? "," : "", (int)n, name);
		if (rc == 0)
			rc = render_value(out, c->values[i]);
		if (rc == 0)
			rc = tf_buf_addc(out, '"');
		name += n + (name[n] == ',');
	}
	if (rc == 0)
		rc = tf_buf_printf(out, "} %llu\n",
		    (unsigned long long)atomic_load_explicit(&c->value, memory_order_relaxed));
	return rc;
}

static int
render_family(struct tf_buf *out, enum tf_metric m)
{
	struct family *f = atomic_load_explicit(&families[m], memory_order_acquire);
	int rc = 0;

	if (f == NULL)
		return 0;
	for (size_t i = 0; i < TABLE && rc == 0; i++) {
		struct child *c = atomic_load_explicit(&f->table[i], memory_order_acquire);

		if (c != NULL)
			rc = render_child(out, &rows[m], c);
	}
	if (rc == 0 && atomic_load_explicit(&f->other->value, memory_order_relaxed) != 0)
		rc = render_child(out, &rows[m], f->other);
	return rc;
}

static int
render_histogram(struct tf_buf *out, enum tf_metric m)
{
	static struct histogram none;
	struct histogram *h = atomic_load_explicit(&histograms[m], memory_order_acquire);
	unsigned long long sum, seen = 0;
	int rc = 0;

	if (h == NULL)
		h = &none;
	for (size_t i = 0; i < TF_LEN(h->bucket) && rc == 0; i++) {
		seen += atomic_load_explicit(&h->bucket[i], memory_order_relaxed);
		rc = tf_buf_printf(out, "%s_bucket{le=\"%s\"} %llu\n", rows[m].name,
		    i < TF_LEN(bounds) ? bounds[i].text : "+Inf", seen);
	}
	sum = atomic_load_explicit(&h->sum_ns, memory_order_relaxed);
	if (rc == 0)
		rc = tf_buf_printf(out, "%s_sum %llu.%09llu\n%s_count %llu\n", rows[m].name,
		    sum / 1000000000, sum % 1000000000, rows[m].name, seen);
	return rc;
}

int
tf_metric_render(struct tf_buf *out, const char *daemon)
{
	static const char *const types[] = { "counter", "gauge", "histogram" };

	for (int m = 0; m < TF_M_COUNT; m++) {
		const struct row *row = &rows[m];
		int rc;

		if (daemon != NULL && strcmp(row->daemon, "all") != 0 &&
		    strcmp(row->daemon, daemon) != 0)
			continue;
		rc = tf_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", row->name, row->help, row->name,
		    types[row->kind]);
		if (rc == 0 && row->kind == HISTOGRAM)
			rc = render_histogram(out, m);
		else if (rc == 0 && row->labels[0] != '\0')
			rc = render_family(out, m);
		else if (rc == 0)
			rc = tf_buf_printf(out, "%s %llu\n", row->name,
			    (unsigned long long)tf_metric_get(m));
		if (rc != 0)
			return rc;
	}
	return 0;
}
