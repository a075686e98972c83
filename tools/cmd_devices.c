/* mmioshim devices [NAME]: the device models and host ends, from the tables that they are made of. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "backends/backend.h"
#include "base/fmt.h"
#include "devices/classes.h"
#include "pci/models.h"
#include "tool.h"

static const char help[] =
    "Usage: mmioshim devices [--json] [NAME]\n"
    "\n"
    "Lists the device models with the device-tree strings they answer to, and the host ends\n"
    "that a device can be attached to (MMIOSHIM_ATTACH, mmioshim run --attach), and what can be\n"
    "put on the PCI bus.\n"
    "\n"
    "  NAME        a model (ns16550a) or a compatible string: its properties and registers;\n"
    "              a model of a PCI function (testdev): its options\n"
    "  -j, --json  one JSON object a line, with everything\n"
    "  -h, --help  this text\n";

static const char *access_word(const struct mmioshim_register *reg)
{
    static const char *const words[] = {[MMIOSHIM_RW] = "rw", [MMIOSHIM_RO] = "ro", [MMIOSHIM_WO] = "wo"};

    return reg->access < ARRAY_SIZE(words) ? words[reg->access] : "?";
}

static bool is_array(const struct mmioshim_register *reg)
{
    return reg->count > 1;
}

static void print_strings(const char *const *strings, const char *separator)
{
    for (const char *const *s = strings; *s; s++)
        printf("%s%s", s == strings ? "" : separator, *s);
}

/* ---- text ---- */

static void print_model_line(const struct mmioshim_class *class)
{
    printf("  %-14s %-14s %s\n", class->name, class->label, class->description);
    if (!class->compatible[0])
        return;
    printf("  %-29s compatible: ", "");
    print_strings(class->compatible, ", ");
    putchar('\n');
}

/* Does a device take it? The others are opened by what is plugged in, and never named. */
static bool is_taken(const struct backend_ops *kind)
{
    for (u32 i = 0; i < device_class_count; i++)
        for (const char *const *name = device_classes[i]->backends; name && *name; name++)
            if (strcmp(*name, kind->name) == 0)
                return true;
    return false;
}

static void print_backends(void)
{
    printf("Host ends (NODE=KIND...):\n");
    for (const struct backend_ops *const *kind = backend_kinds; *kind; kind++) {
        char use[96];

        if (!is_taken(*kind))
            continue;
        snprintf(use, sizeof(use), "%s%s", (*kind)->name, (*kind)->options);
        printf("  %-29s %s\n", use, (*kind)->doc);
    }
}

static void print_parts_of(const struct mmioshim_class *class)
{
    for (const struct mmioshim_property *part = class->parts; part && part->name; part++) {
        if (strlen(part->name) <= 29)
            printf("  %-29s %s\n", part->name, part->doc);
        else
            printf("  %s\n%32s%s\n", part->name, "", part->doc);
    }
}

/* Transports of one kind of device take the same parts. */
static bool parts_are_new(u32 class)
{
    for (u32 i = 0; i < class; i++)
        if (device_classes[i]->parts == device_classes[class]->parts)
            return false;
    return true;
}

static void print_parts(void)
{
    printf("\nWhat can be plugged into slots (NODE=PART...):\n");
    for (u32 i = 0; i < device_class_count; i++)
        if (parts_are_new(i))
            print_parts_of(device_classes[i]);
}

static void print_functions(void)
{
    printf("\nPCI functions (pci:BUS:DEVICE.FUNCTION=MODEL[,OPTION...]):\n");
    for (u32 i = 0; i < pci_model_count; i++)
        printf("  %-29s %s\n", pci_models[i]->name, pci_models[i]->description);
}

static void print_all(void)
{
    printf("Models:\n");
    for (u32 i = 0; i < device_class_count; i++)
        print_model_line(device_classes[i]);
    putchar('\n');
    print_backends();
    print_parts();
    print_functions();
    printf("\nMore about one of them: mmioshim devices NAME\n");
}

static void print_widths(const struct mmioshim_class *class)
{
    const char *separator = "";

    if (!class->widths) {
        printf("any\n");
        return;
    }
    for (unsigned width = 1; width <= 64; width *= 2)
        if (class->widths & width) {
            printf("%s%u", separator, width);
            separator = ", ";
        }
    printf(" bytes%s\n", class->split ? "; wider ones reach the registers one after another" : "");
}

