/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of common/event share. */
#ifndef TF_EVENT_INSIDE_H
#define TF_EVENT_INSIDE_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <pthread.h>

#include "common/event/event.h"

struct ev_loop {
	struct event_base *base;
	bool stop;
	struct tf_list turns;   /* armed ev_turn */
	struct tf_list frees;   /* ev_later */
	struct tf_list children; /* ev_child */
	struct event chld;
	bool chld_on;
	pthread_mutex_t lock;   /* of posts */
	struct tf_list posts;
	int postfd;
	struct event post;
};

/* Looks for ended children at the end of this turn. */
void ev_children_close(struct ev_loop *loop);

/* lock.c. The lock beside a socket path: TF_E_EXIST when another holds it. Returns the descriptor in *fd. */
int ev_lock_take(const char *path, int *fd);
void ev_lock_drop(const char *path, int fd);
/* Listens on a path whose lock is ours, 0660; replaces the file there. TF_E_RANGE when it is too long, TF_E_IO. */
int ev_path_listen(const char *path, int *fd);

#endif
