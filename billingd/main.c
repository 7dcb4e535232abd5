/* SPDX-License-Identifier: Apache-2.0 */
/* The program: see daemon.c. */
#include "config.h"

#include "billingd/billingd.h"

int
main(int argc, char **argv)
{
	return bl_main(argc, argv);
}
