#include <stdio.h>
#include <string.h>
#include <time.h>

#include "smi.h"

/* FACT(reader, what the function fills, the call, how the text is made of it) */
#define FACT(reader, variable, call, ...)                                                       \
    static nvmlReturn_t reader(const struct gpu *gpu, char text[TEXT_SIZE]) {                   \
        variable;                                                                               \
        nvmlReturn_t result = call;                                                             \
        (void)gpu;                                                                              \
        if (result == NVML_SUCCESS)                                                             \
            snprintf(text, TEXT_SIZE, __VA_ARGS__);                                             \
        return result;                                                                          \
    }
#define GPU gpu->device
/* Functions that give a text, a number, milliwatts, a yes or no, one of two numbers. */
#define TEXT_FACT(reader, function) FACT(reader, char value[TEXT_SIZE], function(GPU, value, sizeof value), "%s", value)
#define NUMBER_FACT(reader, function) FACT(reader, unsigned int value, function(GPU, &value), "%u", value)
#define POWER_FACT(reader, function) FACT(reader, unsigned int value, function(GPU, &value), "%.2f", value / 1000.0)
#define SWITCH_FACT(reader, function, yes, no) \
    FACT(reader, unsigned int value, function(GPU, &value), "%s", value ? yes : no)
#define PAIR_FACT(reader, function, ...) \
    FACT(reader, unsigned int pair[2], function(GPU, &pair[0], &pair[1]), __VA_ARGS__)
#define CLOCK_FACT(reader, function, type) FACT(reader, unsigned int value, function(GPU, type, &value), "%u", value)
#define PCI_FACT(reader, ...) FACT(reader, nvmlPciInfo_t pci, nvmlDeviceGetPciInfo_v3(GPU, &pci), __VA_ARGS__)
#define MEMORY_FACT(reader, member)                                                                              \
    FACT(reader, nvmlMemory_v2_t memory = {.version = NVML_MEMORY_V2}, nvmlDeviceGetMemoryInfo_v2(GPU, &memory), \
         "%llu", memory.member >> 20)
#define BAR1_FACT(reader, member) \
    FACT(reader, nvmlBAR1Memory_t memory, nvmlDeviceGetBAR1MemoryInfo(GPU, &memory), "%llu", memory.member >> 20)
#define THRESHOLD_FACT(reader, which) CLOCK_FACT(reader, nvmlDeviceGetTemperatureThreshold, which)
#define FIELD_FACT(reader, id, ...) FACT(reader, nvmlFieldValue_t field, read_field(GPU, id, &field), __VA_ARGS__)

static nvmlReturn_t read_field(nvmlDevice_t device, unsigned int id, nvmlFieldValue_t *field) {
    nvmlReturn_t result;

    *field = (nvmlFieldValue_t){.fieldId = id};
    result = nvmlDeviceGetFieldValues(device, 1, field);
    return result == NVML_SUCCESS ? (nvmlReturn_t)field->nvmlReturn : result;
}

static const char *enabled(unsigned int value) {
    return value ? "Enabled" : "Disabled";
}

FACT(time_now, , NVML_SUCCESS, "%s", timestamp("%Y/%m/%d %H:%M:%S"))
FACT(driver_version, char value[TEXT_SIZE], nvmlSystemGetDriverVersion(value, sizeof value), "%s", value)
FACT(count, unsigned int value, nvmlDeviceGetCount_v2(&value), "%u", value)
NUMBER_FACT(gpu_index, nvmlDeviceGetIndex)
NUMBER_FACT(minor_number, nvmlDeviceGetMinorNumber)
TEXT_FACT(name, nvmlDeviceGetName)
TEXT_FACT(uuid, nvmlDeviceGetUUID)
TEXT_FACT(serial, nvmlDeviceGetSerial)
TEXT_FACT(vbios_version, nvmlDeviceGetVbiosVersion)
FACT(brand, unsigned int value, nvmlDeviceGetBrand(GPU, &value), "%s", name_of(value, BRANDS))
FACT(architecture, unsigned int value, nvmlDeviceGetArchitecture(GPU, &value), "%s", name_of(value, ARCHITECTURES))
FACT(compute_capability, int value[2], nvmlDeviceGetCudaComputeCapability(GPU, &value[0], &value[1]), "%d.%d", value[0],
     value[1])

