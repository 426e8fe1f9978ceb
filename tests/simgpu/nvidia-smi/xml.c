/* nvidia-smi -q -x */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "document.h"
#include "smi.h"

enum { BELOW_LOG = 1, BELOW_GPU = 2, CLOCKS = 512 };

static void indent(int depth) {
    while (depth-- > 0)
        putchar('\t');
}

static void print_escaped(const char *text) {
    for (; *text; text++)
        switch (*text) {
        case '&':
            fputs("&amp;", stdout);
            break;
        case '<':
            fputs("&lt;", stdout);
            break;
        case '>':
            fputs("&gt;", stdout);
            break;
        default:
            putchar(*text);
        }
}

__attribute__((format(printf, 3, 4))) static void print_text(int depth, const char *name, const char *format, ...) {
    char text[TEXT_SIZE];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    indent(depth);
    printf("<%s>", name);
    print_escaped(text);
    printf("</%s>\n", name);
}

static void print_begin(int depth, const char *name) {
    indent(depth);
    printf("<%s>\n", name);
}

static void print_end(int depth, const char *name) {
    indent(depth);
    printf("</%s>\n", name);
}

static void print_nothing(const struct gpu *gpu) {
    (void)gpu;
}

static void print_none(const struct gpu *gpu) {
    (void)gpu;
    indent(BELOW_GPU + 1);
    puts("None");
}

static void print_event_reasons(const struct gpu *gpu) {
    static const struct {
        const char *name;
        unsigned long long bit;
    } reasons[] = {
        {"clocks_event_reason_gpu_idle", 0x1},
        {"clocks_event_reason_applications_clocks_setting", 0x2},
        {"clocks_event_reason_sw_power_cap", 0x4},
        {"clocks_event_reason_hw_slowdown", 0x8},
        {"clocks_event_reason_hw_thermal_slowdown", 0x40},
        {"clocks_event_reason_hw_power_brake_slowdown", 0x80},
        {"clocks_event_reason_sync_boost", 0x10},
        {"clocks_event_reason_sw_thermal_slowdown", 0x20},
        {"clocks_event_reason_display_clocks_setting", 0x100},
    };
    unsigned long long active = 0;
    nvmlReturn_t result = nvmlDeviceGetCurrentClocksEventReasons(gpu->device, &active);

    for (size_t i = 0; i < COUNT_OF(reasons); i++) {
        const char *state = active & reasons[i].bit ? "Active" : "Not Active";

        print_text(BELOW_GPU + 1, reasons[i].name, "%s", result == NVML_SUCCESS ? state : reason(result));
    }
}

static void print_supported_clocks(const struct gpu *gpu) {
    unsigned int memory[CLOCKS], graphics[CLOCKS], memory_count = CLOCKS, graphics_count;
    nvmlReturn_t result = nvmlDeviceGetSupportedMemoryClocks(gpu->device, &memory_count, memory);

    if (result != NVML_SUCCESS) {
        indent(BELOW_GPU + 1);
        puts(reason(result));
        return;
    }
    for (unsigned int i = 0; i < memory_count; i++) {
        print_begin(BELOW_GPU + 1, "supported_mem_clock");
        print_text(BELOW_GPU + 2, "value", "%u MHz", memory[i]);
        graphics_count = CLOCKS;
        if (nvmlDeviceGetSupportedGraphicsClocks(gpu->device, memory[i], &graphics_count, graphics) == NVML_SUCCESS)
            for (unsigned int j = 0; j < graphics_count; j++)
                print_text(BELOW_GPU + 2, "supported_graphics_clock", "%u MHz", graphics[j]);
        print_end(BELOW_GPU + 1, "supported_mem_clock");
    }
}

