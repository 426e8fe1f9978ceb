#include "state.h"

#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[PATH_MAX / 4] = "/var/lib/simgpu";
static struct nvmlDevice_st devices[SLOTS] = {{0}, {1}, {2}, {3}, {4}, {5}, {6}, {7}};

void locate_state(void) {
    const char *folder = getenv("SIMGPU");

    snprintf(root, sizeof root, "%s", folder && *folder ? folder : "/var/lib/simgpu");
}

static void put_path(char full[PATH_MAX], const char *path, va_list arguments) {
    int length = snprintf(full, PATH_MAX, "%s/", root);

    vsnprintf(full + length, PATH_MAX - (size_t)length, path, arguments);
}

/* Declares `full`, the whole path, made of `path` and the arguments after it. */
#define FULL_PATH(full, path)            \
    char full[PATH_MAX];                 \
    do {                                 \
        va_list arguments;               \
        va_start(arguments, path);       \
        put_path(full, path, arguments); \
        va_end(arguments);               \
    } while (0)

bool read_value(char value[VALUE_SIZE], const char *path, ...) {
    FULL_PATH(full, path);
    int file = open(full, O_RDONLY | O_CLOEXEC);
    ssize_t length;

    if (file < 0)
        return false;
    length = read(file, value, VALUE_SIZE - 1);
    close(file);
    if (length < 0)
        return false;
    while (length > 0 && value[length - 1] == '\n')
        length--;
    value[length] = '\0';
    return true;
}

bool value_exists(const char *path, ...) {
    FULL_PATH(full, path);
    return access(full, F_OK) == 0;
}

void remove_value(const char *path, ...) {
    FULL_PATH(full, path);
    unlink(full);
}

/* Every user may leave values: what a driver does in the kernel, whoever asks, is done here by the process itself. */
static void make_folder(const char *path) {
    char target[PATH_MAX];
    ssize_t length = readlink(path, target, sizeof target - 1);

    if (length > 0) {
        target[length] = '\0';
        path = target;
    }
    if (mkdir(path, 0777) == 0)
        chmod(path, 0777);
}

static void make_folders_of(const char *file) {
    char folder[PATH_MAX];

    snprintf(folder, sizeof folder, "%s", file);
    for (char *slash = folder + strlen(root); (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        make_folder(folder);
        *slash = '/';
    }
}

bool write_value(const char *value, const char *path, ...) {
    FULL_PATH(full, path);
    char temporary[PATH_MAX + 16];
    int file;
    bool written;

    make_folders_of(full);
    snprintf(temporary, sizeof temporary, "%s.%d", full, (int)getpid());
    file = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (file < 0)
        return false;
    written = dprintf(file, "%s\n", value) > 0 && fchmod(file, 0644) == 0;
    close(file);
    if (written && rename(temporary, full) == 0)
        return true;
    unlink(temporary);
    return false;
}

int open_lock(const char *path, ...) {
    FULL_PATH(full, path);
    int file = open(full, O_RDONLY | O_CLOEXEC);

    if (file >= 0)
        return file;
    make_folders_of(full);
    return open(full, O_RDONLY | O_CREAT | O_CLOEXEC, 0644);
}

nvmlDevice_t device_in_slot(int slot) {
    return slot >= 0 && slot < SLOTS && value_exists("gpus/%d/name", slot) ? &devices[slot] : NULL;
}

nvmlDevice_t device_with_index(unsigned int index) {
    for (int slot = 0; slot < SLOTS; slot++)
        if (device_in_slot(slot) && index-- == 0)
            return &devices[slot];
    return NULL;
}

int index_of(nvmlDevice_t device) {
    int index = 0;

    for (int slot = 0; slot < device->slot; slot++)
        index += device_in_slot(slot) != NULL;
    return index;
}

nvmlReturn_t attribute(nvmlDevice_t device, const char *name, char value[VALUE_SIZE]) {
    if (read_value(value, "live/%d/%s", device->slot, name) || read_value(value, "gpus/%d/%s", device->slot, name))
        return NVML_SUCCESS;
    return NVML_ERROR_NOT_SUPPORTED;
}

nvmlReturn_t numeric_attribute(nvmlDevice_t device, const char *name, unsigned long long *number) {
    char value[VALUE_SIZE];
    nvmlReturn_t result = attribute(device, name, value);

    if (result == NVML_SUCCESS)
        *number = strtoull(value, NULL, 0);
    return result;
}

static bool instruction(nvmlDevice_t device, const char *function, char value[VALUE_SIZE]) {
    char whose[16] = "driver";

    if (device)
        snprintf(whose, sizeof whose, "%d", device->slot);
    return read_value(value, "failures/%s/%s", whose, function) || read_value(value, "failures/%s/all", whose);
}

nvmlReturn_t failure_of(nvmlDevice_t device, const char *function) {
    char value[VALUE_SIZE];

    if (!instruction(device, function, value))
        return NVML_SUCCESS;
    while (strcmp(value, "hang") == 0)
        pause();
    return (nvmlReturn_t)atoi(value); /* 0, success, for "ignored" */
}

bool is_ignored(nvmlDevice_t device, const char *function) {
    char value[VALUE_SIZE];

    return instruction(device, function, value) && strcmp(value, "ignored") == 0;
}
