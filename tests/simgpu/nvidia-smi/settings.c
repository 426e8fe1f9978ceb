/* The options that set something. Each says what it did, or why not, as the real ones do. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "smi.h"

/* What a setting is called when it is refused. */
struct words {
    const char *unsupported, *forbidden, *failed;
};

static int explain(const struct words *words, const struct gpu *gpu, nvmlReturn_t result) {
    switch (result) {
    case NVML_ERROR_NOT_SUPPORTED:
        printf(words->unsupported, gpu->address);
        puts("Treating as warning and moving on.");
        return EXIT_OK;
    case NVML_ERROR_NO_PERMISSION:
        printf(words->forbidden, gpu->address);
        break;
    default:
        printf("%s for GPU %s: %s\n", words->failed, gpu->address, nvmlErrorString(result));
    }
    puts("Terminating early due to previous errors.");
    return (int)result;
}

static int refuse_argument(const char *option, const char *value) {
    printf("Invalid argument \"%s\" for option %s. Run 'nvidia-smi -h'.\n", value, option);
    return EXIT_BAD_ARGUMENT;
}

/* The number of a word, or of a number that is written; -1 for neither. */
static int parse_choice(const char *value, const char *const words[], int count) {
    for (int i = 0; i < count; i++)
        if (strcasecmp(value, words[i]) == 0 || (value[0] == '0' + i && !value[1]))
            return i;
    return -1;
}

static int set_persistence_mode(const struct gpu *gpu, const char *value) {
    static const char *const modes[] = {"DISABLED", "ENABLED"}, *const names[] = {"Disabled", "Enabled"};
    static const struct words words = {
        "Setting persistence mode is not supported for GPU %s.\n",
        "Unable to set persistence mode for GPU %s: Insufficient Permissions\n",
        "Unable to set persistence mode",
    };
    int mode = parse_choice(value, modes, COUNT_OF(modes));
    unsigned int before = 0;
    nvmlReturn_t result;

    if (mode < 0)
        return refuse_argument("-pm", value);
    if (nvmlDeviceGetPersistenceMode(gpu->device, &before) == NVML_SUCCESS && (int)before == mode) {
        printf("Persistence mode is already %s for GPU %s.\n", names[mode], gpu->address);
        return EXIT_OK;
    }
    result = nvmlDeviceSetPersistenceMode(gpu->device, (unsigned int)mode);
    if (result != NVML_SUCCESS)
        return explain(&words, gpu, result);
    printf("%s persistence mode for GPU %s.\n", names[mode], gpu->address);
    return EXIT_OK;
}

static int set_compute_mode(const struct gpu *gpu, const char *value) {
    static const char *const modes[] = {"DEFAULT", "EXCLUSIVE_THREAD", "PROHIBITED", "EXCLUSIVE_PROCESS"};
    static const struct words words = {
        "Setting compute mode is not supported for GPU %s.\n",
        "Unable to set the compute mode for GPU %s: Insufficient Permissions\n",
        "Unable to set the compute mode",
    };
    int mode = parse_choice(value, modes, COUNT_OF(modes));
    unsigned int before = 0;
    nvmlReturn_t result;

    if (mode < 0)
        return refuse_argument("-c", value);
    if (nvmlDeviceGetComputeMode(gpu->device, &before) == NVML_SUCCESS && (int)before == mode) {
        printf("Compute mode is already set to %s for GPU %s.\n", modes[mode], gpu->address);
        return EXIT_OK;
    }
    result = nvmlDeviceSetComputeMode(gpu->device, (unsigned int)mode);
    if (result != NVML_SUCCESS)
        return explain(&words, gpu, result);
    printf("Set compute mode to %s for GPU %s.\n", modes[mode], gpu->address);
    return EXIT_OK;
}

static void warn_without_persistence(const struct gpu *gpu) {
    unsigned int mode = 1;

    if (nvmlDeviceGetPersistenceMode(gpu->device, &mode) == NVML_SUCCESS && !mode)
        printf("\nWarning: persistence mode is disabled on device %s. See the Known Issues section of the "
               "nvidia-smi(1) man page for more information. Run with [--help | -h] switch to get more information on "
               "how to enable persistence mode.\n",
               gpu->address);
}

static int set_power_limit(const struct gpu *gpu, const char *value) {
    static const struct words words = {
        "Changing power management limit is not supported for GPU: %s.\n",
        "The current user does not have permission to change power management limit for GPU %s.\n",
        "Unable to set power management limit",
    };
    unsigned int before = 0, minimum, maximum;
    char *end;
    double watts = strtod(value, &end);
    nvmlReturn_t result;

    if (end == value || *end)
        return refuse_argument("-pl", value);
    nvmlDeviceGetPowerManagementLimit(gpu->device, &before);
    result = nvmlDeviceSetPowerManagementLimit(gpu->device, (unsigned int)(watts * 1000 + 0.5));
    if (result == NVML_ERROR_INVALID_ARGUMENT &&
        nvmlDeviceGetPowerManagementLimitConstraints(gpu->device, &minimum, &maximum) == NVML_SUCCESS) {
        printf("Provided power limit %.2f W is not a valid power limit which should be between %.2f W and %.2f W "
               "for GPU %s\nTerminating early due to previous errors.\n",
               watts, minimum / 1000.0, maximum / 1000.0, gpu->address);
        return EXIT_BAD_ARGUMENT;
    }
    if (result != NVML_SUCCESS)
        return explain(&words, gpu, result);
    printf("Power limit for GPU %s was set to %.2f W from %.2f W.\n", gpu->address, watts, before / 1000.0);
    warn_without_persistence(gpu);
    return EXIT_OK;
}

