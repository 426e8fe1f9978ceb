/* nvidia-smi --query-gpu=FIELD,... --format=csv[,noheader][,nounits] */
#include <stdio.h>
#include <string.h>

#include "smi.h"

enum { FIELDS = 128 };

static bool has_word(const char *list, const char *word) {
    size_t length = strlen(word);

    for (const char *at = list; at; at = (at = strchr(at, ',')) ? at + 1 : NULL)
        if (strncmp(at, word, length) == 0 && (at[length] == ',' || at[length] == '\0'))
            return true;
    return false;
}

static void print_header(const struct fact *const facts[], unsigned int count, bool units) {
    for (unsigned int i = 0; i < count; i++) {
        printf("%s%s", i ? ", " : "", facts[i]->name);
        if (facts[i]->unit && units)
            printf(" [%s]", facts[i]->unit);
    }
    putchar('\n');
}

static void print_row(const struct gpu *gpu, const struct fact *const facts[], unsigned int count, bool units) {
    char text[TEXT_SIZE];

    for (unsigned int i = 0; i < count; i++) {
        printf("%s", i ? ", " : "");
        if (!read_fact(facts[i], gpu, text))
            printf("[%s]", text);
        else if (facts[i]->unit && units)
            printf("%s %s", text, facts[i]->unit);
        else
            printf("%s", text);
    }
    putchar('\n');
}

int print_csv(const struct selection *selection, const char *fields, const char *format) {
    const struct fact *facts[FIELDS];
    char list[4096], *rest, *field;
    unsigned int count = 0;

    if (!format || !has_word(format, "csv")) {
        puts("\"--query-gpu=\" switch is missing: \"--format=\" with \"csv\". Run 'nvidia-smi -h'.");
        return EXIT_BAD_ARGUMENT;
    }
    snprintf(list, sizeof list, "%s", fields);
    for (field = strtok_r(list, ", ", &rest); field && count < FIELDS; field = strtok_r(NULL, ", ", &rest)) {
        facts[count] = field[0] == '.' ? NULL : find_fact(field);
        if (!facts[count++]) {
            printf("Field \"%s\" is not a valid field to query.\n\n", field);
            return EXIT_BAD_ARGUMENT;
        }
    }
    if (!has_word(format, "noheader"))
        print_header(facts, count, !has_word(format, "nounits"));
    for (unsigned int i = 0; i < selection->count; i++)
        print_row(&selection->gpus[i], facts, count, !has_word(format, "nounits"));
    return EXIT_OK;
}
