/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The board; see board.h. A slot is read between two looks at its counter, which is odd while it is written. A reader who
 * is told of a slot beyond what it has mapped maps again.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/wire/board.h"

#define BOARD_NAME "billingd.board"
#define BOARD_VERSION 1
#define BOARD_FIRST 1024u     /* slots of a new one */
#define BOARD_MAX (1u << 24)  /* slots: 1 GiB */
#define BOARD_TRIES 1000      /* a writer that was stopped in the middle is not waited for */
#define BOARD_PATH 512

struct head { /* in the file; numbers as the host has them: it never leaves the host */
	char magic[8];
	uint32_t version, pad;
	uint64_t boot;
	_Atomic uint64_t joins;
	_Atomic uint64_t change;
	uint64_t more[3];
};

struct slot {
	_Atomic uint64_t turn; /* odd: it is written */
	_Atomic uint64_t window, ends_ms, requests, tokens;
	uint64_t more[3];
};

struct wire_board {
	struct head *head;  /* of the mapping; slots follow */
	uint32_t slots;     /* in the mapping */
	uint32_t taken;
	int fd;
	char path[BOARD_PATH]; /* of one that was created; else empty */
};

static const char magic[8] = "TFBOARD";
_Static_assert(sizeof(struct slot) == 64, "a slot is a cache line");
_Static_assert(sizeof(struct head) == 64, "the head is one, too");

static size_t
board_size(uint32_t slots)
{
	return sizeof(struct head) + (size_t)slots * sizeof(struct slot);
}

static struct slot *
slot_at(const struct wire_board *b, uint32_t slot)
{
	return (struct slot *)(void *)((char *)b->head + sizeof(struct head)) + (slot - 1);
}

/* In place of the mapping that was, which stays when there is no other. */
static int
board_map(struct wire_board *b, uint32_t slots, int prot)
{
	void *p = mmap(NULL, board_size(slots), prot, MAP_SHARED, b->fd, 0);

	if (p == MAP_FAILED)
		return TF_E_NOMEM;
	if (b->head != NULL)
		(void)munmap(b->head, board_size(b->slots));
	b->head = p;
	b->slots = slots;
	return 0;
}

static struct wire_board *
board_new(int fd)
{
	struct wire_board *b = calloc(1, sizeof *b);

	if (b != NULL)
		b->fd = fd;
	else
		close(fd);
	return b;
}

static int
board_path(char out[static BOARD_PATH], const char *dir, const char *more)
{
	int n = snprintf(out, BOARD_PATH, "%s/" BOARD_NAME "%s", dir, more);

	return n > 0 && n < BOARD_PATH ? 0 : TF_E_RANGE;
}

/* Another start of billingd may have put its own there. */
static bool
board_is_ours(const struct wire_board *b)
{
	struct stat here, there;

	return fstat(b->fd, &here) == 0 && lstat(b->path, &there) == 0 && here.st_dev == there.st_dev &&
	    here.st_ino == there.st_ino;
}

void
wire_board_close(struct wire_board **bp)
{
	struct wire_board *b = *bp;

	*bp = NULL;
	if (b == NULL)
		return;
	if (b->path[0] != '\0' && board_is_ours(b))
		(void)unlink(b->path);
	if (b->head != NULL)
		(void)munmap(b->head, board_size(b->slots));
	close(b->fd);
	free(b);
}

/* ---- writing ------------------------------------------------------------------------------ */

/* Room on the disk too: a store into a hole of a full one would kill us. */
static int
board_grow(struct wire_board *b, uint32_t slots)
{
	if (posix_fallocate(b->fd, 0, (off_t)board_size(slots)) != 0)
		return TF_E_IO;
	return board_map(b, slots, PROT_READ | PROT_WRITE);
}