PCI_FACT(pci_address, "%s", pci.busId)
PCI_FACT(pci_domain, "0x%04X", pci.domain)
PCI_FACT(pci_bus, "0x%02X", pci.bus)
PCI_FACT(pci_device, "0x%02X", pci.device)
PCI_FACT(pci_device_id, "0x%08X", pci.pciDeviceId)
PCI_FACT(pci_subsystem_id, "0x%08X", pci.pciSubSystemId)
PCI_FACT(bare_pci_domain, "%04X", pci.domain)
PCI_FACT(bare_pci_bus, "%02X", pci.bus)
PCI_FACT(bare_pci_device, "%02X", pci.device)
PCI_FACT(bare_pci_device_id, "%08X", pci.pciDeviceId)
PCI_FACT(bare_pci_subsystem_id, "%08X", pci.pciSubSystemId)
PCI_FACT(board_id, "0x%x", pci.bus << 8)
NUMBER_FACT(link_generation, nvmlDeviceGetCurrPcieLinkGeneration)
NUMBER_FACT(link_generation_max, nvmlDeviceGetMaxPcieLinkGeneration)
NUMBER_FACT(link_generation_gpu_max, nvmlDeviceGetGpuMaxPcieLinkGeneration)
NUMBER_FACT(link_width, nvmlDeviceGetCurrPcieLinkWidth)
NUMBER_FACT(link_width_max, nvmlDeviceGetMaxPcieLinkWidth)
FACT(link_width_x, unsigned int value, nvmlDeviceGetCurrPcieLinkWidth(GPU, &value), "%ux", value)
FACT(link_width_max_x, unsigned int value, nvmlDeviceGetMaxPcieLinkWidth(GPU, &value), "%ux", value)
NUMBER_FACT(replay_counter, nvmlDeviceGetPcieReplayCounter)

SWITCH_FACT(display_attached, nvmlDeviceGetDisplayMode, "Yes", "No")
SWITCH_FACT(display_active, nvmlDeviceGetDisplayActive, "Enabled", "Disabled")
SWITCH_FACT(persistence_mode, nvmlDeviceGetPersistenceMode, "Enabled", "Disabled")
FACT(compute_mode, unsigned int value, nvmlDeviceGetComputeMode(GPU, &value), "%s", name_of(value, COMPUTE_MODES))
PAIR_FACT(mig_mode, nvmlDeviceGetMigMode, "%s", enabled(pair[0]))
PAIR_FACT(mig_mode_pending, nvmlDeviceGetMigMode, "%s", enabled(pair[1]))
PAIR_FACT(ecc_mode, nvmlDeviceGetEccMode, "%s", enabled(pair[0]))
PAIR_FACT(ecc_mode_pending, nvmlDeviceGetEccMode, "%s", enabled(pair[1]))

MEMORY_FACT(memory_total, total)
MEMORY_FACT(memory_reserved, reserved)
MEMORY_FACT(memory_used, used)
MEMORY_FACT(memory_free, free)
BAR1_FACT(bar1_total, bar1Total)
BAR1_FACT(bar1_used, bar1Used)
BAR1_FACT(bar1_free, bar1Free)
FACT(utilization_gpu, nvmlUtilization_t value, nvmlDeviceGetUtilizationRates(GPU, &value), "%u", value.gpu)
FACT(utilization_memory, nvmlUtilization_t value, nvmlDeviceGetUtilizationRates(GPU, &value), "%u", value.memory)