/* "1500" is "1500,1500". */
static bool parse_range(const char *value, unsigned int *minimum, unsigned int *maximum) {
    char garbage;

    if (sscanf(value, "%u,%u%c", minimum, maximum, &garbage) == 2)
        return true;
    *maximum = 0;
    if (sscanf(value, "%u%c", minimum, &garbage) != 1)
        return false;
    *maximum = *minimum;
    return true;
}

static int lock_clocks(const struct gpu *gpu, const char *value, const char *option,
                       nvmlReturn_t (*lock)(nvmlDevice_t, unsigned int, unsigned int), const char *done,
                       const struct words *words) {
    unsigned int minimum, maximum;
    nvmlReturn_t result;

    if (!parse_range(value, &minimum, &maximum))
        return refuse_argument(option, value);
    result = lock(gpu->device, minimum, maximum);
    if (result != NVML_SUCCESS)
        return explain(words, gpu, result);
    printf(done, minimum, maximum, gpu->address);
    warn_without_persistence(gpu);
    return EXIT_OK;
}

static int reset_clocks(const struct gpu *gpu, nvmlReturn_t (*reset)(nvmlDevice_t), const struct words *words) {
    nvmlReturn_t result = reset(gpu->device);

    return result == NVML_SUCCESS ? EXIT_OK : explain(words, gpu, result);
}

#define MAY_NOT_CHANGE_CLOCKS "The current user does not have permission to change clocks for GPU %s.\n"

static int lock_graphics_clocks(const struct gpu *gpu, const char *value) {
    static const struct words words = {
        "Setting locked GPU clocks is not supported for GPU %s.\n",
        MAY_NOT_CHANGE_CLOCKS,
        "Unable to set locked GPU clocks",
    };

    return lock_clocks(gpu, value, "-lgc", nvmlDeviceSetGpuLockedClocks,
                       "GPU clocks set to \"(gpuClkMin %u, gpuClkMax %u)\" for GPU %s\n", &words);
}

static int lock_memory_clocks(const struct gpu *gpu, const char *value) {
    static const struct words words = {
        "Setting locked Memory clocks is not supported for GPU %s.\n",
        MAY_NOT_CHANGE_CLOCKS,
        "Unable to set locked Memory clocks",
    };

    return lock_clocks(gpu, value, "-lmc", nvmlDeviceSetMemoryLockedClocks,
                       "Memory clocks set to \"(memClkMin %u, memClkMax %u)\" for GPU %s\n", &words);
}

static int reset_graphics_clocks(const struct gpu *gpu, const char *value) {
    static const struct words words = {
        "Resetting locked GPU clocks is not supported for GPU %s.\n",
        MAY_NOT_CHANGE_CLOCKS,
        "Unable to reset locked GPU clocks",
    };

    (void)value;
    return reset_clocks(gpu, nvmlDeviceResetGpuLockedClocks, &words);
}

static int reset_memory_clocks(const struct gpu *gpu, const char *value) {
    static const struct words words = {
        "Resetting locked Memory clocks is not supported for GPU %s.\n",
        MAY_NOT_CHANGE_CLOCKS,
        "Unable to reset locked Memory clocks",
    };

    (void)value;
    return reset_clocks(gpu, nvmlDeviceResetMemoryLockedClocks, &words);
}

static const struct setting settings[] = {
    {"-pm", "--persistence-mode", true, set_persistence_mode},
    {"-c", "--compute-mode", true, set_compute_mode},
    {"-pl", "--power-limit", true, set_power_limit},
    {"-lgc", "--lock-gpu-clocks", true, lock_graphics_clocks},
    {"-rgc", "--reset-gpu-clocks", false, reset_graphics_clocks},
    {"-lmc", "--lock-memory-clocks", true, lock_memory_clocks},
    {"-rmc", "--reset-memory-clocks", false, reset_memory_clocks},
};

const struct setting *find_setting(const char *option) {
    for (size_t i = 0; i < COUNT_OF(settings); i++)
        if (strcmp(option, settings[i].option) == 0 || strcmp(option, settings[i].long_option) == 0)
            return &settings[i];
    return NULL;
}

int apply_setting(const struct selection *selection, const struct setting *setting, const char *value) {
    for (unsigned int i = 0; i < selection->count; i++) {
        int status = setting->apply(&selection->gpus[i], value);

        if (status != EXIT_OK)
            return status;
    }
    puts("All done.");
    return EXIT_OK;
}
