/* Who uses the driver, and what every function asks first. */
#ifndef SESSION_H
#define SESSION_H

#include "state.h"

/* Success if the library is initialised, the device is one, and nothing is told to fail. */
nvmlReturn_t may_enter(const char *function, nvmlDevice_t device);
nvmlReturn_t may_enter_driver(const char *function);

/* How every function begins: it returns at once what speaks against it. */
#define ENTER_AS(question)                  \
    do {                                    \
        nvmlReturn_t answer = (question);   \
        if (answer != NVML_SUCCESS)         \
            return answer;                  \
    } while (0)
#define ENTER(device) ENTER_AS(may_enter(__func__, device))
#define ENTER_DRIVER() ENTER_AS(may_enter_driver(__func__))

/* Hands text over in a caller's buffer. */
nvmlReturn_t give_text(const char *text, char *buffer, unsigned int size);

#endif
