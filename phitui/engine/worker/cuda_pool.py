"""The CUDA device's default memory pool, from which CTranslate2 allocates (cudaMallocAsync), by the driver's library.

Its marks are exact and of this process alone, where the device's free memory also moves with other programs. Constants
and signatures are those of cuda.h, CUDA 11.2 and later.
"""

from __future__ import annotations

import contextlib
import ctypes
import uuid

from phitui.core.errors import UnavailableError

LIBRARY = "libcuda.so.1"
# CUmemPool_attribute
_RESERVED_CURRENT, _RESERVED_HIGH = 5, 6
# CTranslate2's default, which phitui leaves. It counts the devices that CUDA_VISIBLE_DEVICES leaves, in the order that
# CUDA_DEVICE_ORDER sets: another one than the driver's tools have.
ENGINE_DEVICE = 0


class CudaPool:
    """The pool of device `index` in its primary context, which is CTranslate2's. All sizes in bytes.

    Raises UnavailableError where the driver refuses, with its error number.
    """

    def __init__(self, library: ctypes.CDLL | None = None, index: int = ENGINE_DEVICE) -> None:
        try:
            self._cuda = library or ctypes.CDLL(LIBRARY)
        except OSError as error:
            raise UnavailableError(f"no CUDA driver: {error}", "Run phitui doctor") from error
        device, context, self._pool = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_void_p()
        self._call("cuInit", ctypes.c_uint(0))
        self._call("cuDeviceGet", ctypes.byref(device), ctypes.c_int(index))
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self._context = context
        self._call("cuDeviceGetDefaultMemPool", ctypes.byref(self._pool), device)
        self._device = device

    def uuid(self) -> str:
        """The device's UUID, bare ("4e1f0c52-…"); of a MIG slice its own. "" where the driver does not tell."""
        number = (ctypes.c_ubyte * 16)()
        for function in ("cuDeviceGetUuid_v2", "cuDeviceGetUuid"):  # the first knows slices
            with contextlib.suppress(UnavailableError):
                self._call(function, ctypes.byref(number), self._device)
                return str(uuid.UUID(bytes=bytes(number)))
        return ""

    def reserved(self) -> int:
        """What the pool holds of the device."""
        return self._get(_RESERVED_CURRENT)

    def reserved_high(self) -> int:
        """The most that it held since the mark was set back."""
        return self._get(_RESERVED_HIGH)

    def reset_high(self) -> None:
        """Set the mark back to what is held now. The driver takes no other value than 0."""
        zero = ctypes.byref(ctypes.c_uint64(0))
        self._call("cuMemPoolSetAttribute", self._pool, ctypes.c_int(_RESERVED_HIGH), zero)

    def trim(self) -> None:
        """Give back to the device what is not in use."""
        self._call("cuMemPoolTrimTo", self._pool, ctypes.c_size_t(0))

    def free(self) -> int:
        """Free memory of the device, in bytes, for this process and others."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self._call("cuCtxSetCurrent", self._context)  # of this thread
        self._call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return free.value

    def _get(self, attribute: int) -> int:
        value = ctypes.c_uint64()
        self._call("cuMemPoolGetAttribute", self._pool, ctypes.c_int(attribute), ctypes.byref(value))
        return value.value

    def _call(self, name: str, *arguments: object) -> None:
        try:
            status = int(getattr(self._cuda, name)(*arguments))
        except AttributeError as error:
            raise UnavailableError(f"the CUDA driver is too old: it has no {name}", "Update the driver") from error
        if status:
            raise UnavailableError(f"CUDA's {name} failed with error {status}", "Run phitui doctor")


def device_uuid() -> str:
    """The UUID of the engine's device, as `CudaPool.uuid`; "" where it is not known."""
    try:
        return CudaPool().uuid()
    except UnavailableError:
        return ""
