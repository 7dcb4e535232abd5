/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of common/ctl share and nobody else includes. */
#ifndef TF_CTL_INSIDE_H
#define TF_CTL_INSIDE_H

#include "common/ctl/ctl.h"
#include "common/event/event.h"

#define CTL_ARGS_MAX 64 /* arguments of one command */

struct ctl_conn;

/* Acts on their way to billingd: one at a time, in order, each until it is answered. */
struct ctl_tell {
	struct ev_loop *loop;
	char *path;           /* of billingd's socket; NULL: nobody is told */
	struct tf_list acts;  /* struct ctl_telling, oldest first */
	int fd;               /* -1: not connected */
	struct ev_fd io;
	struct ev_timer timer; /* connected: the answer is late; else: another try */
	struct tf_buf out, in;
	size_t sent;          /* of out */
	uint64_t pause_ms;    /* until the next try */
};

#define CTL_FELLOWS 5
struct ctl {
	struct ev_loop *loop;
	struct ctl_options opt; /* texts are ours */
	char *path;
	int fd, lock;
	struct ev_fd accept;
	struct tf_list conns;
	struct tf_list reqs;   /* all that have not ended */
	struct ctl_tell tell;
	unsigned fellows[CTL_FELLOWS]; /* uids */
	size_t n_fellows;
	uint64_t since_ms; /* monotonic */
	bool has_group;
	unsigned group; /* gid of group tokenfactory */
};

/* States of a connection are what it waits for; see conn_step. */
struct ctl_conn {
	struct tf_node node; /* in ctl->conns */
	struct ctl *ctl;
	struct ev_fd fd;
	struct ev_timer idle;
	struct tf_buf in, out;
	size_t sent;         /* of out */
	struct ctl_req *req; /* the one being answered; NULL: reads the next */
	unsigned uid;        /* of the peer */
	bool read, admin, fellow; /* what the peer may do */
	bool last;           /* closes when out is sent */
	bool eof;            /* the peer will ask no more */
};

struct ctl_req {
	struct tf_node node;   /* in ctl->reqs */
	struct ctl_conn *conn; /* NULL: the client has left */
	struct ctl *ctl;       /* NULL: the server is closed */
	const struct ctl_cmd *cmd;
	struct json_object *args;
	struct tf_span value[CTL_ARGS_MAX]; /* strings, by position in cmd->args */
	uint64_t given;                     /* bit per position */
	unsigned uid;                       /* of who asks */
	struct js_w w;
	struct tf_buf row;
	uint64_t rows;
	bool overflow;
	bool builtin;
	bool noted;            /* its act is in the trail, or on its way there */
};

/* conn.c, for request.c: the answer's bytes, and the end of the request. */
void ctl_conn_put(struct ctl_conn *c, struct tf_span line);
void ctl_conn_answered(struct ctl_conn *c);
size_t ctl_conn_waiting(const struct ctl_conn *c); /* bytes not sent yet */

/* request.c: a whole line; answers, or leaves conn->req set. */
void ctl_dispatch(struct ctl_conn *c, struct tf_span line);
/* The server goes: requests stay with their commands. */
void ctl_reqs_leave(struct ctl *ctl);
/* Frees what nobody needs when the connection goes: the request stays with its command. */
void ctl_req_orphan(struct ctl_req *req);

/* act.c: a command ended well. True: it was an act, and ctl_recorded ends the request. */
bool ctl_act(struct ctl_req *req);

/* tell.c. TF_E_NOMEM, TF_E_RANGE. */
int ctl_tell_open(struct ctl_tell *t, struct ev_loop *loop, const char *run_dir);
/* What was not told is logged. */
void ctl_tell_close(struct ctl_tell *t);
/* Ends the request when billingd has answered, or cannot be asked now. */
void ctl_tell(struct ctl_tell *t, struct ctl_req *req, const struct ctl_act *a);

/* builtin.c: the commands of every daemon. Their arg is struct ctl. */
extern const struct ctl_cmd ctl_builtin[];
extern const size_t ctl_nbuiltin;

#endif
