"""`phitui doctor`: what is there, what is missing, and how to mend it."""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
from functools import partial

from phitui.cli.doctor import machine, nvml, user
from phitui.cli.doctor.others import engine_checks, host_checks
from phitui.cli.doctor.report import Check, as_json, as_text, checked, exit_code
from phitui.cli.output import write
from phitui.config.layers import Config
from phitui.hardware.nvml.probe import DriverReport, probe_driver

EXAMPLES = """  phitui doctor
  phitui doctor --device cuda    what is missing for a GPU
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object with all checks")
    parser.add_argument(
        "--nvml",
        action="store_true",
        help="instead print every call to the NVIDIA driver, with its answer (UUIDs and process ids too) and its time",
    )


def run(args: argparse.Namespace) -> int:
    """Print every check and return the exit code: 0, 3 without the engine or hardware that is needed, else 1.

    Takes the raw arguments, because a wrong configuration is one of the things to report.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal that is not UTF-8 is one of the things to report
        sys.stdout.reconfigure(errors="replace")
    if args.nvml:
        return nvml.run(args.json)
    checks = all_checks(args)
    write((as_json(checks) if args.json else as_text(checks)) + "\n")
    return int(exit_code(checks))


def all_checks(args: argparse.Namespace) -> list[Check]:
    """Every check in the order in which they are shown. Raises nothing."""
    config, configuration = _configuration(args)
    report = _driver()
    has_gpu = not report.reason
    device = config.engine.device if config else "auto"
    on_bus = machine.nvidia_on_bus()
    return [
        checked("Python", machine.python),
        checked("packages", machine.packages),
        checked("engine", partial(machine.engine, has_gpu and device != "cpu")),
        checked("CPU int8", machine.cpu_int8),
        checked("NVML module", machine.nvml_package),
        checked("GPU", partial(machine.gpu, report, device, on_bus)),
        checked("cuBLAS", partial(machine.cublas, has_gpu and device != "cpu")),
        configuration,
        checked("model store", user.store),
        *([checked("model", partial(user.model, config))] if config else []),
        *(engine_checks(config) if config else []),
        *(host_checks(config) if config else []),
        checked("sessions", user.sessions),
        checked("set aside", user.set_aside),
        checked("themes", user.themes),
        *([checked("keys", partial(user.keys, config))] if config else []),
        checked("terminal", user.terminal),
        checked("colours", user.colours),
        checked("UTF-8", lambda: user.locale(user.own_environment())),
    ]


def _configuration(args: argparse.Namespace) -> tuple[Config | None, Check]:
    from phitui.cli.main import configuration

    loaded: list[Config] = []

    def check() -> Check:
        loaded.append(configuration(args))
        return user.configuration(loaded[0])

    line = checked("configuration", check)
    return (loaded[0] if loaded else None), line


def _driver() -> DriverReport:
    # Whatever a damaged nvidia-ml-py prints at import does not belong into the report.
    with contextlib.redirect_stdout(sys.stderr):
        return probe_driver()
