/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/wire: what the daemons say to each other. A codec that is derived from the
 * message table wire.def, links that keep a session with each peer (hello, heartbeat,
 * version, loss), and the byte bookkeeping of streams. Knows nothing of what a message
 * means to a daemon. Everything belongs to one event loop and its thread.
 *
 * A ZeroMQ message carries one or more frames back to back: all that was queued for a
 * peer in one turn of the loop. A frame is WIRE_HEAD bytes, then fields, then payload,
 * everything little endian:
 *
 *	0  'T' 'F'
 *	2  u8  major, u8 minor    version of the sender
 *	4  u8  verb
 *	5  u8  flags              zero
 *	6  u16 seq                frames of this session and direction so far, modulo 2^16
 *	8  u32 bytes of fields
 *	12 u32 bytes of payload
 *	16 u32 attempt            0 when the frame is about no attempt
 *	20 u8  id[16]             request id, or the id of a question; else zero
 *
 * A field is u16 number, u16 zero, u32 length, bytes. seq is 0 in HELLO, WELCOME, REFUSE
 * and RESYNC; every other frame counts, so that whatever ZeroMQ drops is noticed by the
 * next frame, and the session is made anew.
 */
#ifndef TF_WIRE_H
#define TF_WIRE_H

#include "common/base/base.h"
#include "common/wire/wire.def"

struct ev_loop;
struct ev_zctx;

/* ---- what the table says ------------------------------------------------------------------ */

#define WIRE_HEAD 36                     /* bytes of a frame's header */
#define WIRE_TLV 8                       /* bytes of a field's header */
#define WIRE_INLINE_BODY 65536u          /* largest request body inside DISPATCH */
#define WIRE_TEXT_MAX 65536u             /* longest S field */
#define WIRE_FIELDS_MAX (512u << 10)     /* all fields of a frame */
#define WIRE_PAYLOAD_MAX (4u << 20)      /* payload of a frame */
#define WIRE_MESSAGE_MAX (8u << 20)      /* a ZeroMQ message; larger ones are never read */
#define WIRE_PIECE (256u << 10)          /* payload of one KEEP, PUT or VALUE at most */
#define WIRE_NAME_MAX 100                /* instance name: letters, digits, . _ - */
#define WIRE_SECRET 16                   /* bytes of DISPATCH.secret */
#define WIRE_TURN 65536u                 /* attempts that each owner of a claimed request may number */
#define WIRE_BACKLOG_MAX (64u << 20)     /* bytes queued for a peer; beyond, it is dropped */

enum wire_verb {
#define M(num, NAME, suffix, dir, help) WIRE_##NAME = num,
	WIRE_MESSAGES(M)
#undef M
	WIRE_VERB_END
};

enum wire_role {
#define E(num, NAME, text) WIRE_ROLE_##NAME = num,
	WIRE_ROLES(E)
#undef E
};

enum wire_outcome {
#define E(num, NAME, text) WIRE_OUTCOME_##NAME = num,
	WIRE_OUTCOMES(E)
#undef E
};

enum wire_cancel_reason {
#define E(num, NAME, text) WIRE_CANCEL_##NAME = num,
	WIRE_CANCELS(E)
#undef E
};

enum wire_key_status {
#define E(num, NAME, text) WIRE_KEY_##NAME = num,
	WIRE_KEY_STATUSES(E)
#undef E
};

enum wire_kind {
#define E(num, NAME, text) WIRE_KIND_##NAME = num,
	WIRE_KINDS(E)
#undef E
};

enum wire_view {
#define E(num, NAME, text) WIRE_VIEW_##NAME = num,
	WIRE_VIEWS(E)
#undef E
};

enum wire_scope {
#define E(num, NAME, text) WIRE_SCOPE_##NAME = num,
	WIRE_SCOPES(E)
#undef E
};

enum wire_claim_state {
#define E(num, NAME, text) WIRE_CLAIM_##NAME = num,
	WIRE_CLAIM_STATES(E)
#undef E
};

enum wire_ev_flag {
#define E(num, NAME, text) WIRE_EV_##NAME = num,
	WIRE_EV_FLAGS(E)
#undef E
};

/* Static text of a value; "?" for one the table does not have. */
const char *wire_role_text(uint64_t role);
const char *wire_outcome_text(uint64_t outcome);
const char *wire_cancel_text(uint64_t reason);
const char *wire_key_status_text(uint64_t status);
const char *wire_kind_text(uint64_t kind);
const char *wire_scope_text(uint64_t bit);
const char *wire_claim_state_text(uint64_t state);
/* "DISPATCH"; "?" for an unknown verb. */
const char *wire_verb_text(unsigned verb);

