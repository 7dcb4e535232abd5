/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/spool: what a gateway thread writes down about the attempts that it runs, so that neither its
 * death nor billingd's absence loses one. Knows files and records, nothing of what the payloads say.
 *
 *	record    the layout of a segment and of its records; a reader that trusts nothing
 *	segment   one preallocated file that is being written
 *	progress  a shared memory map: a slot for each attempt that is open
 *	writer    all of one start of a thread: segments, open attempts, what is not acknowledged
 *	dir       the directory: whose starts are dead, what they left, how much there is
 *
 * A start's files are NAME-BOOT-NUMBER.seg and NAME-BOOT.map. Its writer holds a lock (flock) on each; who
 * gets all the locks of a start knows that it is dead. Files come into being under the suffix .new and
 * get their own name when they are locked and whole. A segment that billingd has acknowledged is
 * renamed to .done, one that is damaged to .bad.
 *
 * An attempt's BEGIN reserves the room for its END in the same segment, and both are found in one
 * file. So an END can always be written, and a segment whose attempts have ended and are acknowledged is of
 * no more use, whatever other segments hold.
 *
 * Numbers are little-endian. One writer belongs to one thread; what may be called from others says so.
 */
#ifndef SP_SPOOL_H
#define SP_SPOOL_H

#include <stdatomic.h>

#include "common/base/base.h"

#define SP_NAME_MAX 104                /* bytes of an instance name, with its end */
#define SP_PATH_MAX 512                /* bytes of a path, with its end */
#define SP_PAYLOAD_MAX 8192u           /* bytes of one record's payload */
#define SP_SEGMENT_MIN (64u << 10)     /* bytes of a segment */
#define SP_SEGMENT_MAX (1u << 30)

/* ---- records -------------------------------------------------------------------------------- */

#define SP_VERSION 1
#define SP_HEAD 256   /* bytes of a segment before its first record */
#define SP_RECORD 48  /* bytes of a record before its payload */

enum sp_kind {
	SP_BEGIN = 1, /* an attempt was admitted */
	SP_END = 2,   /* it ended: what is charged for it */
};

struct sp_head {
	char name[SP_NAME_MAX]; /* of the instance */
	uint64_t boot;
	uint32_t number;        /* of the segment, from 1 */
	uint64_t size;          /* bytes of the file */
	int64_t made_ms;        /* wall clock */
};

struct sp_rec {
	enum sp_kind kind;
	struct tf_id id;
	uint32_t attempt;
	uint32_t slot;          /* BEGIN: in the progress map; SP_NO_SLOT: none */
	uint64_t seq;           /* END: from 1 without gaps in one start, in the order of the ends */
	bool delivered;         /* END: its last byte was handed to the connection. Set afterwards, in place */
	struct tf_span payload; /* borrowed from what was read */
	uint64_t at;            /* offset in the file */
};
#define SP_NO_SLOT UINT32_MAX

/* Bytes that a record with so many of payload takes. */
static inline size_t
sp_record_size(size_t payload)
{
	return (SP_RECORD + payload + 7) & ~(size_t)7;
}
void sp_head_write(const struct sp_head *h, uint8_t out[static SP_HEAD]);
/* TF_E_PROTO: no segment, or of another version; TF_E_INVAL: damaged. */
int sp_head_read(struct tf_span file, struct sp_head *out, uint32_t *seed) TF_MUSTCHECK;
/* Appends. TF_E_NOMEM, TF_E_RANGE above SP_PAYLOAD_MAX. seed: of the segment's head. */
int sp_record_write(struct tf_buf *out, uint32_t seed, const struct sp_rec *r) TF_MUSTCHECK;
/* The record at an offset; 1, or 0 when there is none that is whole. */
int sp_record_read(struct tf_span file, uint32_t seed, uint64_t at, struct sp_rec *out);

