/* A stand-in for libnvidia-ml.so.1, for tests: it answers NVML's questions from a text file.
 *
 * The file is named by standin_use() or by the environment variable STANDIN_NVML, and is read again when it has
 * changed (replace it by a rename). One "key=value" a line; "#" starts a comment. A key that is absent makes the
 * question NOT_SUPPORTED, so a card is the list of what it can answer.
 *
 *   device_count=2  driver_version=...  cuda_version=12040
 *   0.name=...  0.uuid=...  0.mem_total=...          figures of device 0; text may hold \xNN
 *   err.nvmlDeviceGetPowerUsage=15                   this return code from the function, for every device
 *   0.err.nvmlDeviceGetPowerUsage=15                 the same for one device
 *   0.err=15                                         the same for every question about one device
 *   delay_us.nvmlInitWithFlags=30000000              the function answers late; removing the line ends the wait
 *   0.epoch=2                                        handles that were given out under another epoch are lost
 *   driver_epoch=2                                   so is everything, until NVML is started again
 *   0.energy_mj=...  0.energy_mj.per_s=300000        counters may go up by themselves, from the library's load on
 *   0.field.186=...  .type=1  .err=3  .per_s=...     a field value, its nvmlValueType_t (3 if absent), return code, rate
 *   0.processes.compute=1234:1048576 77:-            process ids and bytes; "-" is "not available"; also .graphics
 *   0.process_util=1234:55:1700000000000000          process id, percent of the SMs, time stamp in µs
 *   0.mig_mode=1  0.mig_max=7  0.mig0.name=...       a card in slices; what is not there is NOT_FOUND
 *   0.gpm=1  0.gpm.10=43.5  0.gpm.10.err=4           performance counters, in percent
 *   gpm_apart_us=100000                              samples that are closer are refused
 *
 * OLD_DRIVER leaves out what a driver of the R470 branch does not export.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    SUCCESS = 0,
    UNINITIALIZED = 1,
    INVALID_ARGUMENT = 2,
    NOT_SUPPORTED = 3,
    NOT_FOUND = 6,
    INSUFFICIENT_SIZE = 7,
    DRIVER_NOT_LOADED = 9,
    GPU_IS_LOST = 15,
    ARGUMENT_VERSION_MISMATCH = 25
};

enum { MOST_LINES = 1024, LONGEST_KEY = 128, LONGEST_LINE = 2048, MOST_DEVICES = 64, MOST_SLICES = 8 };

struct line {
    char key[LONGEST_KEY];
    char value[LONGEST_LINE];
};

/* 1 + index + 1000 × epoch: never a null pointer. Slice j of device i has the index 64 + 8 × i + j. */
typedef uintptr_t handle_t;

static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static char state_path[4096];
static struct line lines[MOST_LINES];
static int line_count;
static struct stat seen;
static int started;
static long long started_epoch;

/* ---- the state file ---- */

static void load(void)
{
    const char *path = state_path[0] ? state_path : getenv("STANDIN_NVML");
    struct stat now;
    char text[LONGEST_LINE + LONGEST_KEY];
    FILE *file;

    if (path == NULL || stat(path, &now) != 0) {
        line_count = 0;
        memset(&seen, 0, sizeof seen);
        return;
    }
    if (now.st_ino == seen.st_ino && now.st_size == seen.st_size && now.st_mtim.tv_sec == seen.st_mtim.tv_sec &&
        now.st_mtim.tv_nsec == seen.st_mtim.tv_nsec)
        return;
    file = fopen(path, "r");
    if (file == NULL)
        return;
    line_count = 0;
    seen = now;
    while (line_count < MOST_LINES && fgets(text, sizeof text, file) != NULL) {
        char *equals = strchr(text, '=');
        text[strcspn(text, "\n")] = '\0';
        if (text[0] == '#' || equals == NULL)
            continue;
        *equals = '\0';
        snprintf(lines[line_count].key, sizeof lines[line_count].key, "%.*s", LONGEST_KEY - 1, text);
        snprintf(lines[line_count].value, sizeof lines[line_count].value, "%.*s", LONGEST_LINE - 1, equals + 1);
        line_count++;
    }
    fclose(file);
}