NUMBER_FACT(fan_speed, nvmlDeviceGetFanSpeed)
FACT(performance_state, unsigned int value, nvmlDeviceGetPerformanceState(GPU, &value), "P%u", value)
FACT(event_reasons, unsigned long long value, nvmlDeviceGetCurrentClocksEventReasons(GPU, &value), "0x%016llX", value)
FACT(temperature, unsigned int value, nvmlDeviceGetTemperature(GPU, NVML_TEMPERATURE_GPU, &value), "%u", value)
FACT(temperature_margin, nvmlMarginTemperature_t margin = {.version = NVML_MARGIN_TEMPERATURE_V1},
     nvmlDeviceGetMarginTemperature(GPU, &margin), "%d", margin.marginTemperature)
FIELD_FACT(temperature_memory, NVML_FI_DEV_MEMORY_TEMP, "%u", field.value.uiVal)
THRESHOLD_FACT(temperature_shutdown, NVML_TEMPERATURE_THRESHOLD_SHUTDOWN)
THRESHOLD_FACT(temperature_slowdown, NVML_TEMPERATURE_THRESHOLD_SLOWDOWN)
THRESHOLD_FACT(temperature_gpu_max, NVML_TEMPERATURE_THRESHOLD_GPU_MAX)
THRESHOLD_FACT(temperature_memory_max, NVML_TEMPERATURE_THRESHOLD_MEM_MAX)
THRESHOLD_FACT(temperature_target_min, NVML_TEMPERATURE_THRESHOLD_ACOUSTIC_MIN)
THRESHOLD_FACT(temperature_target, NVML_TEMPERATURE_THRESHOLD_ACOUSTIC_CURR)
THRESHOLD_FACT(temperature_target_max, NVML_TEMPERATURE_THRESHOLD_ACOUSTIC_MAX)
FIELD_FACT(margin_shutdown, NVML_FI_DEV_TEMPERATURE_SHUTDOWN_TLIMIT, "%d", field.value.siVal)
FIELD_FACT(margin_slowdown, NVML_FI_DEV_TEMPERATURE_SLOWDOWN_TLIMIT, "%d", field.value.siVal)
FIELD_FACT(margin_gpu_max, NVML_FI_DEV_TEMPERATURE_GPU_MAX_TLIMIT, "%d", field.value.siVal)
FIELD_FACT(margin_memory_max, NVML_FI_DEV_TEMPERATURE_MEM_MAX_TLIMIT, "%d", field.value.siVal)

POWER_FACT(power_draw, nvmlDeviceGetPowerUsage)
FIELD_FACT(power_draw_average, NVML_FI_DEV_POWER_AVERAGE, "%.2f", field.value.uiVal / 1000.0)
POWER_FACT(power_limit, nvmlDeviceGetPowerManagementLimit)
POWER_FACT(power_limit_enforced, nvmlDeviceGetEnforcedPowerLimit)
POWER_FACT(power_limit_default, nvmlDeviceGetPowerManagementDefaultLimit)
PAIR_FACT(power_limit_min, nvmlDeviceGetPowerManagementLimitConstraints, "%.2f", pair[0] / 1000.0)
PAIR_FACT(power_limit_max, nvmlDeviceGetPowerManagementLimitConstraints, "%.2f", pair[1] / 1000.0)

CLOCK_FACT(clock_graphics, nvmlDeviceGetClockInfo, NVML_CLOCK_GRAPHICS)
CLOCK_FACT(clock_sm, nvmlDeviceGetClockInfo, NVML_CLOCK_SM)
CLOCK_FACT(clock_memory, nvmlDeviceGetClockInfo, NVML_CLOCK_MEM)
CLOCK_FACT(clock_video, nvmlDeviceGetClockInfo, NVML_CLOCK_VIDEO)
CLOCK_FACT(clock_graphics_max, nvmlDeviceGetMaxClockInfo, NVML_CLOCK_GRAPHICS)
CLOCK_FACT(clock_sm_max, nvmlDeviceGetMaxClockInfo, NVML_CLOCK_SM)
CLOCK_FACT(clock_memory_max, nvmlDeviceGetMaxClockInfo, NVML_CLOCK_MEM)
CLOCK_FACT(clock_video_max, nvmlDeviceGetMaxClockInfo, NVML_CLOCK_VIDEO)