enum sp_end {
	SP_CLEAN, /* nothing but zeros follow */
	SP_TORN,  /* an unfinished write follows */
	SP_BAD,   /* damage, and good records behind it */
};
struct sp_reader {
	struct tf_span file; /* borrowed */
	struct sp_head head;
	uint32_t seed;
	uint64_t at;
	enum sp_end end;     /* once sp_next has returned 0 */
};
/* As sp_head_read. */
int sp_reader_init(struct sp_reader *r, struct tf_span file) TF_MUSTCHECK;
/* 1: out is the next record; 0: that was the last one to be trusted. */
int sp_next(struct sp_reader *r, struct sp_rec *out);

/* ---- progress ------------------------------------------------------------------------------- */

/* What is known of an open attempt at any moment, also after kill -9. 64 bytes, its own cache line. */
struct sp_slot {
	struct tf_id id;
	uint32_t attempt;
	_Atomic uint32_t given;    /* 1: a part of the answer went to the client */
	_Atomic uint64_t tokens;   /* output tokens so far */
	_Atomic uint64_t reserved; /* tokens reserved so far */
	_Atomic uint64_t money;    /* nano-units reserved so far */
	uint64_t spare[2];
};

struct sp_map; /* opaque */
/* Makes and locks it. slots: at least 1. TF_E_IO (errno), TF_E_EXIST, TF_E_NOMEM. */
int sp_map_create(const char *dir, const char *name, uint64_t boot, uint32_t slots, struct sp_map **out) TF_MUSTCHECK;
/* That of a dead start, to be read: TF_E_NOENT; TF_E_PROTO: damaged; TF_E_IO; TF_E_NOMEM. fd: borrowed. */
int sp_map_open(int fd, struct sp_map **out) TF_MUSTCHECK;
void sp_map_close(struct sp_map **map);
/* A free slot with zeros in it for this attempt; SP_NO_SLOT when all are taken. */
uint32_t sp_map_take(struct sp_map *map, struct tf_id id, uint32_t attempt);
/* It is free once sp_map_settle was called: what it says must last until its attempt's END is in the file. */
void sp_map_give(struct sp_map *map, uint32_t slot);
void sp_map_settle(struct sp_map *map);
/* NULL when the slot is another attempt's by now. */
struct sp_slot *sp_map_slot(struct sp_map *map, uint32_t slot, struct tf_id id, uint32_t attempt);
uint64_t sp_map_acked(const struct sp_map *map); /* every END up to here is with billingd */
uint64_t sp_map_seq(const struct sp_map *map);   /* last END's number */
void sp_map_set_acked(struct sp_map *map, uint64_t seq);
void sp_map_set_seq(struct sp_map *map, uint64_t seq);
struct tf_span sp_map_name(const struct sp_map *map);
uint64_t sp_map_boot(const struct sp_map *map);
size_t sp_map_size(uint32_t slots); /* bytes of the file */

/* ---- a segment ------------------------------------------------------------------------------- */

struct sp_seg {
	struct tf_node node;    /* sp_writer.segs */
	struct sp_head head;
	uint32_t seed;
	int fd;
	char path[SP_PATH_MAX];
	uint64_t tail;          /* bytes that are in the file */
	struct tf_buf pending;  /* that are not */
	uint64_t reserved;      /* for ENDs */
	size_t open, unacked;   /* attempts without END; ENDs without acknowledgement */
	bool broken;            /* a write failed: nothing is appended any more */
	atomic_bool dirty;      /* written since it was synced */
	atomic_uint refs;       /* who else may sync it now */
};
/* Makes, preallocates, locks. Blocks. TF_E_FULL: no room on disk; TF_E_IO (errno), TF_E_NOMEM. Any thread. */
int sp_seg_create(const char *dir, const struct sp_head *head, struct sp_seg **out) TF_MUSTCHECK;
/* Any thread. TF_E_IO. */
int sp_seg_sync(struct sp_seg *s);
/* Nothing in it is needed any more: cuts it to what it holds, renames it to .done and frees it. Any thread. */
void sp_seg_done(struct sp_seg **s);
/* Leaves the file as it is; unlinks it when no record was ever written. */
void sp_seg_close(struct sp_seg **s);