static const char *look_up(const char *format, ...)
{
    char key[160];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(key, sizeof key, format, arguments);
    va_end(arguments);
    for (int i = 0; i < line_count; i++)
        if (strcmp(lines[i].key, key) == 0)
            return lines[i].value;
    return NULL;
}

static long long number_or(const char *text, long long otherwise)
{
    return text == NULL ? otherwise : (long long)strtoull(text, NULL, 0);
}

/* ---- what every function does first ---- */

static void wait_as_told(const char *function)
{
    long long waited_us = 0;

    for (;;) {
        long long wanted_us;
        pthread_mutex_lock(&guard);
        load();
        wanted_us = number_or(look_up("delay_us.%s", function), 0);
        pthread_mutex_unlock(&guard);
        if (waited_us >= wanted_us)
            return;
        long long step_us = wanted_us - waited_us < 5000 ? wanted_us - waited_us : 5000;
        usleep((useconds_t)step_us);
        waited_us += step_us;
    }
}

/* With the guard held. */
static int refusal(const char *function)
{
    if (!started || number_or(look_up("driver_epoch"), 0) != started_epoch)
        return UNINITIALIZED;
    return (int)number_or(look_up("err.%s", function), SUCCESS);
}

/* What the keys of a device or a slice begin with: "0", "0.mig1". */
static const char *prefix_of(handle_t handle)
{
    static __thread char prefix[32];
    int index = (int)((handle - 1) % 1000);
    int slice = index - MOST_DEVICES;

    if (slice < 0)
        snprintf(prefix, sizeof prefix, "%d", index);
    else
        snprintf(prefix, sizeof prefix, "%d.mig%d", slice / MOST_SLICES, slice % MOST_SLICES);
    return prefix;
}

static int device_refusal(const char *function, handle_t handle)
{
    const char *prefix = prefix_of(handle);
    int code = refusal(function);

    if (code != SUCCESS)
        return code;
    if (handle == 0)
        return INVALID_ARGUMENT;
    if (number_or(look_up("%s.epoch", prefix), 0) != (long long)((handle - 1) / 1000))
        return GPU_IS_LOST;
    code = (int)number_or(look_up("%s.err", prefix), SUCCESS);
    return code != SUCCESS ? code : (int)number_or(look_up("%s.err.%s", prefix, function), SUCCESS);
}

/* The answer of a device under `key`; the guard is held on return only if this is SUCCESS. */
static int device_answer(const char *function, handle_t handle, const char *key, const char **value)
{
    int code;

    wait_as_told(function);
    pthread_mutex_lock(&guard);
    code = device_refusal(function, handle);
    if (code == SUCCESS) {
        *value = look_up("%s.%s", prefix_of(handle), key);
        if (*value != NULL)
            return SUCCESS;
        code = NOT_SUPPORTED;
    }
    pthread_mutex_unlock(&guard);
    return code;
}

static int device_number(const char *function, handle_t handle, const char *key, unsigned long long *answer)
{
    const char *value;
    int code = device_answer(function, handle, key, &value);

    if (code != SUCCESS)
        return code;
    *answer = strtoull(value, NULL, 0);
    pthread_mutex_unlock(&guard);
    return SUCCESS;
}

/* With the guard held: what a counter under `key` has grown by since the library was loaded. */
static unsigned long long grown(handle_t handle, const char *key)
{
    static struct timespec start;
    struct timespec now;
    const char *per_s = look_up("%s.%s.per_s", prefix_of(handle), key);

    clock_gettime(CLOCK_MONOTONIC, &now);
    if (start.tv_sec == 0)
        start = now;
    if (per_s == NULL)
        return 0;
    return (unsigned long long)(atof(per_s) * ((double)(now.tv_sec - start.tv_sec) +
                                               (double)(now.tv_nsec - start.tv_nsec) / 1e9));
}

static int device_uint(const char *function, handle_t handle, const char *key, unsigned int *answer)
{
    unsigned long long number;
    int code = device_number(function, handle, key, &number);

    if (code == SUCCESS)
        *answer = (unsigned int)number;
    return code;
}

