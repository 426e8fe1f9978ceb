/* The state of the simulated driver: a folder with a file per value (README.md has its layout). */
#ifndef STATE_H
#define STATE_H

#include <stdbool.h>
#include <stddef.h>

#include "nvml.h"

enum { SLOTS = 8, VALUE_SIZE = 4096 };

struct nvmlDevice_st {
    int slot;
};

/* Finds the folder, $SIMGPU or /var/lib/simgpu. */
void locate_state(void);

/* Values, by their path in the folder. What is read has no newline at its end; what is missing cannot be read. */
__attribute__((format(printf, 2, 3))) bool read_value(char value[VALUE_SIZE], const char *path, ...);
__attribute__((format(printf, 2, 3))) bool write_value(const char *value, const char *path, ...);
__attribute__((format(printf, 1, 2))) bool value_exists(const char *path, ...);
__attribute__((format(printf, 1, 2))) void remove_value(const char *path, ...);
__attribute__((format(printf, 1, 2))) int open_lock(const char *path, ...);

/* The GPU in a slot, the n-th of those that are there, and its n; NULL or -1 if there is none. */
nvmlDevice_t device_in_slot(int slot);
nvmlDevice_t device_with_index(unsigned int index);
int index_of(nvmlDevice_t device);

/* An attribute of a GPU: first what is volatile, then the hardware. NOT_SUPPORTED if it does not tell. */
nvmlReturn_t attribute(nvmlDevice_t device, const char *name, char value[VALUE_SIZE]);
nvmlReturn_t numeric_attribute(nvmlDevice_t device, const char *name, unsigned long long *number);

/* What a GPU, or with NULL the driver, is told to do when a function is called: fail, hang, or nothing. */
nvmlReturn_t failure_of(nvmlDevice_t device, const char *function);
bool is_ignored(nvmlDevice_t device, const char *function);

#endif
