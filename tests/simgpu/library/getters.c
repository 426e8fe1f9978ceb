#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "names.h"
#include "session.h"

static nvmlReturn_t give_number(nvmlDevice_t device, const char *const *names, unsigned int *value) {
    unsigned long long number = 0;
    nvmlReturn_t result;

    if (!value)
        return NVML_ERROR_INVALID_ARGUMENT;
    do
        result = numeric_attribute(device, *names, &number);
    while (result != NVML_SUCCESS && *++names);
    if (result == NVML_SUCCESS)
        *value = (unsigned int)number;
    return result;
}

#define GIVE_NUMBER(device, value, ...) give_number(device, (const char *const[]){__VA_ARGS__, NULL}, value)

static nvmlReturn_t give_pair(nvmlDevice_t device, const char *const names[2], unsigned int *first,
                              unsigned int *second) {
    nvmlReturn_t result = GIVE_NUMBER(device, first, names[0]);

    return result == NVML_SUCCESS ? GIVE_NUMBER(device, second, names[1]) : result;
}

static nvmlReturn_t give_named(nvmlDevice_t device, const char *name, const char *const names[], unsigned int *value) {
    char text[VALUE_SIZE];
    nvmlReturn_t result = attribute(device, name, text);

    if (result == NVML_SUCCESS)
        *value = (unsigned int)number_of(text, names);
    return result;
}

static nvmlReturn_t give_attribute(nvmlDevice_t device, const char *name, char *buffer, unsigned int size) {
    char text[VALUE_SIZE];
    nvmlReturn_t result = attribute(device, name, text);

    return result == NVML_SUCCESS ? give_text(text, buffer, size) : result;
}

#define NUMBER(function, ...)                                            \
    nvmlReturn_t function(nvmlDevice_t device, unsigned int *value) {    \
        ENTER(device);                                                   \
        return GIVE_NUMBER(device, value, __VA_ARGS__);                  \
    }
#define PAIR(function, ...)                                                                  \
    nvmlReturn_t function(nvmlDevice_t device, unsigned int *first, unsigned int *second) {  \
        ENTER(device);                                                                       \
        return give_pair(device, (const char *const[]){__VA_ARGS__}, first, second);         \
    }
#define TEXT(function, name)                                                      \
    nvmlReturn_t function(nvmlDevice_t device, char *text, unsigned int size) {   \
        ENTER(device);                                                            \
        return give_attribute(device, name, text, size);                          \
    }
#define NAMED(function, name, names)                                     \
    nvmlReturn_t function(nvmlDevice_t device, unsigned int *value) {    \
        ENTER(device);                                                   \
        return give_named(device, name, names, value);                   \
    }
#define FLAGS(function, name)                                                  \
    nvmlReturn_t function(nvmlDevice_t device, unsigned long long *flags) {    \
        ENTER(device);                                                         \
        return numeric_attribute(device, name, flags);                         \
    }
#include "getters.def"