static void print_facts(const struct mmioshim_class *class)
{
    printf("%s: %s\n", class->name, class->description);
    printf("  label       %s\n", class->label);
    if (class->compatible[0]) {
        printf("  compatible  ");
        print_strings(class->compatible, ", ");
        putchar('\n');
    }
    printf("  window      at least %llu bytes\n", (unsigned long long)(class->min_size ? class->min_size : 1));
    printf("  bus widths  ");
    print_widths(class);
    printf("  interrupts  %u\n", class->lines);
    if (class->backends) {
        printf("  host ends   ");
        print_strings(class->backends, ", ");
        printf(" (default %s)\n", class->backends[0]);
    }
    if (class->parts) {
        printf("\nWhat can be plugged in (NODE=PART...):\n");
        print_parts_of(class);
    }
    if (class->properties) {
        printf("\nProperties of the node:\n");
        for (const struct mmioshim_property *p = class->properties; p->name; p++)
            printf("  %-16s %s\n", p->name, p->doc);
    }
}

/* "THRE 5, TRIGGER 7:6" */
static void print_fields(const struct mmioshim_register *reg)
{
    printf("%39s", "");
    for (unsigned i = 0; i < reg->nfields; i++) {
        const struct mmioshim_field *field = &reg->fields[i];

        printf("%s%s %u", i ? ", " : "", field->name, field->lsb + (field->width > 1 ? field->width - 1u : 0));
        if (field->width > 1)
            printf(":%u", field->lsb);
    }
    putchar('\n');
}

static void print_register(const struct mmioshim_register *reg)
{
    char name[64];

    if (is_array(reg))
        snprintf(name, sizeof(name), "%s[%u]", reg->name, reg->count);
    else
        snprintf(name, sizeof(name), "%s", reg->name);
    printf("  0x%03x   %-18s %5u  %-2s  %s", reg->offset, name, reg->width, access_word(reg), reg->doc);
    if (is_array(reg))
        printf(", %u bytes apart", reg->stride);
    putchar('\n');
    if (reg->nfields)
        print_fields(reg);
}

static void print_model(const struct mmioshim_class *class)
{
    print_facts(class);
    if (!class->nregisters) {
        printf("\nNo registers.\n");
        return;
    }
    printf("\nRegisters:\n  %-6s  %-18s %5s  %-2s  %s\n", "offset", "name", "bytes", "", "meaning, bits");
    for (u16 i = 0; i < class->nregisters; i++)
        print_register(&class->registers[i]);
}

/* ---- PCI functions ---- */

static int function_named(const char *name)
{
    for (u32 i = 0; i < pci_model_count; i++)
        if (strcmp(pci_models[i]->name, name) == 0)
            return (int)i;
    return pci_model_compatible(name);
}

static void print_function(const struct pci_model *model)
{
    printf("%s: %s\n", model->name, model->description);
    printf("  ids         %04x:%04x, class 0x%06x\n", model->vendor, model->device, model->class);
    printf("  compatible  " PCI_COMPATIBLE "%s, below a PCI host; options in " PCI_OPTIONS "\n", model->name);
    for (unsigned i = 0; i < PCI_BARS; i++)
        if (model->bars[i].size)
            printf("  BAR %u       0x%llx bytes: %s\n", i, (unsigned long long)model->bars[i].size, model->bars[i].class->name);
    if (model->options)
        printf("\nOptions:\n");
    for (const struct mmioshim_property *o = model->options; o && o->name; o++) {
        if (strlen(o->name) <= 29)
            printf("  %-29s %s\n", o->name, o->doc);
        else
            printf("  %s\n%32s%s\n", o->name, "", o->doc);
    }
}

/* ---- JSON ---- */

static void json_text(const char *key, const char *text)
{
    char buf[1024];
    struct fmt out = FMT_INIT(buf);

    fmt_json(&out, text);
    printf("\"%s\":\"%.*s\"", key, (int)out.len, buf);
}

static void json_strings(const char *key, const char *const *strings)
{
    printf("\"%s\":[", key);
    for (const char *const *s = strings; s && *s; s++)
        printf("%s\"%s\"", s == strings ? "" : ",", *s);
    putchar(']');
}

static void json_register(const struct mmioshim_register *reg)
{
    putchar('{');
    json_text("name", reg->name);
    printf(",\"offset\":%u,\"width\":%u,\"access\":\"%s\",", reg->offset, reg->width, access_word(reg));
    if (is_array(reg))
        printf("\"count\":%u,\"stride\":%u,", reg->count, reg->stride);
    if (reg->view)
        printf("\"view\":%u,", reg->view);
    json_text("doc", reg->doc);
    printf(",\"fields\":[");
    for (unsigned i = 0; i < reg->nfields; i++) {
        printf("%s{", i ? "," : "");
        json_text("name", reg->fields[i].name);
        printf(",\"lsb\":%u,\"width\":%u}", reg->fields[i].lsb, reg->fields[i].width);
    }
    printf("]}");
}

