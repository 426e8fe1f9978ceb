/* nvidia-smi -L, and nvidia-smi without arguments. */
#include <stdio.h>
#include <string.h>

#include "smi.h"

static const char *told(const char *name, const struct gpu *gpu, char text[TEXT_SIZE]) {
    read_fact(find_fact(name), gpu, text);
    return text;
}

#define TOLD(name) told(name, gpu, (char[TEXT_SIZE]){0})

int print_list(const struct selection *selection) {
    for (unsigned int i = 0; i < selection->count; i++) {
        const struct gpu *gpu = &selection->gpus[i];

        printf("GPU %u: %s (UUID: %s)\n", gpu->index, TOLD("name"), TOLD("uuid"));
    }
    return EXIT_OK;
}

/* 350.00 is told as 350W. */
static const char *whole(const char *number, const char *unit, char text[TEXT_SIZE]) {
    float value;

    if (sscanf(number, "%f", &value) == 1)
        snprintf(text, TEXT_SIZE, "%.0f%s", value, unit);
    else
        snprintf(text, TEXT_SIZE, "%s", number);
    return text;
}

#define WHOLE(name, unit) whole(TOLD(name), unit, (char[TEXT_SIZE]){0})

static const char rule[] =
    "+-----------------------------------------+------------------------+----------------------+\n";

static void print_gpu(const struct gpu *gpu) {
    bool persists = strcmp(TOLD("persistence_mode"), "Enabled") == 0;
    bool displays = strcmp(TOLD("display_active"), "Enabled") == 0;
    const char *ecc = TOLD("ecc.mode.current");
    const char *ecc_errors = strcmp(ecc, "Enabled") == 0 ? "0" : strcmp(ecc, "Disabled") == 0 ? "Off" : ecc;

    printf("| %3u  %-30.30s %-3s |%19s %-3s | %20s |\n", gpu->index, TOLD("name"), persists ? "On" : "Off",
           gpu->address, displays ? "On" : "Off", ecc_errors);
    printf("| %3.3s  %4s    %-2s%16s / %5s |%11s / %9s | %7s %12.12s |\n", WHOLE("fan.speed", "%"),
           WHOLE("temperature.gpu", "C"), TOLD("pstate"), WHOLE("power.draw", "W"), WHOLE("power.limit", "W"),
           WHOLE("memory.used", "MiB"), WHOLE("memory.total", "MiB"), WHOLE("utilization.gpu", "%"),
           TOLD("compute_mode"));
    printf("| %39s | %22s | %20s |\n%s", "", "", TOLD("mig.mode.current"), rule);
}

static bool print_processes(const struct gpu *gpu) {
    struct process processes[PROCESSES];
    unsigned int count = read_processes(gpu, processes);

    for (unsigned int i = 0; i < count; i++)
        printf("| %4u   N/A  N/A %15u %6s   %-34.34s %8lluMiB |\n", gpu->index, processes[i].pid, processes[i].type,
               processes[i].name, processes[i].mebibytes);
    return count > 0;
}

int print_table(const struct selection *selection) {
    char driver[TEXT_SIZE] = "N/A";
    bool processes = false;
    int cuda = 0;

    nvmlSystemGetDriverVersion(driver, sizeof driver);
    nvmlSystemGetCudaDriverVersion_v2(&cuda);
    printf("%s\n+-----------------------------------------------------------------------------------------+\n",
           timestamp("%a %b %e %H:%M:%S %Y"));
    printf("| NVIDIA-SMI %-22s Driver Version: %-14s CUDA Version: %2d.%-5d |\n", driver, driver, cuda / 1000,
           cuda % 1000 / 10);
    printf("|%s| GPU  Name                 Persistence-M | Bus-Id          Disp.A | Volatile Uncorr. ECC |\n"
           "| Fan  Temp   Perf          Pwr:Usage/Cap |           Memory-Usage | GPU-Util  Compute M. |\n"
           "|                                         |                        |               MIG M. |\n"
           "|=========================================+========================+======================|\n",
           rule + 1);
    for (unsigned int i = 0; i < selection->count; i++)
        print_gpu(&selection->gpus[i]);
    puts("\n+-----------------------------------------------------------------------------------------+\n"
         "| Processes:                                                                              |\n"
         "|  GPU   GI   CI              PID   Type   Process name                        GPU Memory |\n"
         "|        ID   ID                                                               Usage      |\n"
         "|=========================================================================================|");
    for (unsigned int i = 0; i < selection->count; i++)
        processes |= print_processes(&selection->gpus[i]);
    if (!processes)
        puts("|  No running processes found                                                             |");
    puts("+-----------------------------------------------------------------------------------------+");
    return EXIT_OK;
}