static const struct fact facts[] = {
    {"timestamp", NULL, time_now},
    {"driver_version", NULL, driver_version},
    {"count", NULL, count},
    {"index", NULL, gpu_index},
    {"name", NULL, name},
    {"gpu_name", NULL, name},
    {"uuid", NULL, uuid},
    {"gpu_uuid", NULL, uuid},
    {"serial", NULL, serial},
    {"gpu_serial", NULL, serial},
    {"vbios_version", NULL, vbios_version},
    {"compute_cap", NULL, compute_capability},
    {"pci.bus_id", NULL, pci_address},
    {"gpu_bus_id", NULL, pci_address},
    {"pci.domain", NULL, pci_domain},
    {"pci.bus", NULL, pci_bus},
    {"pci.device", NULL, pci_device},
    {"pci.device_id", NULL, pci_device_id},
    {"pci.sub_device_id", NULL, pci_subsystem_id},
    {"pcie.link.gen.current", NULL, link_generation},
    {"pcie.link.gen.gpucurrent", NULL, link_generation},
    {"pcie.link.gen.max", NULL, link_generation_max},
    {"pcie.link.gen.gpumax", NULL, link_generation_gpu_max},
    {"pcie.link.width.current", NULL, link_width},
    {"pcie.link.width.max", NULL, link_width_max},
    {"display_attached", NULL, display_attached},
    {"display_active", NULL, display_active},
    {"persistence_mode", NULL, persistence_mode},
    {"compute_mode", NULL, compute_mode},
    {"mig.mode.current", NULL, mig_mode},
    {"mig.mode.pending", NULL, mig_mode_pending},
    {"ecc.mode.current", NULL, ecc_mode},
    {"ecc.mode.pending", NULL, ecc_mode_pending},
    {"memory.total", "MiB", memory_total},
    {"memory.reserved", "MiB", memory_reserved},
    {"memory.used", "MiB", memory_used},
    {"memory.free", "MiB", memory_free},
    {"utilization.gpu", "%", utilization_gpu},
    {"utilization.memory", "%", utilization_memory},
    {"fan.speed", "%", fan_speed},
    {"pstate", NULL, performance_state},
    {"clocks_event_reasons.active", NULL, event_reasons},
    {"clocks_throttle_reasons.active", NULL, event_reasons},
    {"temperature.gpu", NULL, temperature},
    {"temperature.gpu.tlimit", NULL, temperature_margin},
    {"temperature.memory", NULL, temperature_memory},
    {"power.draw", "W", power_draw},
    {"power.draw.average", "W", power_draw_average},
    {"power.draw.instant", "W", power_draw},
    {"power.limit", "W", power_limit},
    {"enforced.power.limit", "W", power_limit_enforced},
    {"power.default_limit", "W", power_limit_default},
    {"power.min_limit", "W", power_limit_min},
    {"power.max_limit", "W", power_limit_max},
    {"clocks.gr", "MHz", clock_graphics},
    {"clocks.sm", "MHz", clock_sm},
    {"clocks.mem", "MHz", clock_memory},
    {"clocks.video", "MHz", clock_video},
    {"clocks.current.graphics", "MHz", clock_graphics},
    {"clocks.current.sm", "MHz", clock_sm},
    {"clocks.current.memory", "MHz", clock_memory},
    {"clocks.current.video", "MHz", clock_video},
    {"clocks.max.gr", "MHz", clock_graphics_max},
    {"clocks.max.graphics", "MHz", clock_graphics_max},
    {"clocks.max.sm", "MHz", clock_sm_max},
    {"clocks.max.mem", "MHz", clock_memory_max},
    {"clocks.max.memory", "MHz", clock_memory_max},
    {".minor_number", NULL, minor_number},
    {".brand", NULL, brand},
    {".architecture", NULL, architecture},
    {".board_id", NULL, board_id},
    {".pci.domain", NULL, bare_pci_domain},
    {".pci.bus", NULL, bare_pci_bus},
    {".pci.device", NULL, bare_pci_device},
    {".pci.device_id", NULL, bare_pci_device_id},
    {".pci.sub_device_id", NULL, bare_pci_subsystem_id},
    {".pcie.link.width.current", NULL, link_width_x},
    {".pcie.link.width.max", NULL, link_width_max_x},
    {".pcie.replay_counter", NULL, replay_counter},
    {".bar1.total", "MiB", bar1_total},
    {".bar1.used", "MiB", bar1_used},
    {".bar1.free", "MiB", bar1_free},
    {".temperature", "C", temperature},
    {".temperature.tlimit", "C", temperature_margin},
    {".temperature.memory", "C", temperature_memory},
    {".temperature.shutdown", "C", temperature_shutdown},
    {".temperature.slowdown", "C", temperature_slowdown},
    {".temperature.gpu_max", "C", temperature_gpu_max},
    {".temperature.memory_max", "C", temperature_memory_max},
    {".temperature.target_min", "C", temperature_target_min},
    {".temperature.target", "C", temperature_target},
    {".temperature.target_max", "C", temperature_target_max},
    {".tlimit.shutdown", "C", margin_shutdown},
    {".tlimit.slowdown", "C", margin_slowdown},
    {".tlimit.gpu_max", "C", margin_gpu_max},
    {".tlimit.memory_max", "C", margin_memory_max},
    {".clocks.max.video", "MHz", clock_video_max},
};

