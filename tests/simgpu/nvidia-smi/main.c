#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "smi.h"
#include "state.h"

static const char usage[] =
    "Simulated NVIDIA System Management Interface\n\n"
    "nvidia-smi                                    a summary\n"
    "nvidia-smi -L                                 the GPUs\n"
    "nvidia-smi -q -x                              all about them, as XML\n"
    "nvidia-smi --query-gpu=FIELD,... --format=csv[,noheader][,nounits]\n"
    "nvidia-smi topo -p2p r|w|n|a|p                which GPUs reach each other\n"
    "nvidia-smi -pm 0|1, -c MODE, -pl WATTS, -lgc MIN[,MAX], -rgc, -lmc MIN[,MAX], -rmc\n"
    "    each with -i INDEX|UUID|PCI ADDRESS,...    for these GPUs only\n";

/* What the command line asks for. */
struct request {
    bool list, query, xml, help, version;
    const char *ids, *fields, *format, *p2p;
    const struct setting *setting;
    const char *value;
};

/* Options that take a value do so after a space or, the long ones, after "=". */
static bool takes(const char *option, const char *wanted, char **argv, int *i, const char **value) {
    size_t length = strlen(wanted);

    if (strncmp(option, wanted, length) == 0 && option[length] == '=' && wanted[1] == '-')
        *value = option + length + 1;
    else if (strcmp(option, wanted) == 0 && argv[*i + 1])
        *value = argv[++*i];
    else
        return false;
    return true;
}

static bool is(const char *option, const char *one, const char *other) {
    return strcmp(option, one) == 0 || strcmp(option, other) == 0;
}

static bool parse_setting(char **argv, int *i, struct request *request) {
    const char *equals = strchr(argv[*i], '=');
    char option[64];

    snprintf(option, sizeof option, "%.*s", equals ? (int)(equals - argv[*i]) : 63, argv[*i]);
    request->setting = find_setting(option);
    if (!request->setting || !request->setting->takes_value)
        return request->setting != NULL;
    return takes(argv[*i], request->setting->option, argv, i, &request->value) ||
           takes(argv[*i], request->setting->long_option, argv, i, &request->value);
}

static bool parse_option(char **argv, int *i, struct request *request) {
    const char *option = argv[*i];

    if (is(option, "-L", "--list-gpus"))
        return request->list = true;
    if (is(option, "-q", "--query"))
        return request->query = true;
    if (is(option, "-x", "--xml-format"))
        return request->xml = true;
    if (is(option, "-h", "--help"))
        return request->help = true;
    if (is(option, "--version", "--version"))
        return request->version = true;
    return takes(option, "-i", argv, i, &request->ids) || takes(option, "--id", argv, i, &request->ids) ||
           takes(option, "--query-gpu", argv, i, &request->fields) ||
           takes(option, "--format", argv, i, &request->format) ||
           takes(option, "-p2p", argv, i, &request->p2p) || parse_setting(argv, i, request);
}

static int parse(char **argv, struct request *request) {
    for (int i = 1; argv[i]; i++) {
        if (i == 1 && strcmp(argv[i], "topo") == 0)
            continue;
        if (!parse_option(argv, &i, request)) {
            printf("Invalid combination of input arguments: \"%s\". Please run 'nvidia-smi -h' for help.\n\n", argv[i]);
            return EXIT_BAD_ARGUMENT;
        }
    }
    if (request->query != request->xml) {
        puts("The simulated nvidia-smi has -q and -x together only. Please run 'nvidia-smi -h' for help.\n");
        return EXIT_BAD_ARGUMENT;
    }
    return EXIT_OK;
}

static int refuse_without_driver(nvmlReturn_t result) {
    char version[TEXT_SIZE], *dot;

    switch (result) {
    case NVML_ERROR_DRIVER_NOT_LOADED:
        puts("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest "
             "NVIDIA driver is installed and running.\n");
        break;
    case NVML_ERROR_LIB_RM_VERSION_MISMATCH:
        puts("Failed to initialize NVML: Driver/library version mismatch");
        /* of 13.595.71.05, it says 595.71 */
        if (nvmlSystemGetNVMLVersion(version, sizeof version) == NVML_SUCCESS && (dot = strchr(version, '.'))) {
            char *minor = strchr(dot + 1, '.');

            if (minor && (minor = strchr(minor + 1, '.')))
                *minor = '\0';
            printf("NVML library version: %s\n", dot + 1);
        }
        break;
    default:
        printf("Failed to initialize NVML: %s\n", nvmlErrorString(result));
    }
    return (int)result;
}

static void add_gpu(struct selection *selection, nvmlDevice_t device) {
    struct gpu *gpu = &selection->gpus[selection->count];
    nvmlPciInfo_t pci;

    if (selection->count == GPUS)
        return;
    *gpu = (struct gpu){.device = device};
    nvmlDeviceGetIndex(device, &gpu->index);
    if (nvmlDeviceGetPciInfo_v3(device, &pci) == NVML_SUCCESS)
        snprintf(gpu->address, sizeof gpu->address, "%s", pci.busId);
    selection->count++;
}

