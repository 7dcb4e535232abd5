/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Surfaces without turns: one request, one answer (embeddings, images, audio ...). Such a surface has no
 * canonical form: it names a struct dl_plain in its dl_ops instead of the turn functions, and plain.c drives it.
 * Private to this folder and its tests.
 */
#ifndef TF_DIALECT_PLAIN_H
#define TF_DIALECT_PLAIN_H

#include "common/dialect/canon.h"

/* How the runtime's answer is taken. */
enum dl_way {
	DL_WAY_WHOLE,  /* kept, then given to whole() at its end */
	DL_WAY_EVENTS, /* event() for each server-sent event, then end() */
	DL_WAY_BYTES,  /* bytes() for each piece as it comes, then end() */
};

/* One attempt in the hands of its surface. */
struct dl_job {
	const struct dl_xlate_conf *conf; /* asked, model, quirks, rid; conf->runtime is a runtime of the OpenAI family */
	const struct dl_head *head;
	struct dl_facts *facts;           /* the surface sets content, finish, usage, units */
	struct tf_buf *dropped;
	const char *content_type;         /* of the answer to the client, static; NULL: JSON, or events for head->stream */
	bool live;                        /* what is given out may go to the client before the answer is complete */
	void *state;                      /* dl_plain.size bytes, zeroed when the attempt begins */
};

/*
 * Where int is returned: 0, TF_E_NOMEM, or TF_E_INVAL: the request cannot be made, the answer cannot be read (the
 * fault is set for it where dl_job_fail has not said another one). out is appended to; what is there stays.
 */
struct dl_plain {
	size_t size;       /* of the state */
	size_t answer_max; /* largest answer that is kept for whole(), bytes */
	size_t event_max;  /* largest event, bytes; 0: as of conversations */
	bool any_runtime;  /* also one that is not of the OpenAI family */
	/* Appends the runtime's body. Borrows body for the call. Again for a resend. */
	int (*request)(struct dl_job *j, struct tf_span body, struct tf_buf *out);
	/* NULL: the dialect's own path, application/json. Static, good once request() has returned. */
	const char *(*path)(const struct dl_job *j);
	const char *(*request_type)(const struct dl_job *j);
	const char *accept; /* what the runtime is asked for when it is not events; NULL: application/json */
	/* Does the runtime get asked for events? NULL: when the client asked for them. */
	bool (*streams)(const struct dl_job *j);
	/* A good answer begins; what an earlier one left in the state is forgotten. NULL: WHOLE. */
	enum dl_way (*begin)(struct dl_job *j, struct tf_span content_type);
	int (*whole)(struct dl_job *j, struct tf_span body, struct tf_buf *out);
	int (*bytes)(struct dl_job *j, struct tf_span piece, struct tf_buf *out);
	int (*event)(struct dl_job *j, struct tf_span event, struct tf_span data, struct tf_buf *out);
	/* The answer ended well; of BYTES and EVENTS. */
	int (*end)(struct dl_job *j, struct tf_buf *out);
	/*
	 * The address of what still has to be fetched from the runtime before end(); NULL: never anything. Then what was
	 * there, once for each; bytes.p NULL: it cannot be had.
	 */
	bool (*wants)(const struct dl_job *j, struct tf_span *url);
	int (*fetched)(struct dl_job *j, struct tf_span bytes);
	/* Frees what hangs on the state; called once. NULL: nothing does. */
	void (*fini)(struct dl_job *j);
};

/* ---- for surfaces ------------------------------------------------------------------------ */

/* The attempt failed: the first fault counts. Nothing more is given out. Always TF_E_INVAL. */
int dl_job_fail(struct dl_job *j, const struct dl_fault *f);
/* The same with a message for the client, not to be tried again. */
int dl_job_refuse(struct dl_job *j, const char *param, const char *fmt, ...) TF_PRINTF(3, 4);
/* Is there an error object in this answer of status 200? Then the attempt failed by it. */
bool dl_job_error(struct dl_job *j, struct tf_span answer);
/* An event's data: 1 an object to be looked at; 0 nothing is to be done with it; TF_E_INVAL the attempt failed by it. */
int dl_job_data(struct dl_job *j, struct tf_span data);
/*
 * The usage object of an answer (empty: none) to facts: prompt or input tokens, completion or output tokens. Without
 * it the prompt is estimated. True when the runtime gave it.
 */
bool dl_job_usage(struct dl_job *j, struct tf_span usage);
/* That, and an object of prompt_tokens and total_tokens to out: the runtime's own when it has both. */
int dl_job_put_usage(struct dl_job *j, struct tf_span usage, struct tf_buf *out);
/*
 * Bytes that are to be kept and fetched from the gateway: takes them. Returns the name that nobody can guess,
 * good as long as the answer is; NULL without memory. type: static; ext: of the name, without a dot.
 */
const char *dl_job_keep(struct dl_job *j, const char *type, const char *ext, struct tf_buf *bytes);
/* A JSON body with the model's name put in and what must not pass taken out. */
int dl_job_splice(struct dl_job *j, struct tf_span body, struct tf_buf *out);
/*
 * Appends the members of answer that are not among names (NULL terminated), each with a comma in front. For
 * what runtimes say beyond the documented.
 */
int dl_job_others(struct tf_span answer, const char *const *names, struct tf_buf *out);

/* Counts a prompt's tokens instead of answering it (count.c). */
extern const struct dl_plain dl_count_plain;

/* ---- for xlate.c, as the dl_xlate functions of these names --------------------------------- */

struct dl_run; /* a job and what drives it */

/* Borrows conf, head, facts and dropped for its life. Returns new, NULL without memory. */
struct dl_run *dl_run_new(const struct dl_plain *plain, const struct dl_xlate_conf *conf, const struct dl_head *head,
    struct dl_facts *facts, struct tf_buf *dropped);
void dl_run_free(struct dl_run **run);
int dl_run_request(struct dl_run *run, struct tf_span body, struct tf_buf *out) TF_MUSTCHECK;
const char *dl_run_path(const struct dl_run *run);
const char *dl_run_request_type(const struct dl_run *run);
const char *dl_run_content_type(const struct dl_run *run);
const char *dl_run_accept(const struct dl_run *run);
bool dl_run_streams(const struct dl_run *run);
bool dl_run_live(const struct dl_run *run);
void dl_run_head(struct dl_run *run, int status, struct tf_span content_type, uint32_t retry_after_s);
int dl_run_feed(struct dl_run *run, struct tf_span piece, struct tf_buf *out) TF_MUSTCHECK;
int dl_run_end(struct dl_run *run, struct tf_buf *out) TF_MUSTCHECK;
bool dl_run_wants(const struct dl_run *run, struct tf_span *url);
int dl_run_fetched(struct dl_run *run, struct tf_span bytes, struct tf_buf *out) TF_MUSTCHECK;
bool dl_run_kept(const struct dl_run *run, size_t i, struct dl_kept *out);
int dl_run_broken(struct dl_run *run, int err, struct tf_buf *out) TF_MUSTCHECK;

#endif
