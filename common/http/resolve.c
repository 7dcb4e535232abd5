/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names to addresses without blocking a loop: getaddrinfo(3), so that /etc/hosts and nsswitch
 * count, in a few threads of the process that end when they have nothing to do. The answer is
 * posted to the loop that asked.
 */
#include "config.h"

#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "common/event/event.h"
#include "common/http/http.h"
#include "common/http/http_int.h"

#define THREADS_MAX	4	/* a name server that does not answer holds one for a while */

struct http_resolve {
	struct tf_node		 node;		/* in queue */
	struct ev_loop		*loop;
	void			(*cb)(void *arg, const struct http_addrs *addrs, const char *why);
	void			*arg;
	char			*host, *port;
	struct http_addrs	 addrs;
	const char		*why;
	bool			 cancelled;	/* guarded by lock, or: posted, then loop only */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct tf_list queue = { { &queue.head, &queue.head }, 0 };
static unsigned threads;

static void
job_free(struct http_resolve *j)
{
	free(j->host);
	free(j->port);
	free(j);
}

static int
look_up(const char *host, const char *port, int flags, struct http_addrs *out)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = flags }, *list, *ai;
	int rc = getaddrinfo(host, port, &hints, &list);

	out->n = 0;
	if (rc != 0)
		return rc;
	for (ai = list; ai != NULL && out->n < HTTP_ADDRS_MAX; ai = ai->ai_next) {
		if (ai->ai_addrlen > sizeof(out->at[0].sa))
			continue;
		memcpy(&out->at[out->n].sa, ai->ai_addr, ai->ai_addrlen);
		out->at[out->n++].len = ai->ai_addrlen;
	}
	freeaddrinfo(list);
	return out->n > 0 ? 0 : EAI_NONAME;
}

int
http_resolve_numeric(const char *host, const char *port, struct http_addrs *addrs)
{
	return look_up(host, port, AI_NUMERICHOST | AI_NUMERICSERV, addrs) == 0 ? 0 : TF_E_INVAL;
}

/* In the loop's thread. */
static void
deliver(void *arg)
{
	struct http_resolve *j = arg;
	bool cancelled;

	pthread_mutex_lock(&lock);
	cancelled = j->cancelled;
	pthread_mutex_unlock(&lock);
	if (!cancelled)
		j->cb(j->arg, &j->addrs, j->why);
	job_free(j);
}

static void *
worker(void *arg)
{
	struct tf_node *e;

	(void)arg;
	pthread_mutex_lock(&lock);
	while ((e = tf_list_pop(&queue)) != NULL) {
		struct http_resolve *j = TF_CONTAINER(e, struct http_resolve, node);
		int rc;

		pthread_mutex_unlock(&lock);
		rc = look_up(j->host, j->port, AI_NUMERICSERV, &j->addrs);
		j->why = rc != 0 ? gai_strerror(rc) : NULL;
		/* Under the lock, for who cancels may free the loop next. */
		pthread_mutex_lock(&lock);
		if (j->cancelled || ev_post(j->loop, deliver, j) < 0)
			job_free(j);
	}
	threads--;
	pthread_mutex_unlock(&lock);
	return NULL;
}

/* With the lock held. Signals are for the loops. */
static int
start_thread(void)
{
	sigset_t all, old;
	pthread_attr_t attr;
	pthread_t t;
	int rc;

	if (threads >= THREADS_MAX)	/* those there are may be busy */
		return 0;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, 256 * 1024);
	rc = pthread_create(&t, &attr, worker, NULL);
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc == 0)
		threads++;
	return threads > 0 ? 0 : TF_E_IO;
}

struct http_resolve *
http_resolve_start(struct ev_loop *loop, const char *host, const char *port,
    void (*cb)(void *arg, const struct http_addrs *addrs, const char *why), void *arg)
{
	struct http_resolve *j = calloc(1, sizeof(*j));
	int rc;

	if (j == NULL)
		return NULL;
	j->loop = loop;
	j->cb = cb;
	j->arg = arg;
	j->host = strdup(host);
	j->port = strdup(port);
	if (j->host == NULL || j->port == NULL) {
		job_free(j);
		return NULL;
	}
	pthread_mutex_lock(&lock);
	tf_list_append(&queue, &j->node);
	rc = start_thread();
	if (rc < 0)
		tf_list_remove(&queue, &j->node);
	pthread_mutex_unlock(&lock);
	if (rc < 0) {
		job_free(j);
		return NULL;
	}
	return j;
}

void
http_resolve_cancel(struct http_resolve **jp)
{
	struct http_resolve *j = *jp;

	*jp = NULL;
	if (j == NULL)
		return;
	pthread_mutex_lock(&lock);
	j->cancelled = true;
	if (tf_node_linked(&j->node)) {
		tf_list_remove(&queue, &j->node);
		job_free(j);
	}
	pthread_mutex_unlock(&lock);
}
