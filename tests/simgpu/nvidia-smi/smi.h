/* The simulated nvidia-smi. All it says comes from the functions of the simulated NVML, so injected failures show. */
#ifndef SMI_H
#define SMI_H

#include <stdbool.h>
#include <stddef.h>

#include "names.h"
#include "nvml.h"

enum { GPUS = 8, TEXT_SIZE = 256 };

/* What nvidia-smi ends with; errors of NVML have their own numbers. */
enum { EXIT_OK = 0, EXIT_BAD_ARGUMENT = 2, EXIT_NOT_FOUND = 6 };

struct gpu {
    nvmlDevice_t device;
    unsigned int index;
    char address[32]; /* 00000000:01:00.0 */
};

struct selection {
    unsigned int count;
    struct gpu gpus[GPUS];
};

/* What can be asked about a GPU. Names that begin with a dot are not for --query-gpu. */
struct fact {
    const char *name, *unit;
    nvmlReturn_t (*read)(const struct gpu *gpu, char text[TEXT_SIZE]);
};

const struct fact *find_fact(const char *name);
/* A fact without its unit; if it is not told, the reason: "N/A", "Unknown Error" and so on. */
bool read_fact(const struct fact *fact, const struct gpu *gpu, char text[TEXT_SIZE]);
const char *reason(nvmlReturn_t result);
const char *timestamp(const char *format);

struct process {
    unsigned int pid;
    const char *type; /* C, G or C+G */
    unsigned long long mebibytes;
    char name[TEXT_SIZE];
};
enum { PROCESSES = 64 };
unsigned int read_processes(const struct gpu *gpu, struct process processes[PROCESSES]);

int print_list(const struct selection *selection);
int print_table(const struct selection *selection);
int print_xml(const struct selection *selection);
int print_csv(const struct selection *selection, const char *fields, const char *format);
int print_p2p(const struct selection *selection, const char *capability);

/* The options that set something, and what their arguments are. */
struct setting {
    const char *option, *long_option;
    bool takes_value;
    int (*apply)(const struct gpu *gpu, const char *value);
};
const struct setting *find_setting(const char *option);
int apply_setting(const struct selection *selection, const struct setting *setting, const char *value);

#endif
