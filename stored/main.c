/* SPDX-License-Identifier: Apache-2.0 */
/* The program: see daemon.c. */
#include "config.h"

#include "stored/stored.h"

int
main(int argc, char **argv)
{
	return st_main(argc, argv);
}