/* ---- all of one start ------------------------------------------------------------------------ */

/* An attempt between BEGIN and END. Embedded; all zero: not open. */
struct sp_open {
	struct sp_seg *seg;
	struct sp_slot *slot; /* never NULL while it is open */
	uint32_t number;      /* of the slot */
	uint32_t room;        /* bytes reserved for END */
	struct tf_id id;
	uint32_t attempt;
};

struct sp_due { /* an END that is not acknowledged */
	struct sp_seg *seg; /* NULL: it is in memory only */
	char *frame;        /* then: the payload, owned; also of some that are in a file, see sp_writer_conf.keep */
	struct tf_id id;
	uint32_t attempt;
	uint32_t at, n;     /* offset in the file; bytes of the payload */
	uint64_t made_ms;   /* tf_mono_ms */
	/* the owner's own: */
	bool ready;         /* billingd may hear of it: the client has the answer, or never will */
	bool delivered;     /* it has it */
	uint32_t session;   /* in which billingd was told last; 0: it was not */
};

struct sp_writer {
	char dir[SP_PATH_MAX - SP_NAME_MAX - 64];
	char name[SP_NAME_MAX];
	uint64_t boot;
	uint32_t segment;       /* bytes of the next ones */
	uint32_t number;        /* of the newest segment */
	struct sp_map *map;
	struct sp_seg *current; /* new attempts begin here; NULL: no room */
	struct sp_seg *spare;   /* follows it */
	struct tf_list segs;    /* all but the spare, oldest first */
	struct sp_due *due;     /* ring of cap */
	size_t cap, first, n;
	uint64_t acked;         /* seq of the END before the first in the ring */
	size_t in_memory;       /* dues without a segment */
	size_t keep, kept;      /* bytes of payloads held beside the files: at most, now */
	struct tf_buf scratch;
};
struct sp_writer_conf {
	const char *dir, *name;
	uint64_t boot;
	uint32_t slots;   /* attempts that can be open */
	uint32_t segment; /* bytes of a segment */
	size_t keep;      /* bytes of payloads of ENDs to hold in memory beside the files until they are acknowledged */
};
/* The map and, when there is room for it, the first segment. Blocks. As sp_seg_create. */
int sp_writer_open(struct sp_writer *w, const struct sp_writer_conf *c) TF_MUSTCHECK;
/* Everything that is not acknowledged stays on disk for the next start; what is goes. */
void sp_writer_close(struct sp_writer *w);

/*
 * Records that an attempt begins, with room for an END of end_max bytes of payload. TF_E_FULL: no room in the
 * segments or the map; TF_E_NOMEM; TF_E_RANGE. In the file after sp_writer_flush.
 */
int sp_writer_begin(struct sp_writer *w, struct sp_open *o, struct tf_span payload, size_t end_max) TF_MUSTCHECK;
/* Is there room for it? */
bool sp_writer_fits(struct sp_writer *w, size_t payload, size_t end_max);
/*
 * Records that it ended, as number *seq, which it gives, and closes o. With a payload beyond end_max, or an o that
 * is not open, the record is kept in memory only (see sp_due). TF_E_NOMEM: it is not recorded, o is open still.
 */
int sp_writer_end(struct sp_writer *w, struct sp_open *o, struct tf_span payload, uint64_t *seq) TF_MUSTCHECK;
/* Number that the next END gets. */
static inline uint64_t
sp_writer_next(const struct sp_writer *w)
{
	return w->acked + w->n + 1;
}
/*
 * One write(2) for each segment with something pending. 0, or TF_E_IO: a file could not be written. What was to be in it
 * goes to another segment, or stays in memory when there is none; the segment is not used any more.
 */
