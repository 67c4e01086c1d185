"""The CUDA device's default memory pool, from which CTranslate2 allocates (cudaMallocAsync), by the driver's library.

Its marks are exact and of this process alone, where the device's free memory also moves with other programs. Constants
and signatures are those of cuda.h, CUDA 11.2 and later.
"""

from __future__ import annotations

import ctypes

from phitui.errors import UnavailableError

LIBRARY = "libcuda.so.1"
# CUmemPool_attribute
_RESERVED_CURRENT, _RESERVED_HIGH, _USED_CURRENT, _USED_HIGH = 5, 6, 7, 8


class CudaPool:
    """The pool of device `index` in its primary context, which is CTranslate2's. All sizes in bytes.

    Raises UnavailableError where the driver refuses, with its error number.
    """

    def __init__(self, library: ctypes.CDLL | None = None, index: int = 0) -> None:
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

    def reserved(self) -> int:
        """What the pool holds of the device."""
        return self._get(_RESERVED_CURRENT)

    def reserved_high(self) -> int:
        """The most that it held since the mark was set back."""
        return self._get(_RESERVED_HIGH)

    def used(self) -> int:
        """What of it is in use."""
        return self._get(_USED_CURRENT)

    def used_high(self) -> int:
        """The most that was in use since the mark was set back."""
        return self._get(_USED_HIGH)

    def reset_high(self) -> None:
        """Set both marks back to what is held and used now. The driver takes no other value than 0."""
        for attribute in (_RESERVED_HIGH, _USED_HIGH):
            self._call("cuMemPoolSetAttribute", self._pool, ctypes.c_int(attribute), ctypes.byref(ctypes.c_uint64(0)))

    def trim(self) -> None:
        """Give back to the device what is not in use."""
        self._call("cuMemPoolTrimTo", self._pool, ctypes.c_size_t(0))

    def free(self) -> int:
        """What the device has free, for anybody."""
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