/*
 * An R field. Decoded: the fields it was among, read with wire_next. To be encoded:
 * what wire_rep_add or wire_rep_add_* appended to a buffer, through wire_rep_of.
 */
struct wire_rep {
	const char *p;
	size_t n;
	unsigned number; /* of the field; 0: no entry */
};

/*
 * One struct a message and record. A member is zero or empty when the field was absent;
 * where absent and zero differ, ask wire_has. An encoder writes REQ fields always, OPT
 * ones when not zero or when wire_set said so. Spans are borrowed in both directions.
 */
#define WIRE_T_U uint64_t
#define WIRE_T_S struct tf_span
#define WIRE_T_B struct tf_span
#define WIRE_T_R struct wire_rep
#define F(msg, num, type, name, need, help) WIRE_T_##type name;
#define M(num, NAME, suffix, dir, help) \
	struct wire_##suffix { \
		uint64_t has; /* bit n: field n was there */ \
		WIRE_FIELDS_##NAME(F) \
	};
WIRE_MESSAGES(M)
#undef M
#define M(NAME, suffix) \
	struct wire_##suffix { \
		uint64_t has; \
		WIRE_FIELDS_##NAME(F) \
	};
WIRE_RECORDS(M)
#undef M
#undef F

union wire_any {
#define M(num, NAME, suffix, dir, help) struct wire_##suffix suffix;
	WIRE_MESSAGES(M)
#undef M
};