nvmlReturn_t nvmlDeviceGetIndex(nvmlDevice_t device, unsigned int *index) {
    ENTER(device);
    *index = (unsigned int)index_of(device);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t device, nvmlPciInfo_t *pci) {
    char address[VALUE_SIZE], ids[VALUE_SIZE];
    nvmlReturn_t result;

    ENTER(device);
    result = attribute(device, "pci_address", address);
    if (result != NVML_SUCCESS)
        return result;
    memset(pci, 0, sizeof *pci);
    sscanf(address, "%x:%x:%x", &pci->domain, &pci->bus, &pci->device);
    snprintf(pci->busId, sizeof pci->busId, "%08X:%02X:%02X.0", pci->domain, pci->bus & 0xff, pci->device & 0xff);
    snprintf(pci->busIdLegacy, sizeof pci->busIdLegacy, "%04X:%02X:%02X.0", pci->domain & 0xffff, pci->bus & 0xff,
             pci->device & 0xff);
    if (attribute(device, "pci_ids", ids) == NVML_SUCCESS)
        sscanf(ids, "%x %x", &pci->pciDeviceId, &pci->pciSubSystemId);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetCudaComputeCapability(nvmlDevice_t device, int *major, int *minor) {
    char capability[VALUE_SIZE];
    nvmlReturn_t result;

    ENTER(device);
    result = attribute(device, "compute_capability", capability);
    if (result == NVML_SUCCESS)
        sscanf(capability, "%d.%d", major, minor);
    return result;
}

/* Memory is told in bytes, and kept in MiB. */
static nvmlReturn_t give_memory(nvmlDevice_t device, const char *name, unsigned long long *bytes) {
    nvmlReturn_t result = numeric_attribute(device, name, bytes);

    *bytes = result == NVML_SUCCESS ? *bytes << 20 : 0;
    return result;
}

static nvmlReturn_t give_all_memory(nvmlDevice_t device, nvmlMemory_v2_t *memory) {
    give_memory(device, "memory_reserved", &memory->reserved);
    give_memory(device, "memory_used", &memory->used);
    if (give_memory(device, "memory_total", &memory->total) != NVML_SUCCESS)
        return NVML_ERROR_NOT_SUPPORTED;
    memory->free = memory->total - memory->reserved - memory->used;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, nvmlMemory_v2_t *memory) {
    ENTER(device);
    if (memory->version != NVML_MEMORY_V2)
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    return give_all_memory(device, memory);
}

nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *memory) {
    nvmlMemory_v2_t all;
    nvmlReturn_t result;

    ENTER(device);
    result = give_all_memory(device, &all);
    if (result == NVML_SUCCESS)
        *memory = (nvmlMemory_t){.total = all.total, .free = all.free, .used = all.total - all.free};
    return result;
}

nvmlReturn_t nvmlDeviceGetBAR1MemoryInfo(nvmlDevice_t device, nvmlBAR1Memory_t *memory) {
    ENTER(device);
    give_memory(device, "bar1_used", &memory->bar1Used);
    if (give_memory(device, "bar1_total", &memory->bar1Total) != NVML_SUCCESS)
        return NVML_ERROR_NOT_SUPPORTED;
    memory->bar1Free = memory->bar1Total - memory->bar1Used;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *utilization) {
    static const char *const names[] = {"utilization_gpu", "utilization_memory"};

    ENTER(device);
    return give_pair(device, names, &utilization->gpu, &utilization->memory);
}

nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t device, unsigned int sensor, unsigned int *temperature) {
    ENTER(device);
    if (sensor != NVML_TEMPERATURE_GPU)
        return NVML_ERROR_INVALID_ARGUMENT;
    return GIVE_NUMBER(device, temperature, "temperature");
}

nvmlReturn_t nvmlDeviceGetTemperatureV(nvmlDevice_t device, nvmlTemperature_t *temperature) {
    ENTER(device);
    if (temperature->version != NVML_TEMPERATURE_V1)
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    if (temperature->sensorType != NVML_TEMPERATURE_GPU)
        return NVML_ERROR_INVALID_ARGUMENT;
    return GIVE_NUMBER(device, (unsigned int *)&temperature->temperature, "temperature");
}

nvmlReturn_t nvmlDeviceGetMarginTemperature(nvmlDevice_t device, nvmlMarginTemperature_t *margin) {
    ENTER(device);
    if (margin->version != NVML_MARGIN_TEMPERATURE_V1)
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    return GIVE_NUMBER(device, (unsigned int *)&margin->marginTemperature, "temperature_margin");
}

nvmlReturn_t nvmlDeviceGetTemperatureThreshold(nvmlDevice_t device, nvmlTemperatureThresholds_t threshold,
                                               unsigned int *temperature) {
    static const char *const names[NVML_TEMPERATURE_THRESHOLD_COUNT] = {
        [NVML_TEMPERATURE_THRESHOLD_SHUTDOWN] = "temperature_shutdown",
        [NVML_TEMPERATURE_THRESHOLD_SLOWDOWN] = "temperature_slowdown",
        [NVML_TEMPERATURE_THRESHOLD_MEM_MAX] = "temperature_memory_max",
        [NVML_TEMPERATURE_THRESHOLD_GPU_MAX] = "temperature_gpu_max",
        [NVML_TEMPERATURE_THRESHOLD_ACOUSTIC_MIN] = "temperature_target_min",
        [NVML_TEMPERATURE_THRESHOLD_ACOUSTIC_CURR] = "temperature_target",
        [NVML_TEMPERATURE_THRESHOLD_ACOUSTIC_MAX] = "temperature_target_max",
    };

    ENTER(device);
    if (threshold >= NVML_TEMPERATURE_THRESHOLD_COUNT)
        return NVML_ERROR_INVALID_ARGUMENT;
    return GIVE_NUMBER(device, temperature, names[threshold]);
}