static void json_widths(const struct mmioshim_class *class)
{
    const char *separator = "";

    printf("\"widths\":[");
    for (unsigned width = 1; width <= 64; width *= 2)
        if (!class->widths || (class->widths & width)) {
            printf("%s%u", separator, width);
            separator = ",";
        }
    printf("],");
}

static void json_properties(const char *key, const struct mmioshim_property *list)
{
    printf("\"%s\":[", key);
    for (const struct mmioshim_property *p = list; p && p->name; p++) {
        printf("%s{", p == list ? "" : ",");
        json_text("name", p->name);
        putchar(',');
        json_text("doc", p->doc);
        putchar('}');
    }
    printf("],");
}

static void json_model(const struct mmioshim_class *class)
{
    printf("{\"type\":\"model\",");
    json_text("name", class->name);
    putchar(',');
    json_text("label", class->label);
    putchar(',');
    json_text("description", class->description);
    putchar(',');
    json_strings("compatible", class->compatible);
    printf(",\"min_size\":%llu,", (unsigned long long)class->min_size);
    json_widths(class);
    printf("\"split\":%s,\"interrupts\":%u,", class->split ? "true" : "false", class->lines);
    json_strings("backends", class->backends);
    putchar(',');
    json_properties("parts", class->parts);
    json_properties("properties", class->properties);
    printf("\"registers\":[");
    for (u16 i = 0; i < class->nregisters; i++) {
        if (i)
            putchar(',');
        json_register(&class->registers[i]);
    }
    printf("]}\n");
}

static void json_function(const struct pci_model *model)
{
    printf("{\"type\":\"pci-model\",");
    json_text("name", model->name);
    putchar(',');
    json_text("description", model->description);
    printf(",\"vendor\":%u,\"device\":%u,\"class\":%u,", model->vendor, model->device, model->class);
    json_properties("options", model->options);
    printf("\"bars\":[");
    for (unsigned i = 0, n = 0; i < PCI_BARS; i++)
        if (model->bars[i].size) {
            printf("%s{\"bar\":%u,\"size\":%llu,", n++ ? "," : "", i, (unsigned long long)model->bars[i].size);
            json_text("model", model->bars[i].class->name);
            putchar('}');
        }
    printf("]}\n");
}

static void json_all(void)
{
    for (u32 i = 0; i < device_class_count; i++)
        json_model(device_classes[i]);
    for (const struct backend_ops *const *kind = backend_kinds; *kind; kind++) {
        if (!is_taken(*kind))
            continue;
        printf("{\"type\":\"backend\",");
        json_text("name", (*kind)->name);
        putchar(',');
        json_text("options", (*kind)->options);
        putchar(',');
        json_text("doc", (*kind)->doc);
        printf("}\n");
    }
    for (u32 i = 0; i < pci_model_count; i++)
        json_function(pci_models[i]);
}

/* ---- command ---- */

static int show_one(const char *name, bool json)
{
    const struct mmioshim_class *class = class_by_name(name);

    if (!class && function_named(name) >= 0) {
        const struct pci_model *model = pci_models[function_named(name)];

        if (json)
            json_function(model);
        else
            print_function(model);
        return 0;
    }
    if (!class) {
        char known[512];
        struct fmt list = FMT_INIT(known);

        for (u32 i = 0; i < device_class_count; i++)
            fmt_printf(&list, "%s%s", i ? ", " : "", device_classes[i]->name);
        for (u32 i = 0; i < pci_model_count; i++)
            fmt_printf(&list, ", %s", pci_models[i]->name);
        tool_error("unknown model '%s'; known: %s", name, fmt_end(&list));
        return TOOL_FAILED;
    }
    if (json)
        json_model(class);
    else
        print_model(class);
    return 0;
}

int cmd_devices(int argc, char **argv)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    bool json = false;
    int option;

    opterr = 0;
    while ((option = getopt_long(argc, argv, "jh", options, NULL)) != -1) {
        if (option == 'h') {
            fputs(help, stdout);
            return 0;
        }
        if (option != 'j') {
            tool_error("unknown option %s; see mmioshim devices --help", argv[optind - 1]);
            return TOOL_ERROR;
        }
        json = true;
    }
    if (argc - optind > 1) {
        tool_error("one NAME at most; see mmioshim devices --help");
        return TOOL_ERROR;
    }
    if (optind < argc)
        return show_one(argv[optind], json);
    if (json)
        json_all();
    else
        print_all();
    return 0;
}
