"""How the engine's process is told to take memory, and that the user's own settings stand."""

import os
import platform
from pathlib import Path

import pytest
from test_engine import running

from phitui.engine.local.allocator import allocator_environment

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")


@glibc
@pytest.mark.parametrize(("kernel", "mapped"), [("always [madvise] never", True), ("always madvise [never]", False)])
def test_large_blocks_are_mapped_where_there_are_huge_pages(tmp_path, kernel, mapped):
    file = tmp_path / "enabled"
    file.write_text(kernel)
    set_to = allocator_environment({}, file).get("GLIBC_TUNABLES", "")
    recent = tuple(map(int, platform.libc_ver()[1].split("."))) >= (2, 35)
    assert ("mmap_threshold" in set_to) is (mapped and recent)
    assert allocator_environment({}, tmp_path / "none") == {}


@pytest.mark.parametrize("name", ["GLIBC_TUNABLES", "MALLOC_ARENA_MAX"])
def test_the_users_own_settings_stand(name):
    assert allocator_environment({name: "3"}) == {}


def environment_of(pid):
    return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")


@glibc
async def test_the_engines_process_has_it(tmp_path, tiny_folder):
    async with running(tmp_path, tiny_folder) as engine:
        entries = environment_of(engine.client.pid)
    # glibc cuts the value up in place while it reads it: the first tunable is what is left to see.
    first = allocator_environment().get("GLIBC_TUNABLES", "none").split(":")[0]
    if first == "none":
        pytest.skip("no huge pages here")
    assert f"GLIBC_TUNABLES={first}".encode() in [entry[: len(first) + 15] for entry in entries]
    assert "GLIBC_TUNABLES" not in os.environ