const struct fact *find_fact(const char *wanted) {
    for (size_t i = 0; i < COUNT_OF(facts); i++)
        if (strcmp(facts[i].name, wanted) == 0)
            return &facts[i];
    return NULL;
}

bool read_fact(const struct fact *fact, const struct gpu *gpu, char text[TEXT_SIZE]) {
    nvmlReturn_t result = fact->read(gpu, text);

    if (result != NVML_SUCCESS)
        strcpy(text, reason(result));
    return result == NVML_SUCCESS;
}

const char *reason(nvmlReturn_t result) {
    switch (result) {
    case NVML_ERROR_NOT_SUPPORTED:
        return "N/A";
    case NVML_ERROR_GPU_IS_LOST:
        return "GPU is lost";
    default:
        return nvmlErrorString(result);
    }
}

const char *timestamp(const char *format) {
    static char text[64];
    time_t now = time(NULL);

    strftime(text, sizeof text, format, localtime(&now));
    return text;
}

static nvmlReturn_t list_processes(nvmlReturn_t (*list)(nvmlDevice_t, unsigned int *, nvmlProcessInfo_t *),
                                   const struct gpu *gpu, const char *type, struct process processes[PROCESSES],
                                   unsigned int *found) {
    nvmlProcessInfo_t infos[PROCESSES];
    unsigned int length = PROCESSES;
    nvmlReturn_t result = list(gpu->device, &length, infos);

    if (result != NVML_SUCCESS)
        return result;
    for (unsigned int i = 0; i < length; i++) {
        unsigned int known = 0;

        while (known < *found && processes[known].pid != infos[i].pid)
            known++;
        if (known < *found) {
            processes[known].type = "C+G";
        } else if (*found < PROCESSES) {
            struct process *process = &processes[(*found)++];

            *process = (struct process){.pid = infos[i].pid, .type = type, .mebibytes = infos[i].usedGpuMemory >> 20};
            if (nvmlSystemGetProcessName(process->pid, process->name, sizeof process->name) != NVML_SUCCESS)
                strcpy(process->name, "[Not Found]");
        }
    }
    return NVML_SUCCESS;
}

unsigned int read_processes(const struct gpu *gpu, struct process processes[PROCESSES]) {
    unsigned int found = 0;

    list_processes(nvmlDeviceGetGraphicsRunningProcesses_v3, gpu, "G", processes, &found);
    list_processes(nvmlDeviceGetComputeRunningProcesses_v3, gpu, "C", processes, &found);
    return found;
}