int sp_writer_flush(struct sp_writer *w);
/* The answer of that END was taken by the connection: marks it. Harmless for what is acknowledged. */
void sp_writer_delivered(struct sp_writer *w, uint64_t seq);
/* NULL: acknowledged, or never given. */
struct sp_due *sp_writer_due(struct sp_writer *w, uint64_t seq);
/* Its record; the payload borrows buf, or the due. TF_E_IO, TF_E_NOMEM. */
int sp_writer_read(struct sp_writer *w, uint64_t seq, struct tf_buf *buf, struct sp_rec *out) TF_MUSTCHECK;
/* billingd holds every END up to seq. */
void sp_writer_ack(struct sp_writer *w, uint64_t seq);
/* A segment of which nothing is needed any more, taken off the list; NULL: none. Give it to sp_seg_done. */
struct sp_seg *sp_writer_spent(struct sp_writer *w);
/* Shall another thread make the next segment? Then its head is in out. */
bool sp_writer_wants(const struct sp_writer *w, struct sp_head *out);
void sp_writer_give(struct sp_writer *w, struct sp_seg *seg); /* takes it */

/* ---- the directory --------------------------------------------------------------------------- */

struct sp_left_end { /* an END that a dead start left */
	uint64_t seq;
	uint32_t file;  /* in sp_left.files */
	uint32_t at, n; /* offset and bytes of the payload */
	struct tf_id id;
	uint32_t attempt;
	bool delivered;
	bool unreadable; /* the owner's own */
};
struct sp_left_begin { /* a BEGIN without END */
	uint32_t file, at, n;
	struct tf_id id;
	uint32_t attempt;
	bool unreadable; /* the owner's own */
	bool known;     /* its progress is: */
	bool given;
	uint64_t tokens, reserved, money;
};
/* A start that is dead, locked for us. */
struct sp_left {
	char name[SP_NAME_MAX];
	uint64_t boot;
	struct sp_left_file {
		char path[SP_PATH_MAX];
		int fd;
		bool bad;       /* its rest cannot be trusted: becomes .bad */
		uint64_t tail;  /* end of its last good record */
	} *files;
	size_t nfiles;
	int map_fd;             /* -1: it left no map */
	char map_path[SP_PATH_MAX];
	uint64_t acked;         /* every END up to here is with billingd */
	uint64_t last;          /* highest number that it gave */
	struct sp_left_end *ends; /* beyond acked, by seq; none twice */
	struct sp_left_begin *begins; /* in the order in which they began */
	size_t nends, nbegins;
	uint32_t ends_cap, begins_cap;
	size_t nbad, ntorn;     /* segments whose rest was damaged; that end in an unfinished write */
};
/*
 * Finds a start in dir that is dead and has segments, locks it and reads it. Blocks. 0: *out is new;
 * TF_E_NOENT: there is none; TF_E_IO, TF_E_NOMEM. Any thread.
 */
int sp_left_find(const char *dir, struct sp_left **out) TF_MUSTCHECK;
/* The payload of a record of it. TF_E_IO, TF_E_NOMEM, TF_E_PROTO. */
int sp_left_read(const struct sp_left *l, uint32_t file, uint32_t at, struct tf_buf *buf, struct sp_rec *out) TF_MUSTCHECK;
/* All of it is with billingd: its files are renamed to .done and .bad, and gone where they hold nothing. */
void sp_left_done(struct sp_left **l);
/* Gives up the locks and leaves everything as it is. */
void sp_left_free(struct sp_left **l);

struct sp_sizes { /* of the directory */
	uint64_t bytes;    /* allocated, all kinds */
	uint64_t done;     /* of that: acknowledged, kept for a while */
	size_t segments;   /* not acknowledged */
	size_t bad;        /* files set aside */
};
/* TF_E_IO. Any thread. */
int sp_dir_sizes(const char *dir, struct sp_sizes *out) TF_MUSTCHECK;
/*
 * Removes .done files older than keep_ms, and the oldest ones until at most so many bytes are in the directory; also what
 * those who died left unfinished. Any thread.
 */
void sp_dir_drop(const char *dir, uint64_t keep_ms, uint64_t most);
/* Calls fn for each start of which acknowledged files are there. Any thread. */
void sp_dir_settled(const char *dir, void (*fn)(void *arg, const char *name, uint64_t boot), void *arg);

#endif