static int hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Copies `text` with \xNN as the byte NN. */
static int copy_text(const char *text, char *out, unsigned int size)
{
    unsigned int n = 0;

    while (*text != '\0') {
        if (n + 1 >= size)
            return INSUFFICIENT_SIZE;
        if (text[0] == '\\' && text[1] == 'x' && hex(text[2]) >= 0 && hex(text[3]) >= 0) {
            out[n++] = (char)(hex(text[2]) * 16 + hex(text[3]));
            text += 4;
        } else {
            out[n++] = *text++;
        }
    }
    out[n] = '\0';
    return SUCCESS;
}

static int device_text(const char *function, handle_t handle, const char *key, char *out, unsigned int size)
{
    const char *value;
    int code = device_answer(function, handle, key, &value);

    if (code != SUCCESS)
        return code;
    code = copy_text(value, out, size);
    pthread_mutex_unlock(&guard);
    return code;
}

/* ---- for the tests ---- */

void standin_use(const char *path)
{
    pthread_mutex_lock(&guard);
    snprintf(state_path, sizeof state_path, "%s", path);
    memset(&seen, 0, sizeof seen);
    started = 0;
    pthread_mutex_unlock(&guard);
}

int standin_started(void)
{
    return started;
}

/* ---- the system ---- */

int nvmlInitWithFlags(unsigned int flags)
{
    int code;

    (void)flags;
    wait_as_told(__func__);
    pthread_mutex_lock(&guard);
    code = (int)number_or(look_up("err.%s", __func__), line_count ? SUCCESS : DRIVER_NOT_LOADED);
    if (code == SUCCESS) {
        started++;
        started_epoch = number_or(look_up("driver_epoch"), 0);
    }
    pthread_mutex_unlock(&guard);
    return code;
}

int nvmlInit_v2(void)
{
    return nvmlInitWithFlags(0);
}

int nvmlShutdown(void)
{
    int code = SUCCESS;

    wait_as_told(__func__);
    pthread_mutex_lock(&guard);
    if (started > 0)
        started--;
    else
        code = UNINITIALIZED;
    pthread_mutex_unlock(&guard);
    return code;
}

const char *nvmlErrorString(int code)
{
    return code == SUCCESS ? "Success" : "An error of the stand-in";
}

static int system_value(const char *function, const char *key, const char **value)
{
    int code;

    wait_as_told(function);
    pthread_mutex_lock(&guard);
    code = refusal(function);
    if (code == SUCCESS) {
        *value = look_up("%s", key);
        if (*value != NULL)
            return SUCCESS;
        code = NOT_SUPPORTED;
    }
    pthread_mutex_unlock(&guard);
    return code;
}

static int system_int(const char *function, const char *key, int *answer)
{
    const char *value;
    int code = system_value(function, key, &value);

    if (code != SUCCESS)
        return code;
    *answer = (int)strtoull(value, NULL, 0);
    pthread_mutex_unlock(&guard);
    return SUCCESS;
}

int nvmlSystemGetDriverVersion(char *out, unsigned int size)
{
    const char *value;
    int code = system_value(__func__, "driver_version", &value);

    if (code != SUCCESS)
        return code;
    code = copy_text(value, out, size);
    pthread_mutex_unlock(&guard);
    return code;
}

int nvmlSystemGetCudaDriverVersion(int *version)
{
    return system_int(__func__, "cuda_version", version);
}

int nvmlDeviceGetCount_v2(unsigned int *count)
{
    return system_int(__func__, "device_count", (int *)count);
}

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, handle_t *handle)
{
    int code;

    wait_as_told(__func__);
    pthread_mutex_lock(&guard);
    code = refusal(__func__);
    if (code == SUCCESS && index >= MOST_DEVICES)
        code = INVALID_ARGUMENT;
    if (code == SUCCESS && (long long)index >= number_or(look_up("device_count"), 0))
        code = INVALID_ARGUMENT;
    if (code == SUCCESS) {
        *handle = 1 + index + 1000 * (handle_t)number_or(look_up("%u.epoch", index), 0);
        code = device_refusal(__func__, *handle);
    }
    pthread_mutex_unlock(&guard);
    return code;
}

/* ---- devices ---- */

