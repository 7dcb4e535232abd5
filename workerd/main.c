/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "common/daemon/daemon.h"
#include "workerd/workerd.h"

int
main(int argc, char **argv)
{
	return dmn_run(&workerd, argc, argv);
}
