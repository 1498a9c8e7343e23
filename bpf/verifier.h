/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* verifier.h tells the verifier what it cannot see, and hides from it what it need not follow. */
#ifndef SPILLWAY_VERIFIER_H
#define SPILLWAY_VERIFIER_H

/* bounded keeps a value in one register, so that the check and the use that follow are of the same one: clang would load the
 * field again, and the verifier has then not seen a check. */
#define bounded(x) asm volatile("" : "+r"(x))

/* reload reads a value from memory once more. To the verifier that is a new number: it forgets what it knew of the old one,
 * and states that differed only in that become one. */
#define reload(x) (*(volatile typeof(x) *)&(x))

#endif
