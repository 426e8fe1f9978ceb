/* The driver as a whole, and how its GPUs are found. */
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "session.h"

nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned int size) {
    char value[VALUE_SIZE];

    ENTER_DRIVER();
    return read_value(value, "driver/version") ? give_text(value, version, size) : NVML_ERROR_UNKNOWN;
}

/* Unlike other functions, this one works without the driver. */
nvmlReturn_t nvmlSystemGetNVMLVersion(char *version, unsigned int size) {
    char driver[VALUE_SIZE], cuda[VALUE_SIZE], value[VALUE_SIZE * 2];
    nvmlReturn_t failure;

    locate_state();
    failure = failure_of(NULL, __func__);
    if (failure != NVML_SUCCESS)
        return failure;
    if (!read_value(driver, "driver/version") || !read_value(cuda, "driver/cuda"))
        return NVML_ERROR_UNKNOWN;
    snprintf(value, sizeof value, "%d.%s", atoi(cuda), driver);
    return give_text(value, version, size);
}

nvmlReturn_t nvmlSystemGetCudaDriverVersion_v2(int *version) {
    char value[VALUE_SIZE];
    int major = 0, minor = 0;

    ENTER_DRIVER();
    if (!read_value(value, "driver/cuda"))
        return NVML_ERROR_UNKNOWN;
    sscanf(value, "%d.%d", &major, &minor);
    *version = major * 1000 + minor * 10;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlSystemGetCudaDriverVersion(int *version) {
    return nvmlSystemGetCudaDriverVersion_v2(version);
}

nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int *count) {
    ENTER_DRIVER();
    for (*count = 0; device_with_index(*count);)
        ++*count;
    return NVML_SUCCESS;
}

/* A GPU that is lost does not even give its handle. */
static nvmlReturn_t give_handle(const char *function, nvmlDevice_t found, nvmlReturn_t otherwise,
                                nvmlDevice_t *device) {
    nvmlReturn_t result = found ? may_enter(function, found) : otherwise;

    if (result == NVML_SUCCESS)
        *device = found;
    return result;
}

nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *device) {
    ENTER_DRIVER();
    return give_handle(__func__, device_with_index(index), NVML_ERROR_INVALID_ARGUMENT, device);
}

static nvmlDevice_t device_with(const char *name, const char *wanted, bool (*is_same)(const char *, const char *)) {
    char value[VALUE_SIZE];
    nvmlDevice_t device;

    for (unsigned int index = 0; (device = device_with_index(index)); index++)
        if (attribute(device, name, value) == NVML_SUCCESS && is_same(wanted, value))
            return device;
    return NULL;
}

static bool is_same_text(const char *one, const char *other) {
    return strcasecmp(one, other) == 0;
}

/* 0000:0a:00.0 is 00000000:0A:00.0. */
static bool is_same_address(const char *one, const char *other) {
    unsigned int a[3] = {0}, b[3] = {0};

    return sscanf(one, "%x:%x:%x", &a[0], &a[1], &a[2]) == 3 && sscanf(other, "%x:%x:%x", &b[0], &b[1], &b[2]) == 3 &&
           a[0] == b[0] && a[1] == b[1] && a[2] == b[2];
}

nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *device) {
    ENTER_DRIVER();
    return give_handle(__func__, device_with("uuid", uuid, is_same_text), NVML_ERROR_NOT_FOUND, device);
}

nvmlReturn_t nvmlDeviceGetHandleByPciBusId_v2(const char *address, nvmlDevice_t *device) {
    ENTER_DRIVER();
    return give_handle(__func__, device_with("pci_address", address, is_same_address), NVML_ERROR_NOT_FOUND, device);
}