int nvmlDeviceGetName(handle_t device, char *out, unsigned int size)
{
    return device_text(__func__, device, "name", out, size);
}

/* Asked by gpustat alone. */
int nvmlDeviceGetIndex(handle_t device, unsigned int *index)
{
    int code;

    wait_as_told(__func__);
    pthread_mutex_lock(&guard);
    code = device_refusal(__func__, device);
    if (code == SUCCESS)
        *index = (unsigned int)((device - 1) % 1000);
    pthread_mutex_unlock(&guard);
    return code;
}

int nvmlDeviceGetUUID(handle_t device, char *out, unsigned int size)
{
    return device_text(__func__, device, "uuid", out, size);
}

int nvmlDeviceGetCudaComputeCapability(handle_t device, int *major, int *minor)
{
    unsigned int high, low;
    int code = device_uint(__func__, device, "cc_major", &high);

    if (code == SUCCESS)
        code = device_uint(__func__, device, "cc_minor", &low);
    if (code == SUCCESS) {
        *major = (int)high;
        *minor = (int)low;
    }
    return code;
}

struct memory_v1 {
    unsigned long long total, free, used;
};

/* As drivers since R510 answer it: the reserve is counted as used. */
int nvmlDeviceGetMemoryInfo(handle_t device, struct memory_v1 *memory)
{
    unsigned long long reserved = 0;
    int code = device_number(__func__, device, "mem_total", &memory->total);

    if (code == SUCCESS)
        code = device_number(__func__, device, "mem_used", &memory->used);
    if (code == SUCCESS)
        code = device_number(__func__, device, "mem_free", &memory->free);
    if (code == SUCCESS && device_number(__func__, device, "mem_reserved", &reserved) == SUCCESS)
        memory->used += reserved;
    return code;
}

struct utilization {
    unsigned int gpu, memory;
};

int nvmlDeviceGetUtilizationRates(handle_t device, struct utilization *rates)
{
    int code = device_uint(__func__, device, "util_gpu", &rates->gpu);

    return code != SUCCESS ? code : device_uint(__func__, device, "util_mem", &rates->memory);
}

int nvmlDeviceGetPowerUsage(handle_t device, unsigned int *milliwatts)
{
    return device_uint(__func__, device, "power_mw", milliwatts);
}

int nvmlDeviceGetEnforcedPowerLimit(handle_t device, unsigned int *milliwatts)
{
    return device_uint(__func__, device, "power_limit_mw", milliwatts);
}

int nvmlDeviceGetPowerManagementLimit(handle_t device, unsigned int *milliwatts)
{
    return device_uint(__func__, device, "power_limit_mw", milliwatts);
}

int nvmlDeviceGetTemperature(handle_t device, unsigned int sensor, unsigned int *celsius)
{
    return sensor == 0 ? device_uint(__func__, device, "temperature", celsius) : INVALID_ARGUMENT;
}

int nvmlDeviceGetFanSpeed(handle_t device, unsigned int *percent)
{
    return device_uint(__func__, device, "fan", percent);
}

int nvmlDeviceGetClockInfo(handle_t device, unsigned int type, unsigned int *megahertz)
{
    static const char *const keys[] = {"graphics_clock", "sm_clock", "mem_clock", "video_clock"};

    return type < 4 ? device_uint(__func__, device, keys[type], megahertz) : INVALID_ARGUMENT;
}

int nvmlDeviceGetCurrentClocksThrottleReasons(handle_t device, unsigned long long *reasons)
{
    return device_number(__func__, device, "clock_reasons", reasons);
}

int nvmlDeviceGetMaxClockInfo(handle_t device, unsigned int type, unsigned int *megahertz)
{
    static const char *const keys[] = {"graphics_clock_max", "sm_clock_max", "mem_clock_max", "video_clock_max"};

    return type < 4 ? device_uint(__func__, device, keys[type], megahertz) : INVALID_ARGUMENT;
}

int nvmlDeviceGetCurrPcieLinkGeneration(handle_t device, unsigned int *generation)
{
    return device_uint(__func__, device, "pcie_gen", generation);
}

