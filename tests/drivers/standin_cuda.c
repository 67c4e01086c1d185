/* A stand-in for libcuda.so.1 with one device and its memory pool: what phitui.engine.worker.cuda_pool calls, no more. The
   state is steered by the standin_ functions. Signatures and numbers are those of cuda.h. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { SUCCESS = 0, INVALID_VALUE = 1, NOT_INITIALIZED = 3, INVALID_CONTEXT = 201 };
enum { RESERVED = 5, RESERVED_HIGH = 6 };

static int initialized, refuse;
static void *const CONTEXT = (void *)0x10, *const POOL = (void *)0x20;
static __thread void *current;
static uint64_t reserved, reserved_high, used, total, others;

void standin_reset(uint64_t total_bytes, uint64_t others_bytes) {
    initialized = refuse = 0;
    reserved = reserved_high = used = 0;
    total = total_bytes;
    others = others_bytes;
}
void standin_refuse(int error) { refuse = error; }
void standin_take(uint64_t bytes) {
    used += bytes;
    if (used > reserved) reserved = used;
    if (reserved > reserved_high) reserved_high = reserved;
}
void standin_give(uint64_t bytes) { used -= bytes; }

int cuInit(unsigned flags) {
    if (refuse) return refuse;
    initialized = flags == 0;
    return SUCCESS;
}
int cuDeviceGet(int *device, int ordinal) {
    if (!initialized) return NOT_INITIALIZED;
    *device = ordinal;
    return ordinal == 0 ? SUCCESS : INVALID_VALUE;
}
int cuDevicePrimaryCtxRetain(void **context, int device) {
    *context = CONTEXT;
    return device == 0 ? SUCCESS : INVALID_VALUE;
}
int cuCtxSetCurrent(void *context) {
    current = context;
    return context == CONTEXT ? SUCCESS : INVALID_VALUE;
}
int cuDeviceGetDefaultMemPool(void **pool, int device) {
    *pool = POOL;
    return device == 0 ? SUCCESS : INVALID_VALUE;
}
int cuMemPoolGetAttribute(void *pool, int attribute, void *value) {
    uint64_t known[] = {reserved, reserved_high};
    if (pool != POOL || attribute < RESERVED || attribute > RESERVED_HIGH) return INVALID_VALUE;
    memcpy(value, &known[attribute - RESERVED], sizeof(uint64_t));
    return SUCCESS;
}
int cuMemPoolSetAttribute(void *pool, int attribute, void *value) {
    uint64_t zero = 0;
    if (pool != POOL || memcmp(value, &zero, sizeof zero)) return INVALID_VALUE;
    if (attribute != RESERVED_HIGH) return INVALID_VALUE;
    reserved_high = reserved;
    return SUCCESS;
}
int cuMemPoolTrimTo(void *pool, size_t keep) {
    if (pool != POOL) return INVALID_VALUE;
    if (reserved > keep) reserved = used > keep ? used : keep;
    return SUCCESS;
}
/* The second card of the profile 2x4090, as CUDA_VISIBLE_DEVICES=1 would leave it. An older driver lacks _v2. */
int cuDeviceGetUuid(void *uuid, int device) {
    static const unsigned char number[16] = {0xb7, 0xc8, 0xd9, 0xe0, 0x1f, 0x2a, 0x4b, 0x3c,
                                             0x8d, 0x4e, 0x5f, 0x60, 0x71, 0x82, 0x93, 0xa4};
    memcpy(uuid, number, sizeof number);
    return device == 0 ? SUCCESS : INVALID_VALUE;
}
int cuMemGetInfo_v2(size_t *free_bytes, size_t *total_bytes) {
    if (current != CONTEXT) return INVALID_CONTEXT;
    *free_bytes = total - others - reserved;
    *total_bytes = total;
    return SUCCESS;
}
