"""GPM, the performance counters of newer cards: how busy memory, multiprocessors and tensor pipes really were."""

from __future__ import annotations

from typing import Any

from phitui.hardware.figures import WAITING, Missing
from phitui.hardware.nvml.driver import ask, call, refused

# NVML_GPM_METRIC_…: share of the theoretical DRAM bandwidth, of the SMs, of the time of any tensor pipe, in percent.
DRAM_BW_UTIL = 10
SM_UTIL = 2
ANY_TENSOR_UTIL = 5
_METRICS = (DRAM_BW_UTIL, SM_UTIL, ANY_TENSOR_UTIL)
_VERSION = 1
# nvml.h: two samples must be more than 100 ms apart.
_APART_S = 0.101


class Gpm:
    """The counters of one card. `close` gives the driver its two samples back, before NVML is shut down."""

    def __init__(self, handle: Any) -> None:
        """Raises GpuLostError."""
        self._handle = handle
        self._samples: list[Any] = []
        self._request: Any = None
        self._taken_at: float | None = None
        self._answers: dict[int, Any] = dict.fromkeys(_METRICS, WAITING)
        self._refusal = self._open()

    def read(self, now: float) -> dict[int, Any]:
        """Percent or Missing for each metric, over the time since the reading before. Raises GpuLostError."""
        if self._refusal is not None:
            return dict.fromkeys(_METRICS, self._refusal)
        if self._taken_at is not None and now - self._taken_at < _APART_S:
            return self._answers
        taken = ask(self._handle, (("nvmlGpmSampleGet", (self._samples[0],)),))
        if isinstance(taken, Missing):
            self._taken_at = None
            return dict.fromkeys(_METRICS, taken)
        first, self._taken_at = self._taken_at is None, now
        self._samples.reverse()  # now the older one is first, and is written over next time
        self._answers = dict.fromkeys(_METRICS, WAITING) if first else self._compare()
        return self._answers

    def close(self) -> None:
        """Free the samples."""
        samples, self._samples = self._samples, []
        for sample in samples:
            call("nvmlGpmSampleFree", sample)
        self._refusal = Missing("closed")

    def _open(self) -> Missing | None:
        support = ask(self._handle, (("nvmlGpmQueryDeviceSupport", ()),))
        if isinstance(support, Missing):
            return support
        if not support.isSupportedDevice:
            return Missing("this card has no such counters")
        try:
            import pynvml

            self._request = pynvml.c_nvmlGpmMetricsGet_t()
        except (ImportError, AttributeError):
            return Missing("the installed nvidia-ml-py is too old for it")
        for _ in range(2):
            sample = call("nvmlGpmSampleAlloc")
            if isinstance(sample, Missing):
                self.close()
                return sample
            self._samples.append(sample)
        return None

    def _compare(self) -> dict[int, Any]:
        request = self._request
        request.version, request.numMetrics = _VERSION, len(_METRICS)
        request.sample1, request.sample2 = self._samples
        for place, metric in enumerate(_METRICS):
            request.metrics[place].metricId = metric
        answer = call("nvmlGpmMetricsGet", request)
        if isinstance(answer, Missing):
            return dict.fromkeys(_METRICS, answer)
        found = (request.metrics[place] for place in range(len(_METRICS)))
        return {
            metric: refused(entry.nvmlReturn) if entry.nvmlReturn else entry.value
            for metric, entry in zip(_METRICS, found, strict=True)
        }
