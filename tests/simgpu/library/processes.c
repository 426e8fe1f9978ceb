/* Who computes or draws on a GPU, and which GPUs reach each other. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "names.h"
#include "session.h"

enum { NO_INSTANCE = 0xffffffff, PROCESSES = 64 };

struct process {
    unsigned int pid;
    char type[4]; /* C, G or C+G */
    unsigned long long mebibytes;
    char name[256];
};

/* The attribute `processes` has a line for each: PID TYPE MIB NAME. */
static unsigned int read_processes(nvmlDevice_t device, struct process processes[PROCESSES]) {
    char value[VALUE_SIZE], *rest, *line;
    unsigned int count = 0;

    if (attribute(device, "processes", value) != NVML_SUCCESS)
        return 0;
    for (line = strtok_r(value, "\n", &rest); line && count < PROCESSES; line = strtok_r(NULL, "\n", &rest)) {
        struct process *process = &processes[count];

        count += sscanf(line, "%u %3s %llu %255[^\n]", &process->pid, process->type, &process->mebibytes,
                        process->name) == 4;
    }
    return count;
}

static nvmlReturn_t give_processes(nvmlDevice_t device, char type, unsigned int *count, nvmlProcessInfo_t *infos) {
    struct process processes[PROCESSES];
    unsigned int all = read_processes(device, processes), room = infos ? *count : 0, found = 0;

    for (unsigned int i = 0; i < all; i++) {
        if (!strchr(processes[i].type, type))
            continue;
        if (found < room)
            infos[found] = (nvmlProcessInfo_t){
                .pid = processes[i].pid,
                .usedGpuMemory = processes[i].mebibytes << 20,
                .gpuInstanceId = NO_INSTANCE,
                .computeInstanceId = NO_INSTANCE,
            };
        found++;
    }
    *count = found;
    return found <= room ? NVML_SUCCESS : NVML_ERROR_INSUFFICIENT_SIZE;
}

nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t device, unsigned int *count,
                                                     nvmlProcessInfo_t *processes) {
    ENTER(device);
    return give_processes(device, 'C', count, processes);
}

nvmlReturn_t nvmlDeviceGetGraphicsRunningProcesses_v3(nvmlDevice_t device, unsigned int *count,
                                                      nvmlProcessInfo_t *processes) {
    ENTER(device);
    return give_processes(device, 'G', count, processes);
}

/* None, as no one shares a GPU through the Multi-Process Service here. */
nvmlReturn_t nvmlDeviceGetMPSComputeRunningProcesses_v3(nvmlDevice_t device, unsigned int *count,
                                                        nvmlProcessInfo_t *processes) {
    (void)processes;
    ENTER(device);
    *count = 0;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlSystemGetProcessName(unsigned int pid, char *name, unsigned int size) {
    struct process processes[PROCESSES];
    nvmlDevice_t device;

    ENTER_DRIVER();
    for (unsigned int index = 0; (device = device_with_index(index)); index++)
        for (unsigned int i = 0, count = read_processes(device, processes); i < count; i++)
            if (processes[i].pid == pid)
                return give_text(processes[i].name, name, size);
    return NVML_ERROR_NOT_FOUND;
}

/* What a GPU says about one peer, or else about all. */
static int p2p_status(nvmlDevice_t device, nvmlDevice_t peer) {
    char name[16], status[VALUE_SIZE];

    snprintf(name, sizeof name, "p2p_%d", peer->slot);
    if (attribute(device, name, status) != NVML_SUCCESS && attribute(device, "p2p", status) != NVML_SUCCESS)
        strcpy(status, "NS");
    return number_of(status, P2P_STATUSES);
}

nvmlReturn_t nvmlDeviceGetP2PStatus(nvmlDevice_t device, nvmlDevice_t peer, unsigned int capability,
                                    unsigned int *status) {
    int there, back;

    ENTER(device);
    ENTER(peer);
    if (device == peer || capability >= NVML_P2P_CAPS_INDEX_UNKNOWN)
        return NVML_ERROR_INVALID_ARGUMENT;
    there = p2p_status(device, peer);
    back = p2p_status(peer, device);
    *status = (unsigned int)(there != NVML_P2P_STATUS_OK ? there : back);
    return NVML_SUCCESS;
}