int nvmlDeviceGetMaxPcieLinkGeneration(handle_t device, unsigned int *generation)
{
    return device_uint(__func__, device, "pcie_gen_max", generation);
}

int nvmlDeviceGetCurrPcieLinkWidth(handle_t device, unsigned int *lanes)
{
    return device_uint(__func__, device, "pcie_width", lanes);
}

int nvmlDeviceGetMaxPcieLinkWidth(handle_t device, unsigned int *lanes)
{
    return device_uint(__func__, device, "pcie_width_max", lanes);
}

int nvmlDeviceGetTotalEnergyConsumption(handle_t device, unsigned long long *millijoules)
{
    const char *value;
    int code = device_answer(__func__, device, "energy_mj", &value);

    if (code != SUCCESS)
        return code;
    *millijoules = strtoull(value, NULL, 0) + grown(device, "energy_mj");
    pthread_mutex_unlock(&guard);
    return SUCCESS;
}

/* ---- field values ---- */

union value {
    double real;
    unsigned int uint;
    unsigned long ulong;
    unsigned long long ullong;
    long long sllong;
    int sint;
    unsigned short ushort;
};

struct field_value {
    unsigned int field, scope;
    long long timestamp, latency_us;
    int type;
    int code;
    union value value;
};

/* With the guard held. */
static void fill_field(handle_t device, struct field_value *out)
{
    char key[32];
    const char *value;
    unsigned long long number;

    snprintf(key, sizeof key, "field.%u", out->field);
    value = look_up("%s.%s", prefix_of(device), key);
    out->type = (int)number_or(look_up("%s.%s.type", prefix_of(device), key), 3);
    out->code = (int)number_or(look_up("%s.%s.err", prefix_of(device), key), value ? SUCCESS : NOT_SUPPORTED);
    if (out->code != SUCCESS || value == NULL)
        return;
    number = strtoull(value, NULL, 0) + grown(device, key);
    memset(&out->value, 0, sizeof out->value);
    switch (out->type) {
    case 0: out->value.real = atof(value); break;
    case 1: out->value.uint = (unsigned int)number; break;
    case 5: out->value.sint = (int)number; break;
    case 6: out->value.ushort = (unsigned short)number; break;
    default: out->value.ullong = number;
    }
}

int nvmlDeviceGetFieldValues(handle_t device, int count, struct field_value *values)
{
    int code;

    wait_as_told(__func__);
    pthread_mutex_lock(&guard);
    code = device_refusal(__func__, device);
    for (int i = 0; code == SUCCESS && i < count; i++)
        fill_field(device, &values[i]);
    pthread_mutex_unlock(&guard);
    return code;
}

/* ---- processes ---- */

struct process {
    unsigned int pid;
    unsigned long long used_bytes;
    unsigned int gpu_instance, compute_instance;
};

/* As NVML: without room it says how many there are. */
static int list_processes(const char *function, handle_t device, const char *key, unsigned int *room,
                          struct process *out)
{
    const char *text;
    unsigned int count = 0;
    int code = device_answer(function, device, key, &text);

    if (code != SUCCESS)
        return code;
    while (*text != '\0') {
        char *end;
        unsigned int pid = (unsigned int)strtoull(text, &end, 0);
        if (end == text || *end != ':')
            break;
        unsigned long long bytes = end[1] == '-' ? ~0ULL : strtoull(end + 1, NULL, 0);
        if (count < *room && out != NULL)
            out[count] = (struct process){pid, bytes, ~0u, ~0u};
        count++;
        text = end + 1 + strcspn(end + 1, " ");
        text += strspn(text, " ");
    }
    pthread_mutex_unlock(&guard);
    code = count > *room ? INSUFFICIENT_SIZE : SUCCESS;
    *room = count;
    return code;
}

int nvmlDeviceGetComputeRunningProcesses_v2(handle_t device, unsigned int *count, struct process *out)
{
    return list_processes(__func__, device, "processes.compute", count, out);
}

int nvmlDeviceGetGraphicsRunningProcesses_v2(handle_t device, unsigned int *count, struct process *out)
{
    return list_processes(__func__, device, "processes.graphics", count, out);
}

