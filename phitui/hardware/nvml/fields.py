"""NVML's field values: several figures in one question, each with a return code and a type of its own."""

from __future__ import annotations

from typing import Any

from phitui.hardware.figures import Missing
from phitui.hardware.nvml.driver import ask, refused

MEMORY_TEMPERATURE = 82  # °C
POWER_INSTANT = 186  # mW
PCIE_TX_BYTES = 197
PCIE_RX_BYTES = 198
# Members of nvmlValue_t by nvmlValueType_t, and those that hold 64 bits.
_MEMBERS = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
_WIDE = {2, 3, 4}


def field_values(handle: Any, ids: tuple[int, ...]) -> dict[int, Any]:
    """A number or Missing for each of `ids`. Raises GpuLostError."""
    answer = ask(handle, (("nvmlDeviceGetFieldValues", (ids,)),))
    if not isinstance(answer, Missing):
        return {field: _value(field, entry) for field, entry in zip(ids, answer, strict=True)}
    if answer.code in (2, 3) and len(ids) > 1:  # one field that the driver does not know may spoil the others
        return {field: field_values(handle, (field,))[field] for field in ids}
    return dict.fromkeys(ids, answer)


def _value(field: int, entry: Any) -> Any:
    if entry.nvmlReturn != 0:
        return refused(entry.nvmlReturn)
    value = member(entry)
    if value is None:
        return Missing(f"the answer is of the unknown type {entry.valueType}")
    if field in (PCIE_TX_BYTES, PCIE_RX_BYTES) and entry.valueType not in _WIDE:
        return Missing("the driver's counter is too short: it may wrap several times between two readings")
    return value


def member(entry: Any) -> Any:
    """The value of a field in the type that it says it has, or None where there is no such type."""
    known = 0 <= entry.valueType < len(_MEMBERS)
    return getattr(entry.value, _MEMBERS[entry.valueType], None) if known else None  # older pynvml has no usVal