nvmlReturn_t nvmlDeviceGetFanSpeed_v2(nvmlDevice_t device, unsigned int fan, unsigned int *speed) {
    unsigned int fans = 0;

    ENTER(device);
    if (GIVE_NUMBER(device, &fans, "fans") != NVML_SUCCESS || fans == 0)
        return NVML_ERROR_NOT_SUPPORTED;
    return fan < fans ? GIVE_NUMBER(device, speed, "fan_speed") : NVML_ERROR_INVALID_ARGUMENT;
}

static void give_field(nvmlDevice_t device, nvmlFieldValue_t *field) {
    static const struct {
        unsigned int id, type;
        const char *names[4];
    } fields[] = {
        {NVML_FI_DEV_MEMORY_TEMP, NVML_VALUE_TYPE_UNSIGNED_INT, {"temperature_memory"}},
        {NVML_FI_DEV_PCIE_REPLAY_COUNTER, NVML_VALUE_TYPE_UNSIGNED_INT, {"pcie_replay_counter"}},
        {NVML_FI_DEV_POWER_AVERAGE, NVML_VALUE_TYPE_UNSIGNED_INT, {"power_draw_average", "power_draw"}},
        {NVML_FI_DEV_POWER_INSTANT, NVML_VALUE_TYPE_UNSIGNED_INT, {"power_draw"}},
        {NVML_FI_DEV_POWER_MIN_LIMIT, NVML_VALUE_TYPE_UNSIGNED_INT, {"power_limit_min"}},
        {NVML_FI_DEV_POWER_MAX_LIMIT, NVML_VALUE_TYPE_UNSIGNED_INT, {"power_limit_max"}},
        {NVML_FI_DEV_POWER_DEFAULT_LIMIT, NVML_VALUE_TYPE_UNSIGNED_INT, {"power_limit_default"}},
        {NVML_FI_DEV_POWER_CURRENT_LIMIT,
         NVML_VALUE_TYPE_UNSIGNED_INT,
         {"power_limit_enforced", "power_limit", "power_limit_default"}},
        {NVML_FI_DEV_POWER_REQUESTED_LIMIT, NVML_VALUE_TYPE_UNSIGNED_INT, {"power_limit", "power_limit_default"}},
        {NVML_FI_DEV_TEMPERATURE_SHUTDOWN_TLIMIT, NVML_VALUE_TYPE_SIGNED_INT, {"temperature_margin_shutdown"}},
        {NVML_FI_DEV_TEMPERATURE_SLOWDOWN_TLIMIT, NVML_VALUE_TYPE_SIGNED_INT, {"temperature_margin_slowdown"}},
        {NVML_FI_DEV_TEMPERATURE_MEM_MAX_TLIMIT, NVML_VALUE_TYPE_SIGNED_INT, {"temperature_margin_memory_max"}},
        {NVML_FI_DEV_TEMPERATURE_GPU_MAX_TLIMIT, NVML_VALUE_TYPE_SIGNED_INT, {"temperature_margin_gpu_max"}},
    };

    field->nvmlReturn = NVML_ERROR_NOT_SUPPORTED;
    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        if (fields[i].id != field->fieldId)
            continue;
        field->valueType = fields[i].type;
        field->nvmlReturn = give_number(device, fields[i].names, &field->value.uiVal);
    }
}

nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t device, int count, nvmlFieldValue_t *values) {
    ENTER(device);
    for (int i = 0; i < count; i++)
        give_field(device, &values[i]);
    return NVML_SUCCESS;
}
