/* What numbers are called: in the state folder, and by nvidia-smi. */
#ifndef NAMES_H
#define NAMES_H

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

/* Lists of names, by number; a number without a name is NULL. They end with the one that is called "". */
extern const char *const ARCHITECTURES[];
extern const char *const BRANDS[];
extern const char *const COMPUTE_MODES[];
extern const char *const P2P_STATUSES[];

/* The name of a number, or "Unknown"; the number of a name, or -1. */
const char *name_of(unsigned int number, const char *const names[]);
int number_of(const char *name, const char *const names[]);

#endif