enum wire_field_number {
#define F(msg, num, type, name, need, help) WIRE_FN_##msg##_##name = num,
#define M(num, NAME, suffix, dir, help) WIRE_FIELDS_##NAME(F)
	WIRE_MESSAGES(M)
#undef M
#define M(NAME, suffix) WIRE_FIELDS_##NAME(F)
	WIRE_RECORDS(M)
#undef M
#undef F
};
/* wire_has(&end, END, prompt); wire_set(&end, END, prompt, 0) sends an explicit zero. */
#define wire_has(m, MSG, field) (((m)->has >> WIRE_FN_##MSG##_##field & 1) != 0)
#define wire_set(m, MSG, field, v) \
	((void)((m)->field = (v), (m)->has |= UINT64_C(1) << WIRE_FN_##MSG##_##field))

/* ---- codec -------------------------------------------------------------------------------- */

struct wire_frame {
	uint8_t major, minor, verb, flags;
	uint16_t seq;
	uint32_t attempt;
	struct tf_id id;
	struct tf_span fields, payload; /* borrowed from the message */
	struct tf_span raw;             /* the whole frame */
	void *hold;                     /* what the bytes lie in, for wire_keep */
};

/*
 * Reads the frame at the front of in; *used is its length. TF_E_INVAL: cut, not ours, or
 * beyond a bound. Fields are not looked at.
 */
int wire_frame_read(struct tf_span in, struct wire_frame *out, size_t *used) TF_MUSTCHECK;
/*
 * Fills the member of *out that belongs to f->verb. TF_E_INVAL: a required field is
 * missing, a field comes twice, has the wrong size or is not UTF-8, bytes are left over.
 * TF_E_NOENT: unknown verb. out borrows from the frame.
 */
int wire_dec(const struct wire_frame *f, union wire_any *out) TF_MUSTCHECK;
/* May a peer of role from say this verb to one of role to? */
bool wire_allowed(unsigned verb, enum wire_role from, enum wire_role to);

/* Entries of an R field, in order: it starts as a copy of the member and is consumed. False at
 * the end. Text entries are not checked for UTF-8. */
bool wire_next(struct wire_rep *it, struct tf_span *out);
/* Appends one entry, for a message that is encoded later; TF_E_NOMEM, TF_E_RANGE. */
int wire_rep_add(struct tf_buf *b, unsigned number, struct tf_span entry);
static inline struct wire_rep
wire_rep_of(const struct tf_buf *b, unsigned number)
{
	return (struct wire_rep){ b->p, b->n, b->n ? number : 0 };
}

/*
 * Appends a frame (seq 0). m is the struct of that verb; NULL for one without fields.
 * TF_E_NOMEM; TF_E_RANGE when a bound is exceeded. The buffer is unchanged on failure.
 */
int wire_enc(struct tf_buf *b, enum wire_verb verb, const struct tf_id *id, uint32_t attempt,
    const void *m, struct tf_span payload);
/* Overwrites a U field of an encoded frame in place. TF_E_NOENT when it is not there. */
int wire_patch(char *frame, size_t n, unsigned number, uint64_t v);

/* wire_enc_end(b, &id, attempt, &end, payload), and so on for every message. */
#define M(num, NAME, suffix, dir, help) \
	static inline int wire_enc_##suffix(struct tf_buf *b, const struct tf_id *id, \
	    uint32_t attempt, const struct wire_##suffix *m, struct tf_span payload) \
	{ \
		return wire_enc(b, WIRE_##NAME, id, attempt, m, payload); \
	}
WIRE_MESSAGES(M)
#undef M

/*
 * wire_dec_model_rec(span, &rec) decodes an entry that wire_next gave;
 * wire_rep_add_model_rec(b, number, &rec) appends one. Errors as wire_dec and wire_enc.
 */
#define M(NAME, suffix) \
	int wire_dec_##suffix(struct tf_span s, struct wire_##suffix *out) TF_MUSTCHECK; \
	int wire_rep_add_##suffix(struct tf_buf *b, unsigned number, const struct wire_##suffix *m);
WIRE_RECORDS(M)
#undef M

/* ---- links -------------------------------------------------------------------------------- */

/* Who we are, said in HELLO and WELCOME. Strings are copied. */
struct wire_self {
	const char *name;       /* instance name, WIRE_NAME_MAX */
	enum wire_role role;
	uint64_t boot;          /* random, one a start of the process */
	uint64_t epoch;         /* billing epoch; 0 none */
	const char *build;      /* version text or NULL */
	const char *endpoint;   /* where workers connect (gatewayd threads) or NULL */
	unsigned heartbeat_ms;  /* 0: 500 */
	unsigned roles;         /* enum wire_role bits of the peers we take; 0: all */
	unsigned lazy_us;       /* longest a lazy frame waits; 0: 2 ms */
};

/*
 * A peer in session. Exists from up until down returns; afterwards the pointer is void.
 * Owned by its link. The daemon may write user only.
 */
struct wire_peer {
	const char *name;
	const char *endpoint;  /* HELLO.endpoint, "" when none */
	const char *build;     /* "" when none */
	enum wire_role role;
	uint64_t boot;
	uint64_t epoch;
	uint64_t key_change;   /* last one its WELCOME or HEARTBEAT named; 0 none */
	unsigned major, minor; /* version both speak */
	void *user;
};

/*
 * up: the session stands, send what the peer must know. down: it is over, with the reason
 * for the log; wire_send to it fails from here on. frame: decoded, and allowed from that
 * peer's role; f and m are borrowed until the hook returns. Session frames (HELLO,
 * HEARTBEAT ...) never reach it. Hooks may send to and drop any peer.
 */
struct wire_hooks {
	void (*up)(void *arg, struct wire_peer *p);
	void (*down)(void *arg, struct wire_peer *p, const char *why);
	void (*frame)(void *arg, struct wire_peer *p, const struct wire_frame *f,
	    const union wire_any *m);
	void *arg;
};

/*
 * Hub: binds, has any number of peers, one a name. Dial: connects to one endpoint, says
 * HELLO until it is welcomed, and again for ever after a loss, on a new socket. A peer
 * that comes back with a new boot or session is first taken down, then up. The free
 * functions say BYE, call down for every peer and may be called from inside a hook.
 */
struct wire_hub;
struct wire_dial;
/* 0 and *out new; TF_E_NOMEM; TF_E_INVAL for a bad name; as ev_zsock_bind and ev_zsock_connect. */
int wire_hub_new(struct ev_loop *loop, struct ev_zctx *ctx, const struct wire_self *self,
    const char *endpoint, const struct wire_hooks *hooks, struct wire_hub **out) TF_MUSTCHECK;
void wire_hub_free(struct wire_hub **hub);
int wire_dial_new(struct ev_loop *loop, struct ev_zctx *ctx, const struct wire_self *self,
    const char *endpoint, const struct wire_hooks *hooks, struct wire_dial **out) TF_MUSTCHECK;
void wire_dial_free(struct wire_dial **dial);
/* The peer, NULL while there is no session. */
struct wire_peer *wire_dial_peer(const struct wire_dial *dial);
const char *wire_dial_endpoint(const struct wire_dial *dial);
/* Why there is no session, for status pages; "" when there is one. Static or owned by the dial. */
const char *wire_dial_trouble(const struct wire_dial *dial);
/* The peer in session that follows after (NULL: the first), NULL at the end; none may go meanwhile. */
struct wire_peer *wire_hub_next(const struct wire_hub *hub, const struct wire_peer *after);
size_t wire_hub_count(const struct wire_hub *hub);
/* By instance name; NULL when it is not in session. */
struct wire_peer *wire_hub_find(const struct wire_hub *hub, struct tf_span name);
/* What later HELLO, WELCOME and HEARTBEAT say. */
void wire_hub_epoch(struct wire_hub *hub, uint64_t epoch);
void wire_hub_key_change(struct wire_hub *hub, uint64_t number);

/*
 * Queues a frame, to leave with all others at the end of this loop turn; lazy ones leave
 * with the next prompt one, after lazy_us at the latest. 0; TF_E_NOMEM; TF_E_RANGE (beyond a
 * bound of the codec); TF_E_CLOSED (the peer is down, or fell so far behind that it is
 * being dropped). m and payload are copied.
 */
int wire_send(struct wire_peer *p, enum wire_verb verb, const struct tf_id *id,
    uint32_t attempt, const void *m, struct tf_span payload);
int wire_send_lazy(struct wire_peer *p, enum wire_verb verb, const struct tf_id *id,
    uint32_t attempt, const void *m, struct tf_span payload);
/* wire_send_end(p, &id, attempt, &end, payload), type checked. */
#define M(num, NAME, suffix, dir, help) \
	static inline int wire_send_##suffix(struct wire_peer *p, const struct tf_id *id, \
	    uint32_t attempt, const struct wire_##suffix *m, struct tf_span payload) \
	{ \
		return wire_send(p, WIRE_##NAME, id, attempt, m, payload); \
	}
WIRE_MESSAGES(M)
#undef M
/*
 * Sends a frame that was received or encoded before, bytes as they are but for one U field; patch 0: none. As wire_send;
 * TF_E_NOENT: it has no such field; TF_E_STATE: it is of another major version.
 */
int wire_forward(struct wire_peer *p, struct tf_span raw, unsigned patch, uint64_t v);
int wire_forward_lazy(struct wire_peer *p, struct tf_span raw, unsigned patch, uint64_t v);
/* Bytes queued here that ZeroMQ has not taken yet. */
size_t wire_backlog(const struct wire_peer *p);
/* How long nothing was heard from it, rounded up to half a heartbeat interval. */
uint64_t wire_silent_ms(const struct wire_peer *p);
/* Ends the session because the peer broke the protocol: counted, logged, down, RESYNC. */
void wire_drop(struct wire_peer *p, const char *why);
/* Is a drop of this peer pending or done? */
bool wire_is_down(const struct wire_peer *p);

/*
 * Keeps a frame beyond its hook without copying: holds the ZeroMQ message it lies in.
 * Returns new, wire_kept_free; the copy of the frame inside has the same spans.
 */
struct wire_kept {
	struct wire_frame frame;
};
int wire_keep(const struct wire_frame *f, struct wire_kept **out) TF_MUSTCHECK;
void wire_kept_free(struct wire_kept **k);

/* ---- streams ------------------------------------------------------------------------------ */

/*
 * Sending side of a byte stream under cumulative credit (EVENT under CREDIT, BODY under
 * PULL). limit only grows, so a repeated or late credit does no harm.
 */
struct wire_tx {
	uint64_t sent;  /* offset of the next byte */
	uint64_t limit; /* up to which we may send */
};
static inline size_t
wire_tx_room(const struct wire_tx *t)
{
	uint64_t room = t->limit > t->sent ? t->limit - t->sent : 0;

	return room > SIZE_MAX ? SIZE_MAX : (size_t)room;
}
/* True when there is more room than before. */
static inline bool
wire_tx_credit(struct wire_tx *t, uint64_t limit)
{
	if (limit <= t->limit)
		return false;
	t->limit = limit;
	return true;
}

/* Receiving side: window bytes may be under way or unread at any time. */
struct wire_rx {
	uint64_t next;   /* offset expected next */
	uint64_t limit;  /* credit given */
	uint64_t window; /* bytes */
};
/* n bytes at offset arrived. TF_E_PROTO: a gap, a repetition, or more than was granted. */
int wire_rx_data(struct wire_rx *r, uint64_t offset, size_t n) TF_MUSTCHECK;
/*
 * held bytes of what arrived are still unread. True when the limit moved by at least half a
 * window: send r->limit as CREDIT or PULL.
 */
bool wire_rx_credit(struct wire_rx *r, uint64_t held);

#endif