int
wire_board_create(const char *dir, uint64_t boot, struct wire_board **out)
{
	char path[BOARD_PATH], made[BOARD_PATH];
	struct wire_board *b;
	int fd, rc;

	if ((rc = board_path(path, dir, "")) != 0 || (rc = board_path(made, dir, ".new")) != 0)
		return rc;
	(void)unlink(made); /* of one that died here */
	fd = open(made, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (fd < 0)
		return TF_E_IO;
	b = board_new(fd);
	rc = b != NULL ? board_grow(b, BOARD_FIRST) : TF_E_NOMEM;
	if (rc == 0) {
		*b->head = (struct head){ .version = BOARD_VERSION, .boot = boot };
		atomic_init(&b->head->joins, boot); /* a random number: nobody takes it for that of another start */
		memcpy(b->head->magic, magic, sizeof magic);
		if (rename(made, path) != 0)
			rc = TF_E_IO;
	}
	if (rc != 0) {
		(void)unlink(made);
		wire_board_close(&b);
		return rc;
	}
	memcpy(b->path, path, sizeof path);
	*out = b;
	return 0;
}

uint32_t
wire_board_take(struct wire_board *b, uint32_t n)
{
	uint32_t slots = b->slots;

	if (n > BOARD_MAX - b->taken)
		return 0;
	while (slots < b->taken + n)
		slots *= 2;
	if (slots != b->slots && board_grow(b, slots) != 0)
		return 0;
	b->taken += n;
	return b->taken - n + 1;
}

void
wire_board_put(struct wire_board *b, uint32_t slot, const struct wire_room *room)
{
	struct slot *s = slot_at(b, slot);
	uint64_t turn = atomic_load_explicit(&s->turn, memory_order_relaxed);

	atomic_store_explicit(&s->turn, turn + 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	atomic_store_explicit(&s->window, room->window, memory_order_relaxed);
	atomic_store_explicit(&s->ends_ms, room->ends_ms, memory_order_relaxed);
	atomic_store_explicit(&s->requests, room->requests, memory_order_relaxed);
	atomic_store_explicit(&s->tokens, room->tokens, memory_order_relaxed);
	atomic_store_explicit(&s->turn, turn + 2, memory_order_release);
}

void
wire_board_join(struct wire_board *b)
{
	if (atomic_fetch_add_explicit(&b->head->joins, 1, memory_order_seq_cst) == UINT64_MAX) /* 0 says nothing on the wire */
		atomic_fetch_add_explicit(&b->head->joins, 1, memory_order_seq_cst);
}

void
wire_board_change(struct wire_board *b, uint64_t number)
{
	atomic_store_explicit(&b->head->change, number, memory_order_seq_cst);
}

/* ---- reading ------------------------------------------------------------------------------ */

/* As large as the file is now. */
static int
board_look(struct wire_board *b)
{
	struct stat st;
	uint64_t slots;

	if (fstat(b->fd, &st) != 0)
		return TF_E_IO;
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size < board_size(BOARD_FIRST))
		return TF_E_PROTO;
	slots = ((uint64_t)st.st_size - sizeof(struct head)) / sizeof(struct slot);
	return board_map(b, slots < BOARD_MAX ? (uint32_t)slots : BOARD_MAX, PROT_READ);
}

int
wire_board_open(const char *dir, uint64_t boot, struct wire_board **out)
{
	char path[BOARD_PATH];
	struct wire_board *b;
	int fd, rc = board_path(path, dir, "");

	if (rc != 0)
		return rc;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return errno == ENOENT ? TF_E_NOENT : TF_E_IO;
	b = board_new(fd);
	rc = b != NULL ? board_look(b) : TF_E_NOMEM;
	if (rc == 0 && (memcmp(b->head->magic, magic, sizeof magic) != 0 || b->head->version != BOARD_VERSION))
		rc = TF_E_PROTO;
	if (rc == 0 && b->head->boot != boot)
		rc = TF_E_NOENT;
	if (rc != 0) {
		wire_board_close(&b);
		return rc;
	}
	*out = b;
	return 0;
}

uint64_t
wire_board_boot(const struct wire_board *b)
{
	return b->head->boot;
}

uint64_t
wire_board_joins(const struct wire_board *b)
{
	return atomic_load_explicit(&b->head->joins, memory_order_seq_cst);
}

uint64_t
wire_board_changed(const struct wire_board *b)
{
	return atomic_load_explicit(&b->head->change, memory_order_seq_cst);
}

bool
wire_board_get(struct wire_board *b, uint32_t slot, struct wire_room *room)
{
	uint64_t before, after;
	const struct slot *s;

	if (slot == 0 || (slot > b->slots && (board_look(b) != 0 || slot > b->slots)))
		return false;
	s = slot_at(b, slot);
	for (unsigned i = 0; i < BOARD_TRIES; i++) {
		before = atomic_load_explicit(&s->turn, memory_order_acquire);
		*room = (struct wire_room){
			.window = atomic_load_explicit(&s->window, memory_order_relaxed),
			.ends_ms = atomic_load_explicit(&s->ends_ms, memory_order_relaxed),
			.requests = atomic_load_explicit(&s->requests, memory_order_relaxed),
			.tokens = atomic_load_explicit(&s->tokens, memory_order_relaxed),
		};
		atomic_thread_fence(memory_order_acquire);
		after = atomic_load_explicit(&s->turn, memory_order_relaxed);
		if (before == after && (before & 1) == 0)
			return before != 0; /* 0: nothing was ever said */
	}
	return false;
}
