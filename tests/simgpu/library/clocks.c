/* Clocks: what runs, under which lock, and what could. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session.h"

static const struct {
    const char *current, *maximum, *lock;
} kinds[NVML_CLOCK_COUNT] = {
    [NVML_CLOCK_GRAPHICS] = {"clock_graphics", "clock_graphics_max", "locked_graphics_clocks"},
    [NVML_CLOCK_SM] = {"clock_graphics", "clock_graphics_max", "locked_graphics_clocks"},
    [NVML_CLOCK_MEM] = {"clock_memory", "clock_memory_max", "locked_memory_clocks"},
    [NVML_CLOCK_VIDEO] = {"clock_video", "clock_video_max", NULL},
};

static nvmlReturn_t give_clock(nvmlDevice_t device, const char *name, unsigned int *clock) {
    unsigned long long number;
    nvmlReturn_t result = numeric_attribute(device, name, &number);

    if (result == NVML_SUCCESS)
        *clock = (unsigned int)number;
    return result;
}

static unsigned int within(unsigned int clock, unsigned int minimum, unsigned int maximum) {
    return clock > maximum ? maximum : clock < minimum ? minimum : clock;
}

/* The clock of an idle GPU, moved into the lock; one that was put into live/ is a clock that does not obey. */
nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t device, nvmlClockType_t type, unsigned int *clock) {
    char lock[VALUE_SIZE];
    unsigned int highest = ~0u, minimum, maximum;
    nvmlReturn_t result;

    ENTER(device);
    if (type >= NVML_CLOCK_COUNT)
        return NVML_ERROR_INVALID_ARGUMENT;
    result = give_clock(device, kinds[type].current, clock);
    if (result != NVML_SUCCESS || !kinds[type].lock || value_exists("live/%d/%s", device->slot, kinds[type].current))
        return result;
    give_clock(device, kinds[type].maximum, &highest);
    if (attribute(device, kinds[type].lock, lock) == NVML_SUCCESS && sscanf(lock, "%u %u", &minimum, &maximum) == 2)
        *clock = within(within(*clock, minimum, maximum), 0, highest);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMaxClockInfo(nvmlDevice_t device, nvmlClockType_t type, unsigned int *clock) {
    ENTER(device);
    return type < NVML_CLOCK_COUNT ? give_clock(device, kinds[type].maximum, clock) : NVML_ERROR_INVALID_ARGUMENT;
}

/* A list that a caller gave room for: `count` says how much, and is told how much it takes. */
struct list {
    unsigned int room, length, *clocks;
};

static struct list list_of(const unsigned int *count, unsigned int *clocks) {
    return (struct list){.room = clocks ? *count : 0, .clocks = clocks};
}

static void append(struct list *list, unsigned int clock) {
    if (list->length < list->room)
        list->clocks[list->length] = clock;
    list->length++;
}

static nvmlReturn_t give_list(const struct list *list, unsigned int *count) {
    *count = list->length;
    return list->length <= list->room ? NVML_SUCCESS : NVML_ERROR_INSUFFICIENT_SIZE;
}

nvmlReturn_t nvmlDeviceGetSupportedMemoryClocks(nvmlDevice_t device, unsigned int *count, unsigned int *clocks) {
    struct list list = list_of(count, clocks);
    char value[VALUE_SIZE], *rest, *word;
    nvmlReturn_t result;

    ENTER(device);
    result = attribute(device, "memory_clocks", value);
    if (result != NVML_SUCCESS)
        return result;
    for (word = strtok_r(value, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
        append(&list, (unsigned int)atoi(word));
    return give_list(&list, count);
}

static bool supports_memory_clock(nvmlDevice_t device, unsigned int wanted) {
    char value[VALUE_SIZE], *rest, *word;

    if (attribute(device, "memory_clocks", value) != NVML_SUCCESS)
        return false;
    for (word = strtok_r(value, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
        if ((unsigned int)atoi(word) == wanted)
            return true;
    return false;
}

/* Kept as "lowest highest step"; a memory clock may have a range of its own. */
nvmlReturn_t nvmlDeviceGetSupportedGraphicsClocks(nvmlDevice_t device, unsigned int memory_clock, unsigned int *count,
                                                  unsigned int *clocks) {
    struct list list = list_of(count, clocks);
    char own[32], value[VALUE_SIZE];
    unsigned int lowest, highest, step;

    ENTER(device);
    snprintf(own, sizeof own, "graphics_clocks_%u", memory_clock);
    if (attribute(device, own, value) != NVML_SUCCESS && attribute(device, "graphics_clocks", value) != NVML_SUCCESS)
        return NVML_ERROR_NOT_SUPPORTED;
    if (!supports_memory_clock(device, memory_clock))
        return NVML_ERROR_NOT_FOUND;
    if (sscanf(value, "%u %u %u", &lowest, &highest, &step) != 3 || step == 0)
        return NVML_ERROR_UNKNOWN;
    for (unsigned int clock = highest; clock >= lowest && clock <= highest; clock -= step)
        append(&list, clock);
    return give_list(&list, count);
}
