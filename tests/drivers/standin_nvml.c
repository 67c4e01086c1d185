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
#include <unistd.h>

enum {
    SUCCESS = 0,
    UNINITIALIZED = 1,
    INVALID_ARGUMENT = 2,
    NOT_SUPPORTED = 3,
    INSUFFICIENT_SIZE = 7,
    DRIVER_NOT_LOADED = 9,
    GPU_IS_LOST = 15,
    ARGUMENT_VERSION_MISMATCH = 25
};

enum { MOST_LINES = 1024, LONGEST_KEY = 128, LONGEST_LINE = 512, MOST_DEVICES = 64 };

struct line {
    char key[LONGEST_KEY];
    char value[LONGEST_LINE];
};

typedef uintptr_t handle_t; /* 1 + index + 1000 × epoch: never a null pointer */

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

static int index_of(handle_t handle)
{
    return (int)((handle - 1) % 1000);
}

static int device_refusal(const char *function, handle_t handle)
{
    int index = index_of(handle);
    int code = refusal(function);

    if (code != SUCCESS)
        return code;
    if (handle == 0)
        return INVALID_ARGUMENT;
    if (number_or(look_up("%d.epoch", index), 0) != (long long)((handle - 1) / 1000))
        return GPU_IS_LOST;
    code = (int)number_or(look_up("%d.err", index), SUCCESS);
    return code != SUCCESS ? code : (int)number_or(look_up("%d.err.%s", index, function), SUCCESS);
}

/* The answer of a device under `key`; the guard is held on return only if this is SUCCESS. */
static int device_answer(const char *function, handle_t handle, const char *key, const char **value)
{
    int code;

    wait_as_told(function);
    pthread_mutex_lock(&guard);
    code = device_refusal(function, handle);
    if (code == SUCCESS) {
        *value = look_up("%d.%s", index_of(handle), key);
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
