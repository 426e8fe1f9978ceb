#include "session.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static unsigned int sessions; /* nvmlInit may be called several times, and nvmlShutdown as often */
static pid_t owner;           /* a child that was forked shares its parent's session, and must not end it */
static int clients = -1;      /* a shared lock on live/clients, held by every process that uses the driver */

/* Without persistence mode, the driver deinitialises a GPU that nobody uses any more, and with it these settings. */
static void forget_settings(void) {
    static const char *const forgotten[] = {"power_limit", "locked_graphics_clocks", "locked_memory_clocks"};

    for (int slot = 0; slot < SLOTS; slot++) {
        nvmlDevice_t device = device_in_slot(slot);
        unsigned long long persistent = 0;

        if (!device || (numeric_attribute(device, "persistence_mode", &persistent) == NVML_SUCCESS && persistent))
            continue;
        for (size_t i = 0; i < sizeof forgotten / sizeof *forgotten; i++)
            remove_value("live/%d/%s", slot, forgotten[i]);
    }
}

static void join_clients(void) {
    owner = getpid();
    clients = open_lock("live/clients");
    if (clients >= 0)
        flock(clients, LOCK_SH);
}

static void leave_clients(void) {
    if (clients < 0)
        return;
    if (flock(clients, LOCK_EX | LOCK_NB) == 0)
        forget_settings();
    close(clients);
    clients = -1;
}

static nvmlReturn_t begin_session(const char *function) {
    char library[VALUE_SIZE], module[VALUE_SIZE];
    nvmlReturn_t failure;

    locate_state();
    failure = failure_of(NULL, function);
    if (failure != NVML_SUCCESS)
        return failure;
    if (!value_exists("driver/loaded"))
        return NVML_ERROR_DRIVER_NOT_LOADED;
    if (read_value(library, "driver/version") && read_value(module, "driver/module_version") &&
        strcmp(library, module) != 0)
        return NVML_ERROR_LIB_RM_VERSION_MISMATCH;

    pthread_mutex_lock(&mutex);
    if (sessions++ == 0)
        join_clients();
    pthread_mutex_unlock(&mutex);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlInitWithFlags(unsigned int flags) {
    (void)flags;
    return begin_session(__func__);
}

nvmlReturn_t nvmlInit_v2(void) {
    return begin_session(__func__);
}

nvmlReturn_t nvmlShutdown(void) {
    nvmlReturn_t result = NVML_SUCCESS;

    pthread_mutex_lock(&mutex);
    if (sessions == 0)
        result = NVML_ERROR_UNINITIALIZED;
    else if (--sessions == 0)
        leave_clients();
    pthread_mutex_unlock(&mutex);
    return result;
}

__attribute__((destructor)) static void end_with_the_process(void) {
    if (sessions > 0 && owner == getpid())
        leave_clients();
}

nvmlReturn_t may_enter_driver(const char *function) {
    return sessions ? failure_of(NULL, function) : NVML_ERROR_UNINITIALIZED;
}

nvmlReturn_t may_enter(const char *function, nvmlDevice_t device) {
    if (sessions == 0)
        return NVML_ERROR_UNINITIALIZED;
    if (!device || device != device_in_slot(device->slot))
        return NVML_ERROR_INVALID_ARGUMENT;
    return failure_of(device, function);
}

nvmlReturn_t give_text(const char *text, char *buffer, unsigned int size) {
    if (!buffer)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (strlen(text) >= size)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    strcpy(buffer, text);
    return NVML_SUCCESS;
}