/* NVML tells nothing about a GPU without its handle, and the real nvidia-smi knows its address from elsewhere. */
static const char *describe(unsigned int index) {
    static char text[VALUE_SIZE + 16];
    char address[VALUE_SIZE] = "";

    attribute(device_with_index(index), "pci_address", address);
    snprintf(text, sizeof text, "%u: %s", index, address);
    return text;
}

static void report_without_handle(const char *gpu, nvmlReturn_t result) {
    bool is_lost = result == NVML_ERROR_GPU_IS_LOST;

    fprintf(stderr, "Unable to determine the device handle for GPU%s: %s\n", gpu,
            is_lost ? "GPU is lost.  Reboot the system to recover this GPU" : nvmlErrorString(result));
}

/* Whatever GPUs give their handles; the others are reported and left out. */
static nvmlReturn_t select_all(struct selection *selection) {
    unsigned int count;
    nvmlReturn_t result = nvmlDeviceGetCount_v2(&count);

    for (unsigned int index = 0; result == NVML_SUCCESS && index < count; index++) {
        nvmlDevice_t device;
        nvmlReturn_t found = nvmlDeviceGetHandleByIndex_v2(index, &device);

        if (found == NVML_SUCCESS)
            add_gpu(selection, device);
        else
            report_without_handle(describe(index), found);
    }
    return result;
}

static bool is_index(const char *id, unsigned int *index) {
    char *end;

    *index = (unsigned int)strtoul(id, &end, 10);
    return end != id && !*end;
}

static nvmlReturn_t find_gpu(const char *id, nvmlDevice_t *device) {
    unsigned int index;

    if (is_index(id, &index))
        return nvmlDeviceGetHandleByIndex_v2(index, device);
    return strchr(id, ':') ? nvmlDeviceGetHandleByPciBusId_v2(id, device) : nvmlDeviceGetHandleByUUID(id, device);
}

static nvmlReturn_t select_some(struct selection *selection, const char *ids) {
    char list[1024], *rest, *id;

    snprintf(list, sizeof list, "%s", ids);
    for (id = strtok_r(list, ",", &rest); id; id = strtok_r(NULL, ",", &rest)) {
        nvmlDevice_t device;
        nvmlReturn_t result = find_gpu(id, &device);
        unsigned int index;

        if (result == NVML_SUCCESS) {
            add_gpu(selection, device);
        } else if (result != NVML_ERROR_NOT_FOUND && result != NVML_ERROR_INVALID_ARGUMENT) {
            report_without_handle(is_index(id, &index) ? describe(index) : id, result);
            return result;
        }
    }
    return NVML_SUCCESS;
}

static int print_version(void) {
    char driver[TEXT_SIZE] = "", library[TEXT_SIZE] = "";

    nvmlSystemGetDriverVersion(driver, sizeof driver);
    nvmlSystemGetNVMLVersion(library, sizeof library);
    printf("NVIDIA-SMI version  : %s (simulated)\nNVML version        : %s (simulated)\n", driver, library);
    printf("DRIVER version      : %s (simulated)\n", driver);
    return EXIT_OK;
}

static int answer(const struct request *request, const struct selection *selection) {
    if (request->version)
        return print_version();
    if (selection->count == 0) {
        puts("No devices were found");
        return EXIT_NOT_FOUND;
    }
    if (request->setting)
        return apply_setting(selection, request->setting, request->value);
    if (request->list)
        return print_list(selection);
    if (request->xml)
        return print_xml(selection);
    if (request->fields)
        return print_csv(selection, request->fields, request->format);
    if (request->p2p)
        return print_p2p(selection, request->p2p);
    return print_table(selection);
}

/* NVML_ERROR_UNKNOWN is 999. */
static int exit_status(int status) {
    return status > 255 ? 255 : status;
}

int main(int argc, char **argv) {
    struct request request = {0};
    struct selection selection = {0};
    nvmlReturn_t result;
    int status = parse(argv, &request);

    (void)argc;
    if (status != EXIT_OK)
        return status;
    if (request.help) {
        fputs(usage, stdout);
        return EXIT_OK;
    }
    /* The functions are linked into this program; but where the library is missing, it must not know them. */
    if (!dlopen("libnvidia-ml.so.1", RTLD_LAZY)) {
        puts("NVIDIA-SMI couldn't find libnvidia-ml.so library in your system. Please make sure that the NVIDIA "
             "Display Driver is properly installed and present in your system.\n"
             "Please also try adding directory that contains libnvidia-ml.so to your system PATH.");
        return NVML_ERROR_LIBRARY_NOT_FOUND;
    }
    result = nvmlInitWithFlags(0);
    if (result != NVML_SUCCESS)
        return exit_status(refuse_without_driver(result));
    result = request.ids ? select_some(&selection, request.ids) : select_all(&selection);
    status = result == NVML_SUCCESS ? answer(&request, &selection) : (int)result;
    nvmlShutdown();
    return exit_status(status);
}
