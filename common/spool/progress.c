/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The progress map: one shared file, a page of head and then slots of 64 bytes. Stores into it survive the death of
 * the process, and cost no system call. After a loss of power it is as old as the last time the kernel wrote it.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/spool/inside.h"

#define MAP_VERSION 1
#define MAP_HEAD 4096

struct head { /* in the file; numbers as the host has them: the map never leaves it */
	char magic[8];
	uint32_t version, slots;
	uint64_t boot;
	char name[SP_NAME_MAX];
	uint32_t sum; /* CRC of all above */
	uint32_t pad;
	_Atomic uint64_t acked, seq;
};

struct sp_map {
	struct head *head;
	struct sp_slot *slots;
	size_t size;
	int fd;         /* -1: not ours */
	uint32_t *free; /* stack of free slots; NULL: opened to be read */
	uint32_t nfree;
	uint32_t ngiven; /* at the other end of the same array: not free yet */
	char path[SP_PATH_MAX];
};

static const char magic[8] = "TFPROGR";
_Static_assert(sizeof(struct sp_slot) == 64, "a slot is a cache line");
_Static_assert(sizeof(struct head) <= MAP_HEAD, "the head is a page");

size_t
sp_map_size(uint32_t slots)
{
	return MAP_HEAD + (size_t)slots * sizeof(struct sp_slot);
}

static uint32_t
head_sum(const struct head *h)
{
	return tf_crc32(0, h, offsetof(struct head, sum));
}

static struct sp_map *
map_new(int fd, size_t size)
{
	struct sp_map *m = calloc(1, sizeof *m);
	void *p;

	if (m == NULL)
		return NULL;
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED) {
		free(m);
		return NULL;
	}
	m->head = p;
	m->slots = (struct sp_slot *)(void *)((char *)p + MAP_HEAD);
	m->size = size;
	m->fd = -1;
	return m;
}

static void
head_fill(struct head *h, const char *name, uint64_t boot, uint32_t slots)
{
	memcpy(h->magic, magic, sizeof magic);
	h->version = MAP_VERSION;
	h->slots = slots;
	h->boot = boot;
	snprintf(h->name, sizeof h->name, "%s", name);
	h->sum = head_sum(h);
}

int
sp_map_create(const char *dir, const char *name, uint64_t boot, uint32_t slots, struct sp_map **out)
{
	struct sp_made made;
	struct sp_map *m;
	int rc = sp_make(dir, &(struct sp_named){ name, boot, 0 }, sp_map_size(slots), &made);

	if (rc != 0)
		return rc;
	m = map_new(made.fd, sp_map_size(slots));
	if (m != NULL)
		m->free = calloc(slots, sizeof *m->free);
	if (m == NULL || m->free == NULL) {
		sp_unmake(&made);
		sp_map_close(&m);
		return TF_E_NOMEM;
	}
	/* the lowest are taken first, so that few pages are touched */
	for (uint32_t i = 0; i < slots; i++)
		m->free[i] = slots - 1 - i;
	m->nfree = slots;
	head_fill(m->head, name, boot, slots);
	rc = sp_made_name(&made);
	if (rc != 0) {
		sp_unmake(&made);
		sp_map_close(&m);
		return rc;
	}
	m->fd = made.fd;
	memcpy(m->path, made.path, sizeof m->path);
	*out = m;
	return 0;
}

int
sp_map_open(int fd, struct sp_map **out)
{
	struct sp_map *m;
	struct stat st;

	if (fstat(fd, &st) != 0)
		return TF_E_IO;
	if (st.st_size < MAP_HEAD || (uint64_t)st.st_size > sp_map_size(UINT32_MAX))
		return TF_E_PROTO;
	m = map_new(fd, (size_t)st.st_size);
	if (m == NULL)
		return TF_E_NOMEM;
	if (memcmp(m->head->magic, magic, sizeof magic) != 0 || m->head->version != MAP_VERSION ||
	    m->head->sum != head_sum(m->head) || m->head->name[SP_NAME_MAX - 1] != 0 || sp_map_size(m->head->slots) > m->size) {
		sp_map_close(&m);
		return TF_E_PROTO;
	}
	*out = m;
	return 0;
}

void
sp_map_close(struct sp_map **mp)
{
	struct sp_map *m = *mp;

	*mp = NULL;
	if (m == NULL)
		return;
	(void)munmap(m->head, m->size);
	if (m->fd >= 0)
		close(m->fd);
	free(m->free);
	free(m);
}

void
sp_map_remove(struct sp_map *m)
{
	(void)unlink(m->path);
}

uint32_t
sp_map_take(struct sp_map *m, struct tf_id id, uint32_t attempt)
{
	uint32_t n;

	if (m->nfree == 0)
		return SP_NO_SLOT;
	n = m->free[--m->nfree];
	m->slots[n] = (struct sp_slot){ .id = id, .attempt = attempt };
	return n;
}

void
sp_map_give(struct sp_map *m, uint32_t slot)
{
	/* as many are given as were taken: the two ends never meet */
	m->free[m->head->slots - ++m->ngiven] = slot;
}

void
sp_map_settle(struct sp_map *m)
{
	for (; m->ngiven > 0; m->ngiven--)
		m->free[m->nfree++] = m->free[m->head->slots - m->ngiven];
}

struct sp_slot *
sp_map_slot(struct sp_map *m, uint32_t slot, struct tf_id id, uint32_t attempt)
{
	struct sp_slot *s;

	if (slot >= m->head->slots)
		return NULL;
	s = &m->slots[slot];
	return tf_id_eq(s->id, id) && s->attempt == attempt ? s : NULL;
}

uint64_t
sp_map_acked(const struct sp_map *m)
{
	return atomic_load_explicit(&m->head->acked, memory_order_relaxed);
}

uint64_t
sp_map_seq(const struct sp_map *m)
{
	return atomic_load_explicit(&m->head->seq, memory_order_relaxed);
}

void
sp_map_set_acked(struct sp_map *m, uint64_t seq)
{
	atomic_store_explicit(&m->head->acked, seq, memory_order_relaxed);
}

void
sp_map_set_seq(struct sp_map *m, uint64_t seq)
{
	atomic_store_explicit(&m->head->seq, seq, memory_order_relaxed);
}

struct tf_span
sp_map_name(const struct sp_map *m)
{
	return tf_cspan(m->head->name);
}

uint64_t
sp_map_boot(const struct sp_map *m)
{
	return m->head->boot;
}