static void print_processes(const struct gpu *gpu) {
    struct process processes[PROCESSES];
    unsigned int count = read_processes(gpu, processes);

    for (unsigned int i = 0; i < count; i++) {
        print_begin(BELOW_GPU + 1, "process_info");
        print_text(BELOW_GPU + 2, "gpu_instance_id", "N/A");
        print_text(BELOW_GPU + 2, "compute_instance_id", "N/A");
        print_text(BELOW_GPU + 2, "pid", "%u", processes[i].pid);
        print_text(BELOW_GPU + 2, "type", "%s", processes[i].type);
        print_text(BELOW_GPU + 2, "process_name", "%s", processes[i].name);
        print_text(BELOW_GPU + 2, "used_memory", "%llu MiB", processes[i].mebibytes);
        print_end(BELOW_GPU + 1, "process_info");
    }
}

static const struct {
    const char *name;
    void (*print)(const struct gpu *gpu);
} PARTS[] = {
    {"@nothing", print_nothing},
    {"@none", print_none},
    {"@event_reasons", print_event_reasons},
    {"@supported_clocks", print_supported_clocks},
    {"@processes", print_processes},
};

static void print_part(const struct element *element, const struct gpu *gpu) {
    print_begin(BELOW_GPU, element->name);
    for (size_t i = 0; i < COUNT_OF(PARTS); i++)
        if (strcmp(PARTS[i].name, element->content) == 0)
            PARTS[i].print(gpu);
    print_end(BELOW_GPU, element->name);
}

static void print_fact(const struct element *element, const struct gpu *gpu) {
    const struct fact *fact = find_fact(element->content);
    bool may_be_left_out = element->name[0] == '?';
    const char *name = element->name + may_be_left_out;
    char text[TEXT_SIZE];
    bool told = read_fact(fact, gpu, text);

    if (!told && may_be_left_out && strcmp(text, reason(NVML_ERROR_NOT_SUPPORTED)) == 0)
        return;
    if (told && fact->unit)
        print_text(BELOW_GPU + element->depth, name, "%s %s", text, fact->unit);
    else
        print_text(BELOW_GPU + element->depth, name, "%s", text);
}

static void print_gpu(const struct gpu *gpu) {
    const char *open[8];
    int depth = 0;

    indent(BELOW_LOG);
    printf("<gpu id=\"%s\">\n", gpu->address);
    for (size_t i = 0; i < COUNT_OF(document); i++) {
        const struct element *element = &document[i];

        while (depth > element->depth) {
            depth--;
            print_end(BELOW_GPU + depth, open[depth]);
        }
        if (!element->content) {
            print_begin(BELOW_GPU + depth, element->name);
            open[depth++] = element->name;
        } else if (element->content[0] == '=') {
            print_text(BELOW_GPU + depth, element->name, "%s", element->content + 1);
        } else if (element->content[0] == '@') {
            print_part(element, gpu);
        } else {
            print_fact(element, gpu);
        }
    }
    while (depth-- > 0)
        print_end(BELOW_GPU + depth, open[depth]);
    print_end(BELOW_LOG, "gpu");
    putchar('\n');
}

int print_xml(const struct selection *selection) {
    char driver[TEXT_SIZE] = "N/A";
    unsigned int count = 0;
    int cuda = 0;

    nvmlSystemGetDriverVersion(driver, sizeof driver);
    nvmlSystemGetCudaDriverVersion_v2(&cuda);
    nvmlDeviceGetCount_v2(&count);
    puts("<?xml version=\"1.0\" ?>\n<!DOCTYPE nvidia_smi_log SYSTEM \"nvsmi_device_v13.dtd\">\n<nvidia_smi_log>");
    print_text(BELOW_LOG, "timestamp", "%s", timestamp("%a %b %e %H:%M:%S %Y"));
    print_text(BELOW_LOG, "driver_version", "%s", driver);
    print_text(BELOW_LOG, "cuda_version", "%d.%d", cuda / 1000, cuda % 1000 / 10);
    print_text(BELOW_LOG, "attached_gpus", "%u", count);
    for (unsigned int i = 0; i < selection->count; i++)
        print_gpu(&selection->gpus[i]);
    puts("</nvidia_smi_log>");
    return EXIT_OK;
}