struct process_sample {
    unsigned int pid;
    unsigned long long timestamp;
    unsigned int sm, memory, encoder, decoder;
};

/* An empty list is SUCCESS with a count of 0, which pynvml takes for an error. */
int nvmlDeviceGetProcessUtilization(handle_t device, struct process_sample *out, unsigned int *room,
                                    unsigned long long since)
{
    const char *text;
    unsigned int count = 0;
    int code = device_answer(__func__, device, "process_util", &text);

    (void)since;
    if (code != SUCCESS)
        return code;
    while (*text != '\0') {
        struct process_sample one = {0};
        if (sscanf(text, "%u:%u:%llu", &one.pid, &one.sm, &one.timestamp) < 2)
            break;
        if (count < *room && out != NULL)
            out[count] = one;
        count++;
        text += strcspn(text, " ");
        text += strspn(text, " ");
    }
    pthread_mutex_unlock(&guard);
    code = count > *room ? INSUFFICIENT_SIZE : SUCCESS;
    *room = count;
    return code;
}

/* ---- slices ---- */

int nvmlDeviceGetMigMode(handle_t device, unsigned int *current, unsigned int *pending)
{
    int code = device_uint(__func__, device, "mig_mode", current);

    *pending = *current;
    return code;
}

int nvmlDeviceGetMaxMigDeviceCount(handle_t device, unsigned int *count)
{
    return device_uint(__func__, device, "mig_max", count);
}

int nvmlDeviceGetMigDeviceHandleByIndex(handle_t device, unsigned int place, handle_t *slice)
{
    int code;

    wait_as_told(__func__);
    pthread_mutex_lock(&guard);
    code = device_refusal(__func__, device);
    if (code == SUCCESS && place >= MOST_SLICES)
        code = INVALID_ARGUMENT;
    if (code == SUCCESS) {
        *slice = 1 + MOST_DEVICES + MOST_SLICES * ((device - 1) % 1000) + place;
        code = look_up("%s.uuid", prefix_of(*slice)) ? SUCCESS : NOT_FOUND;
        *slice += 1000 * (handle_t)number_or(look_up("%s.epoch", prefix_of(*slice)), 0);
    }
    pthread_mutex_unlock(&guard);
    return code;
}

struct attributes {
    unsigned int multiprocessors, engines[5], gpu_slices, compute_slices;
    unsigned long long memory_mb;
};

int nvmlDeviceGetAttributes_v2(handle_t device, struct attributes *out)
{
    int code;

    memset(out, 0, sizeof *out);
    code = device_uint(__func__, device, "gpu_slices", &out->gpu_slices);
    if (code == SUCCESS)
        code = device_uint(__func__, device, "compute_slices", &out->compute_slices);
    return code != SUCCESS ? code : device_number(__func__, device, "memory_mb", &out->memory_mb);
}

#ifndef OLD_DRIVER

int nvmlDeviceGetComputeRunningProcesses_v3(handle_t device, unsigned int *count, struct process *out)
{
    return list_processes(__func__, device, "processes.compute", count, out);
}

int nvmlDeviceGetGraphicsRunningProcesses_v3(handle_t device, unsigned int *count, struct process *out)
{
    return list_processes(__func__, device, "processes.graphics", count, out);
}

int nvmlDeviceGetMemoryBusWidth(handle_t device, unsigned int *bits)
{
    return device_uint(__func__, device, "bus_width", bits);
}

/* ---- performance counters ---- */

struct sample {
    handle_t device;
    struct timespec taken;
};

static int samples_out;

struct gpm_support {
    unsigned int version, supported;
};

int nvmlGpmQueryDeviceSupport(handle_t device, struct gpm_support *support)
{
    int code;

    if (support->version != 1)
        return ARGUMENT_VERSION_MISMATCH;
    code = device_uint(__func__, device, "gpm", &support->supported);
    if (code == NOT_SUPPORTED) {
        support->supported = 0;
        return SUCCESS;
    }
    return code;
}

int nvmlGpmSampleAlloc(struct sample **sample)
{
    int code;

    wait_as_told(__func__);
    pthread_mutex_lock(&guard);
    code = refusal(__func__);
    if (code == SUCCESS) {
        *sample = calloc(1, sizeof **sample);
        samples_out++;
    }
    pthread_mutex_unlock(&guard);
    return code;
}

