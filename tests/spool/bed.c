/* SPDX-License-Identifier: Apache-2.0 */
/* A folder for a spool, and the steps of one who writes it. See bed.h. */
#include "config.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include "tests/spool/bed.h"

char dir[64];

int
bed_setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof dir, "/tmp/spool-test-XXXXXX");
	return mkdtemp(dir) == NULL;
}

int
bed_teardown(void **state)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	(void)state;
	while (d != NULL && (e = readdir(d)) != NULL)
		(void)unlinkat(dirfd(d), e->d_name, 0);
	if (d != NULL)
		closedir(d);
	return rmdir(dir);
}

struct tf_id
id_of(unsigned n)
{
	struct tf_id id = { { 0 } };

	memcpy(id.b, &n, sizeof n);
	return id;
}

void
open_writer(struct sp_writer *w, uint32_t slots, uint32_t segment)
{
	assert_int_equal(sp_writer_open(w, &(struct sp_writer_conf){ dir, "gatewayd.0", BOOT, slots, segment, 0 }), 0);
}

int
begin(struct sp_writer *w, struct sp_open *o, unsigned n)
{
	char text[32];

	snprintf(text, sizeof text, "begin %u", n);
	*o = (struct sp_open){ .id = id_of(n), .attempt = 1 };
	return sp_writer_begin(w, o, tf_cspan(text), END_MAX);
}

uint64_t
end(struct sp_writer *w, struct sp_open *o, unsigned n)
{
	uint64_t seq = 0;
	char text[32];

	snprintf(text, sizeof text, "end %u", n);
	assert_int_equal(sp_writer_end(w, o, tf_cspan(text), &seq), 0);
	return seq;
}

void
give_next(struct sp_writer *w)
{
	struct sp_seg *s;
	struct sp_head h;

	if (!sp_writer_wants(w, &h))
		return;
	assert_int_equal(sp_seg_create(dir, &h, &s), 0);
	sp_writer_give(w, s);
}

size_t
count(const char *suffix)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	size_t n = 0, k = strlen(suffix);

	assert_non_null(d);
	while ((e = readdir(d)) != NULL)
		n += strlen(e->d_name) > k && strcmp(e->d_name + strlen(e->d_name) - k, suffix) == 0;
	closedir(d);
	return n;
}

void
find(const char *suffix, char path[static 400])
{
	DIR *d = opendir(dir);
	struct dirent *e;

	path[0] = 0;
	while ((e = readdir(d)) != NULL)
		if (strlen(e->d_name) > strlen(suffix) && strcmp(e->d_name + strlen(e->d_name) - strlen(suffix), suffix) == 0)
			snprintf(path, 400, "%s/%s", dir, e->d_name);
	closedir(d);
	assert_true(path[0] != 0);
}
