#include "names.h"

#include <string.h>
#include <strings.h>

#include "nvml.h"

const char *const ARCHITECTURES[] = {
    [2] = "Kepler", "Maxwell", "Pascal", "Volta", "Turing", "Ampere", "Ada Lovelace", "Hopper", "Blackwell", "",
};

const char *const BRANDS[] = {
    [1] = "Quadro", "Tesla", "NVS", "Grid", "GeForce", "Titan", [12] = "Quadro RTX", "NVIDIA RTX", "NVIDIA", "",
};

const char *const COMPUTE_MODES[] = {"Default", "Exclusive_Thread", "Prohibited", "Exclusive_Process", ""};

/* As `nvidia-smi topo -p2p` abbreviates them. */
const char *const P2P_STATUSES[] = {"OK", "CNS", "GNS", "TNS", "DR", "NS", "U", ""};

static int is_end(const char *name) {
    return name && !*name;
}

const char *name_of(unsigned int number, const char *const names[]) {
    for (unsigned int i = 0; !is_end(names[i]); i++)
        if (i == number && names[i])
            return names[i];
    return "Unknown";
}

int number_of(const char *name, const char *const names[]) {
    for (int i = 0; !is_end(names[i]); i++)
        if (names[i] && strcasecmp(names[i], name) == 0)
            return i;
    return -1;
}

const char *nvmlErrorString(nvmlReturn_t result) {
    static const char *const errors[] = {
        "Success",
        "Uninitialized",
        "Invalid Argument",
        "Not Supported",
        "Insufficient Permissions",
        "Already Initialized",
        "Not Found",
        "Insufficient Size",
        "Insufficient External Power",
        "Driver Not Loaded",
        "Timeout",
        "Interrupt Request Issue",
        "NVML Shared Library Not Found",
        "Function Not Found",
        "Corrupted infoROM",
        "GPU is lost",
        "GPU requires reset",
        "The operating system has blocked the request",
        "Driver/library version mismatch",
        "In use by another client",
        "Insufficient Memory",
        "No data",
        "The requested vgpu operation is not available on the target device",
        "Insufficient Resources",
        "The requested frequency is not supported",
        "Argument version mismatch",
        "Requested functionality has been deprecated",
        "Not Ready",
        "GPU Not Found",
        "Invalid State",
    };

    return (unsigned int)result < COUNT_OF(errors) ? errors[result] : "Unknown Error";
}