int nvmlGpmSampleFree(struct sample *sample)
{
    wait_as_told(__func__);
    pthread_mutex_lock(&guard);
    free(sample);
    samples_out--;
    pthread_mutex_unlock(&guard);
    return SUCCESS;
}

int nvmlGpmSampleGet(handle_t device, struct sample *sample)
{
    const char *value;
    int code = device_answer(__func__, device, "gpm", &value);

    if (code != SUCCESS)
        return code;
    sample->device = device;
    clock_gettime(CLOCK_MONOTONIC, &sample->taken);
    pthread_mutex_unlock(&guard);
    return SUCCESS;
}

struct metric {
    unsigned int id;
    int code;
    double value;
    const char *names[3];
};

struct metrics_get {
    unsigned int version, count;
    struct sample *first, *second;
    struct metric metrics[];
};

/* With the guard held. */
static int compare(struct metrics_get *get)
{
    long long apart_us = (get->second->taken.tv_sec - get->first->taken.tv_sec) * 1000000LL +
                         (get->second->taken.tv_nsec - get->first->taken.tv_nsec) / 1000;

    if (get->first->device == 0 || get->first->device != get->second->device)
        return INVALID_ARGUMENT;
    if (apart_us < number_or(look_up("gpm_apart_us"), 0))
        return INVALID_ARGUMENT;
    for (unsigned int i = 0; i < get->count; i++) {
        struct metric *metric = &get->metrics[i];
        const char *prefix = prefix_of(get->second->device);
        const char *value = look_up("%s.gpm.%u", prefix, metric->id);
        int otherwise = value ? SUCCESS : NOT_SUPPORTED;
        metric->code = (int)number_or(look_up("%s.gpm.%u.err", prefix, metric->id), otherwise);
        metric->value = value ? atof(value) : 0;
    }
    return SUCCESS;
}

int nvmlGpmMetricsGet(struct metrics_get *get)
{
    int code;

    wait_as_told(__func__);
    pthread_mutex_lock(&guard);
    code = refusal(__func__);
    if (code == SUCCESS && get->version != 1)
        code = ARGUMENT_VERSION_MISMATCH;
    if (code == SUCCESS)
        code = compare(get);
    pthread_mutex_unlock(&guard);
    return code;
}

#endif

/* For the tests: GPM samples that were not given back. */
int standin_samples(void)
{
#ifdef OLD_DRIVER
    return 0;
#else
    return samples_out;
#endif
}

#ifndef OLD_DRIVER

int nvmlSystemGetCudaDriverVersion_v2(int *version)
{
    return system_int(__func__, "cuda_version", version);
}

struct memory_v2 {
    unsigned int version;
    unsigned long long total, reserved, free, used;
};

int nvmlDeviceGetMemoryInfo_v2(handle_t device, struct memory_v2 *memory)
{
    int code;

    if (memory->version != (sizeof *memory | 2u << 24))
        return ARGUMENT_VERSION_MISMATCH;
    code = device_number(__func__, device, "mem_total", &memory->total);
    if (code == SUCCESS)
        code = device_number(__func__, device, "mem_reserved", &memory->reserved);
    if (code == SUCCESS)
        code = device_number(__func__, device, "mem_free", &memory->free);
    return code != SUCCESS ? code : device_number(__func__, device, "mem_used", &memory->used);
}

struct temperature_v1 {
    unsigned int version;
    int sensor;
    int celsius;
};

int nvmlDeviceGetTemperatureV(handle_t device, struct temperature_v1 *temperature)
{
    unsigned int celsius;
    int code;

    if (temperature->version != (sizeof *temperature | 1u << 24))
        return ARGUMENT_VERSION_MISMATCH;
    code = device_uint(__func__, device, "temperature", &celsius);
    if (code == SUCCESS)
        temperature->celsius = (int)celsius;
    return code;
}

int nvmlDeviceGetCurrentClocksEventReasons(handle_t device, unsigned long long *reasons)
{
    return device_number(__func__, device, "clock_reasons", reasons);
}

#endif
