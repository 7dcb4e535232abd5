/* SPDX-License-Identifier: Apache-2.0 */
/* Connections of the control server, for server.c. */
#ifndef TF_CTL_CONN_H
#define TF_CTL_CONN_H

#include "common/ctl/inside.h"

/* Takes fd on 0. TF_E_NOMEM, TF_E_IO. */
int ctl_conn_new(struct ctl *ctl, int fd);
/* Closes it now; its memory goes at the end of the turn, its request stays with its command. */
void ctl_conn_close(struct ctl_conn *c);

#endif
