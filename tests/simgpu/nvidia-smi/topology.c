/* nvidia-smi topo -p2p r|w|n|a|p */
#include <stdio.h>
#include <string.h>

#include "smi.h"

int print_p2p(const struct selection *selection, const char *capability) {
    static const char letters[] = "rwnap"; /* in the order of NVML's numbers */
    const char *letter = capability && *capability && !capability[1] ? strchr(letters, *capability) : NULL;

    if (!letter) {
        printf("Invalid p2p capability \"%s\". Run 'nvidia-smi topo -h'.\n", capability ? capability : "");
        return EXIT_BAD_ARGUMENT;
    }
    putchar(' ');
    for (unsigned int column = 0; column < selection->count; column++)
        printf("\tGPU%u", selection->gpus[column].index);
    for (unsigned int row = 0; row < selection->count; row++) {
        printf("\t\n GPU%u", selection->gpus[row].index);
        for (unsigned int column = 0; column < selection->count; column++) {
            unsigned int status = NVML_P2P_STATUS_OK;
            nvmlReturn_t result = nvmlDeviceGetP2PStatus(selection->gpus[row].device, selection->gpus[column].device,
                                                         (unsigned int)(letter - letters), &status);

            printf("\t%s", row == column ? "X" : result == NVML_SUCCESS ? name_of(status, P2P_STATUSES) : "U");
        }
    }
    puts("\t\n\nLegend:\n\n"
         "  X    = Self\n"
         "  OK   = Status Ok\n"
         "  CNS  = Chipset not supported\n"
         "  GNS  = GPU not supported\n"
         "  TNS  = Topology not supported\n"
         "  NS   = Not supported\n"
         "  U    = Unknown");
    return EXIT_OK;
}
