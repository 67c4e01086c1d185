"""The store: what it lists and finds, and that models come into it whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import json
import multiprocessing
import os
import shutil
import threading
import time

import pytest

from phitui.core.errors import PhituiError, UsageError
from phitui.models import install
from phitui.models.catalog import CATALOG, DEMO, PHI3, lookup, meant
from phitui.models.install import workshop
from phitui.models.manifest import MANIFEST_NAME, verify
from phitui.models.store import find, list_models, resolve


@pytest.fixture
def models(tmp_path, tiny_folder):
    shutil.copytree(tiny_folder, tmp_path / "models" / "tiny-phi3")
    return tmp_path / "models"


def nobody():
    """Called while another process has the lock: here none should."""
    raise AssertionError("the lock is taken")


def names(models):
    return sorted(path.name for path in models.iterdir() if not path.name.startswith(".lock-"))


def test_a_lock_leaves_no_file_and_never_has_two_holders(tmp_path):
    holders, most, turns = [], [], []

    def work():
        for _ in range(5):
            with install.locked(tmp_path, "x", lambda: None) as mine:
                assert mine
                holders.append(1)
                time.sleep(0.002)
                most.append(len(holders))
                holders.pop()
                turns.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    with install.locked(tmp_path, "x") as mine:
        assert mine
        for thread in threads:
            thread.start()
        with install.locked(tmp_path, "x") as second:
            assert not second
        assert turns == []
    for thread in threads:
        thread.join()
    assert len(turns) == 20 and max(most) == 1
    assert list(tmp_path.iterdir()) == []


def test_the_catalog_has_each_name_once():
    every = [name for entry in CATALOG for name in (entry.name, entry.hub.lower(), *entry.aliases)]
    assert len(every) == len(set(every))
    assert all(lookup(name.upper()) is not None for name in every)
    assert lookup("gpt-17") is None


def test_list_and_find(models):
    (listed,) = list_models(models)
    assert (listed.name, listed.folder, listed.error) == ("tiny-phi3", models / "tiny-phi3", "")
    assert listed.manifest.title == "Tiny Phi-3"
    assert find(models, "tiny-phi3") == models / "tiny-phi3"
    assert find(models, "phi-3-mini") is None


def test_no_store_is_an_empty_store(tmp_path):
    assert list_models(tmp_path / "none") == []
    assert find(tmp_path / "none", "tiny-phi3") is None
    assert resolve(tmp_path / "none", "auto").entry is DEMO


@pytest.mark.parametrize("name", ["", ".", "..", "../models/tiny-phi3", "/etc", ".lock-x", "a\0b", "x" * 5000])
def test_names_do_not_lead_out_of_the_store(models, name):
    assert find(models, name) is None
    with pytest.raises(UsageError), workshop(models, name, nobody):
        pass


def test_auto_prefers_phi3(models):
    assert resolve(models, "auto").name == "smollm2-135m"
    for entry in reversed(PHI3):
        (models / "tiny-phi3").rename(models / entry.name)
        resolved = resolve(models, "auto")
        assert (resolved.name, resolved.folder, resolved.entry) == (entry.name, models / entry.name, entry)
        (models / entry.name).rename(models / "tiny-phi3")


def test_resolve_knows_names_aliases_and_paths(models, tmp_path, monkeypatch):
    assert resolve(models, "tiny-phi3").folder == models / "tiny-phi3"
    for wanted in ("phi-3-mini-4k", "microsoft/Phi-3-mini-4k-instruct", "Phi-3-Mini"):
        assert resolve(models, wanted).folder is None
        assert resolve(models, wanted).entry is PHI3[0]
    monkeypatch.chdir(tmp_path)
    for wanted in (str(models / "tiny-phi3"), "models/tiny-phi3"):
        assert resolve(tmp_path / "elsewhere", wanted).folder == models / "tiny-phi3"


def test_resolve_says_what_there_is(models, tmp_path):
    with pytest.raises(UsageError, match=r"phi-3-mini, .*smollm2-135m, tiny-phi3"):
        resolve(models, "gpt-17")
    (tmp_path / "hub").mkdir()
    with pytest.raises(UsageError, match="phitui model convert"):
        resolve(models, str(tmp_path / "hub"))


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / MANIFEST_NAME).unlink(),
        lambda folder: (folder / "model.bin").unlink(),
        lambda folder: os.truncate(folder / "model.bin", 5),
        lambda folder: (folder / MANIFEST_NAME).write_bytes(b"{"),
        lambda folder: (folder / MANIFEST_NAME).write_bytes(b"\xff"),
        lambda folder: (folder / MANIFEST_NAME).write_bytes(b"[" * 100_000),
        lambda folder: change(folder, format=99),
        lambda folder: change(folder, sizes=None),
        lambda folder: change(folder, files={}),
        lambda folder: change(folder, files={"../../etc/passwd": {"bytes": 1, "sha256": ""}}),
    ],
)
def test_a_damaged_model_is_listed_with_its_error(models, damage):
    damage(models / "tiny-phi3")
    (listed,) = list_models(models)
    assert listed.manifest is None
    assert "tiny-phi3" in listed.error and "\n" not in listed.error


def change(folder, **values):
    manifest = json.loads((folder / MANIFEST_NAME).read_text()) | values
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest))


def test_verify_finds_one_changed_byte_and_counts_all(models):
    seen = []
    verify(models / "tiny-phi3", lambda done, total: seen.append((done, total)))
    size = sum(path.stat().st_size for path in (models / "tiny-phi3").iterdir() if path.name != MANIFEST_NAME)
    assert seen[-1] == (size, size)
    with (models / "tiny-phi3" / "model.bin").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))
    with pytest.raises(PhituiError, match=r"model\.bin is not the file"):
        verify(models / "tiny-phi3")


@contextlib.contextmanager
def closed(folder):
    """A folder that this process may not read, root or not."""
    folder.chmod(0)
    if os.getuid() == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        if os.getuid() == 0:
            os.seteuid(0)
        folder.chmod(0o700)


def test_a_store_that_may_not_be_read(models):
    with closed(models):
        for asked in (list_models, lambda folder: find(folder, "tiny-phi3"), lambda folder: resolve(folder, "auto")):
            with pytest.raises(PhituiError, match="cannot read the model store"):
                asked(models)
        with pytest.raises(PhituiError, match="cannot make the model"), workshop(models, "fox", nobody):
            pass


def fill(folder, text):
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "file").write_text(text)
    return folder / "model"


@pytest.mark.parametrize("exchange", [True, False])
def test_a_new_model_takes_the_place_of_the_old(tmp_path, monkeypatch, exchange):
    if not exchange:  # as on a file system that cannot
        monkeypatch.setattr(install, "_exchange", lambda one, other: False)
    for text in ("old", "new"):
        with workshop(tmp_path, "fox", nobody) as shop:
            assert shop.place(fill(shop.folder, text)) == tmp_path / "fox"
    assert (tmp_path / "fox" / "file").read_text() == "new"
    assert names(tmp_path) == ["fox"]


def test_a_link_in_the_store_is_replaced_not_followed(tmp_path):
    (tmp_path / "target").mkdir()
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "fox").symlink_to(tmp_path / "target")
    with workshop(tmp_path / "store", "fox", nobody) as shop:
        shop.place(fill(shop.folder, "new"))
    assert not (tmp_path / "store" / "fox").is_symlink()
    assert (tmp_path / "target").is_dir() and names(tmp_path / "store") == ["fox"]


def test_whatever_fails_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), workshop(tmp_path, "fox", nobody) as shop:
        fill(shop.folder, "half")
        raise ZeroDivisionError
    assert names(tmp_path) == []


def test_a_full_disk_says_how_much_is_needed(tmp_path):
    with (
        pytest.raises(PhituiError, match="about 123 MB is needed") as caught,
        workshop(tmp_path, "fox", nobody) as shop,
    ):
        shop.reserve(123_000_000)
        raise OSError(errno.ENOSPC, "No space left on device")
    assert str(tmp_path) in str(caught.value)
    with pytest.raises(PhituiError, match="no space left"), workshop(tmp_path, "fox", nobody) as shop:
        shop.reserve(10**18)


def killed_at(models, step):
    """Replace a model in a process that is killed at the given rename."""
    count = 0
    rename = os.rename

    def counting(self, target):
        nonlocal count
        count += 1
        if count == step:
            os._exit(9)
        rename(self, target)
        return target

    install._exchange = lambda one, other: False
    install.Path.rename = counting
    with workshop(models, "fox", nobody) as shop:
        shop.place(fill(shop.folder, "new"))


@pytest.mark.parametrize("step", [1, 2, 3])
def test_killed_between_any_two_renames_the_store_has_one_whole_model(tmp_path, step):
    """Without the atomic exchange: `find` brings back what lies aside."""
    with workshop(tmp_path, "fox", nobody) as shop:
        shop.place(fill(shop.folder, "old"))
    process = multiprocessing.get_context("spawn").Process(target=killed_at, args=(tmp_path, step))
    process.start()
    process.join()
    assert process.exitcode == 9
    assert find(tmp_path, "fox") == tmp_path / "fox"
    assert (tmp_path / "fox" / "file").read_text() in ("old", "new")
    with workshop(tmp_path, "other", nobody):
        pass
    with workshop(tmp_path, "fox", nobody):
        pass
    assert names(tmp_path) == ["fox"]


def test_the_second_waits_for_the_first(tmp_path):
    entered, waits = threading.Event(), []

    def first():
        with workshop(tmp_path, "fox", nobody) as shop:
            entered.set()
            time.sleep(0.5)
            shop.place(fill(shop.folder, "first"))

    thread = threading.Thread(target=first)
    thread.start()
    entered.wait()
    with workshop(tmp_path, "fox", lambda: waits.append(time.monotonic())) as shop:
        assert shop.waited and len(waits) >= 2
        assert (shop.final / "file").read_text() == "first"
    thread.join()


@pytest.mark.parametrize("name", ["fox", "other"])
def test_what_a_dead_process_left_is_removed(tmp_path, name):
    """Whichever process had made it: even one with the number that this one has now."""
    for pid in (99999, os.getpid()):
        fill((tmp_path / f".partial-fox-{pid}-0a0a0a0a"), "half")
    with workshop(tmp_path, name, nobody) as shop:
        assert names(tmp_path) == [shop.folder.name]


def test_a_model_is_not_taken_for_another_with_a_longer_name(tmp_path):
    fill(tmp_path / ".old-fox-red-0a0a0a0a", "red")
    (tmp_path / ".partial-x-y").mkdir()  # a name that no phitui gives: somebody else's
    assert find(tmp_path, "fox") is None
    with workshop(tmp_path, "fox", nobody):
        pass
    assert names(tmp_path) == [".old-fox-red-0a0a0a0a", ".partial-x-y"]
    assert find(tmp_path, "fox-red") == tmp_path / "fox-red"


def test_what_another_process_is_making_is_left_alone(tmp_path):
    with workshop(tmp_path, "fox", nobody) as first:
        stale = tmp_path / ".partial-fox-of-old-99999-0a0a0a0a"
        stale.mkdir()
        with workshop(tmp_path, "other", nobody):
            assert first.folder.exists()
            assert not stale.exists()


@pytest.mark.parametrize(
    ("wanted", "question"),
    [
        ("phi-4", "Did you mean phi-4-mini?"),
        ("Phi_3_mini 128k", "Did you mean phi-3-mini-128k, phi-3-mini or phi-3.5-mini?"),
        ("smol", "Did you mean smollm2-135m?"),
        ("qwerty", ""),
        ("", ""),
        ("…", ""),
    ],
)
def test_what_a_name_may_mean(wanted, question):
    assert meant(wanted, [entry.name for entry in CATALOG]) == question
