#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "names.h"
#include "session.h"

/* Settings need root; unit tests may do without. */
static bool may_set(void) {
    return geteuid() == 0 || getenv("SIMGPU_ANY_USER");
}

static nvmlReturn_t begin_setting(const char *function, nvmlDevice_t device) {
    nvmlReturn_t result = may_enter(function, device);

    return result == NVML_SUCCESS && !may_set() ? NVML_ERROR_NO_PERMISSION : result;
}

#define ENTER_TO_SET(device) ENTER_AS(begin_setting(__func__, device))

/* Success, although nothing was set, where a test wants that. */
static nvmlReturn_t set(const char *function, nvmlDevice_t device, const char *name, const char *value) {
    if (is_ignored(device, function))
        return NVML_SUCCESS;
    if (!value)
        remove_value("live/%d/%s", device->slot, name);
    else if (!write_value(value, "live/%d/%s", device->slot, name))
        return NVML_ERROR_UNKNOWN;
    return NVML_SUCCESS;
}

static nvmlReturn_t set_number(const char *function, nvmlDevice_t device, const char *name, unsigned int number) {
    char value[16];

    snprintf(value, sizeof value, "%u", number);
    return set(function, device, name, value);
}

static nvmlReturn_t set_range(const char *function, nvmlDevice_t device, const char *name, unsigned int minimum,
                              unsigned int maximum) {
    char value[32];

    if (minimum > maximum)
        return NVML_ERROR_INVALID_ARGUMENT;
    snprintf(value, sizeof value, "%u %u", minimum, maximum);
    return set(function, device, name, value);
}

static bool is_at_least(nvmlDevice_t device, int wanted) {
    char architecture[VALUE_SIZE];

    return attribute(device, "architecture", architecture) == NVML_SUCCESS &&
           number_of(architecture, ARCHITECTURES) >= wanted;
}

nvmlReturn_t nvmlDeviceSetPersistenceMode(nvmlDevice_t device, unsigned int mode) {
    ENTER_TO_SET(device);
    return mode <= 1 ? set_number(__func__, device, "persistence_mode", mode) : NVML_ERROR_INVALID_ARGUMENT;
}

nvmlReturn_t nvmlDeviceSetComputeMode(nvmlDevice_t device, unsigned int mode) {
    ENTER_TO_SET(device);
    if (mode >= NVML_COMPUTEMODE_COUNT)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (mode == NVML_COMPUTEMODE_EXCLUSIVE_THREAD)
        return NVML_ERROR_NOT_SUPPORTED;
    return set_number(__func__, device, "compute_mode", mode);
}

nvmlReturn_t nvmlDeviceSetPowerManagementLimit(nvmlDevice_t device, unsigned int milliwatts) {
    unsigned long long minimum, maximum;

    ENTER_TO_SET(device);
    if (numeric_attribute(device, "power_limit_min", &minimum) != NVML_SUCCESS ||
        numeric_attribute(device, "power_limit_max", &maximum) != NVML_SUCCESS)
        return NVML_ERROR_NOT_SUPPORTED;
    if (milliwatts < minimum || milliwatts > maximum)
        return NVML_ERROR_INVALID_ARGUMENT;
    return set_number(__func__, device, "power_limit", milliwatts);
}

nvmlReturn_t nvmlDeviceSetGpuLockedClocks(nvmlDevice_t device, unsigned int minimum, unsigned int maximum) {
    ENTER_TO_SET(device);
    if (!is_at_least(device, NVML_DEVICE_ARCH_VOLTA))
        return NVML_ERROR_NOT_SUPPORTED;
    return set_range(__func__, device, "locked_graphics_clocks", minimum, maximum);
}

nvmlReturn_t nvmlDeviceResetGpuLockedClocks(nvmlDevice_t device) {
    ENTER_TO_SET(device);
    if (!is_at_least(device, NVML_DEVICE_ARCH_VOLTA))
        return NVML_ERROR_NOT_SUPPORTED;
    return set(__func__, device, "locked_graphics_clocks", NULL);
}

nvmlReturn_t nvmlDeviceSetMemoryLockedClocks(nvmlDevice_t device, unsigned int minimum, unsigned int maximum) {
    ENTER_TO_SET(device);
    if (!is_at_least(device, NVML_DEVICE_ARCH_AMPERE))
        return NVML_ERROR_NOT_SUPPORTED;
    return set_range(__func__, device, "locked_memory_clocks", minimum, maximum);
}

nvmlReturn_t nvmlDeviceResetMemoryLockedClocks(nvmlDevice_t device) {
    ENTER_TO_SET(device);
    if (!is_at_least(device, NVML_DEVICE_ARCH_AMPERE))
        return NVML_ERROR_NOT_SUPPORTED;
    return set(__func__, device, "locked_memory_clocks", NULL);
}
