"""Pulling from a Hub: whole, interrupted, refused. The Hub is one on the loopback, all else is real."""

from __future__ import annotations

import asyncio
import json
import os
import signal

import pytest
from loopback import COMMIT, hub, serving
from prepare_child import failure, hidden, run, start, until
from terminal import command, environment
from tiny_phi3 import make_tiny_phi3

from phitui.models.manifest import verify
from phitui.models.messages import Prepared, Pull
from phitui.models.store import list_models

SHARD = "model-00002-of-00002.safetensors"


@pytest.fixture
def models(tmp_path):
    return tmp_path / "models"


@pytest.fixture
def files(tmp_path):
    """A repository's files, one of which nobody needs."""
    folder = make_tiny_phi3(tmp_path / "hub", shards=2)
    (folder / "pytorch_model.bin").write_bytes(b"not needed")
    return folder


def downloads(models):
    return sorted(path for path in models.iterdir() if path.name.startswith(".download-"))


async def test_a_model_from_the_hub(models, tmp_path, files):
    handler = hub("someone/tiny-Phi", files)
    with serving(handler) as url:
        messages = await run(Pull(str(models), "someone/tiny-Phi"), tmp_path / "log", **hub_settings(url, tmp_path))
    assert messages[-1] == Prepared(str(models / "tiny-phi"))
    manifest = verify(models / "tiny-phi")
    assert manifest.source == "someone/tiny-Phi"
    assert manifest.revision == COMMIT
    assert manifest.license == "mit"
    fetched = [message for message in messages[:-1] if message.stage == "fetch" and message.unit == "bytes"]
    assert fetched and fetched[-1].done == fetched[-1].total > 500_000
    assert not any("pytorch_model" in path for path in handler.paths)
    done = [message.done for message in fetched]
    assert done == sorted(done) and len(set(done)) >= 2
    assert hidden(models) == [] and downloads(models) == []


def hub_settings(url, tmp_path):
    return {"HF_ENDPOINT": url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "0"}


@pytest.mark.parametrize(
    "status, code, says",
    [
        (404, "RepoNotFound", "has no model"),
        (401, "RepoNotFound", "HF_TOKEN"),
        (401, "GatedRepo", "terms (HTTP 401)"),
        (403, "GatedRepo", "terms (HTTP 403)"),
        (403, "", "HF_TOKEN"),
        (400, "", "HTTP 400"),
    ],
)
async def test_what_the_hub_refuses(models, tmp_path, status, code, says):
    with serving(hub("someone/tiny", tmp_path, status, code)) as url:
        request = Pull(str(models), "someone/tiny")
        _, text = await failure(request, tmp_path / "log", **hub_settings(url, tmp_path))
    assert "someone/tiny" in text and says in text
    assert hidden(models) == [] and list_models(models) == []


async def test_no_hub_to_be_reached(models, tmp_path):
    request = Pull(str(models), "phi-3-mini")
    _, text = await failure(request, tmp_path / "log", **hub_settings("http://127.0.0.1:9", tmp_path))
    assert "microsoft/Phi-3-mini-4k-instruct" in text and "127.0.0.1:9" in text
    assert hidden(models) == []


async def test_a_name_that_no_hub_can_have(models, tmp_path):
    reply, text = await failure(Pull(str(models), "../../etc"), tmp_path / "log")
    assert reply.exit_code == 2 and "organisation/model" in text


async def test_a_cut_connection_goes_on_in_mid_file(models, tmp_path, files):
    cut_at = 300_000
    request = Pull(str(models), "someone/tiny")
    with serving(hub("someone/tiny", files, cut_at=cut_at)) as url:
        _, text = await failure(request, tmp_path / "log", **hub_settings(url, tmp_path))
    assert "cannot fetch someone/tiny" in text and "pull again" in text
    assert list_models(models) == []
    kept = downloads(models)[0] / COMMIT
    parts = [path for path in kept.iterdir() if path.suffix == ".part"]
    assert [path.stat().st_size for path in parts] == [1 << 18]  # whole chunks
    whole = {path.name for path in kept.iterdir()} - {parts[0].name}
    assert "config.json" in whole
    handler = hub("someone/tiny", files)
    with serving(handler) as url:
        messages = await run(request, tmp_path / "log", **hub_settings(url, tmp_path))
    assert messages[-1] == Prepared(str(models / "tiny"))
    asked = {name: byte_range for name, byte_range, _ in handler.asked}
    assert asked[parts[0].name.removesuffix(".part")] == f"bytes={1 << 18}-"
    assert not whole & set(asked)
    assert verify(models / "tiny").revision == COMMIT
    assert downloads(models) == []


async def test_a_killed_pull_goes_on(models, tmp_path, files):
    request = Pull(str(models), "someone/tiny")
    with serving(hub("someone/tiny", files, cut_at=300_000)) as url:
        child = await start(request, tmp_path / "log", **hub_settings(url, tmp_path))
        await until(child, lambda message: message.unit == "bytes")
        for _ in range(100):  # it tries the connection again and again
            if any(path.stat().st_size >= 1 << 18 for path in models.rglob("*.part")):
                break
            await asyncio.sleep(0.03)
        os.kill(child.pid, signal.SIGKILL)
        assert await child.stop() == -signal.SIGKILL
    handler = hub("someone/tiny", files)
    with serving(handler) as url:
        messages = await run(request, tmp_path / "log", **hub_settings(url, tmp_path))
    assert isinstance(messages[-1], Prepared)
    assert [byte_range for _, byte_range, _ in handler.asked if byte_range]
    assert hidden(models) == [] and downloads(models) == []


async def test_a_part_that_is_not_the_files_is_found_out(models, tmp_path, files):
    part = models / ".download-tiny" / COMMIT / f"{SHARD}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"\xff" * 1000)
    request = Pull(str(models), "someone/tiny")
    with serving(hub("someone/tiny", files)) as url:
        _, text = await failure(request, tmp_path / "log", **hub_settings(url, tmp_path))
        assert SHARD in text and "hash differs" in text and "pull again" in text
        assert not part.exists()
        messages = await run(request, tmp_path / "log", **hub_settings(url, tmp_path))
    assert isinstance(messages[-1], Prepared)


async def test_what_another_revision_left_is_removed(models, tmp_path, files):
    old = models / ".download-tiny" / "f00" / "model.safetensors.part"
    old.parent.mkdir(parents=True)
    old.write_bytes(bytes(1000))
    with serving(hub("someone/tiny", files, cut_at=300_000)) as url:
        await failure(Pull(str(models), "someone/tiny"), tmp_path / "log", **hub_settings(url, tmp_path))
    assert [path.name for path in downloads(models)[0].iterdir()] == [COMMIT]


async def test_a_model_that_cannot_be_converted_is_refused_before_its_weights_are_fetched(models, tmp_path, files):
    (files / "config.json").write_text('{"model_type": "gpt_neox", "architectures": ["GPTNeoX"]}')
    handler = hub("someone/tiny", files)
    with serving(handler) as url:
        _, text = await failure(Pull(str(models), "someone/tiny"), tmp_path / "log", **hub_settings(url, tmp_path))
    assert "GPTNeoX" in text
    assert downloads(models) == []
    assert not any("safetensors" in name for name, _, _ in handler.asked if not name.endswith(".json"))


@pytest.mark.parametrize(("status", "code"), [(401, "RepoNotFound"), (403, "GatedRepo"), (404, "EntryNotFound")])
async def test_a_refusal_in_mid_pull_leaves_nothing(models, tmp_path, files, status, code):
    """The list of files is open to all, the weights are not: so it is with models that ask for terms."""
    handler = hub("someone/tiny", files, status=status, code=code)
    handler.refuses = ".safetensors"
    with serving(handler) as url:
        _, text = await failure(Pull(str(models), "someone/tiny"), tmp_path / "log", **hub_settings(url, tmp_path))
    assert "someone/tiny" in text
    assert any(name == "config.json" for name, _, _ in handler.asked)
    assert list(models.iterdir()) == []


async def test_awq_is_seen_before_the_weights_are_fetched(models, tmp_path, files):
    config = json.loads((files / "config.json").read_text())
    awq = {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True, "version": "gemm"}
    (files / "config.json").write_text(json.dumps(config | {"quantization_config": awq}))
    handler = hub("someone/tiny", files)
    request = Pull(str(models), "someone/tiny", "int8")
    with serving(handler) as url:
        reply, text = await failure(request, tmp_path / "log", **hub_settings(url, tmp_path))
    assert reply.exit_code == 2 and "AWQ int4 weights, which cannot be stored as 'int8'" in text
    assert not any("safetensors" in name for name, _, _ in handler.asked if not name.endswith(".json"))


async def test_pulled_again_for_another_context_window(models, tmp_path, files):
    with serving(hub("someone/tiny", files)) as url:
        for context, window in ((0, 4096), (1000, 1000), (100_000, 4096)):
            request = Pull(str(models), "someone/tiny", context=context)
            await run(request, tmp_path / "log", **hub_settings(url, tmp_path))
            assert verify(models / "tiny").context_window == window


async def test_files_that_will_never_do_are_not_kept(models, tmp_path, files):
    (files / "tokenizer.json").write_text("{}")
    with serving(hub("someone/tiny", files)) as url:
        _, text = await failure(Pull(str(models), "someone/tiny"), tmp_path / "log", **hub_settings(url, tmp_path))
    assert "tokenizer.json" in text
    assert downloads(models) == []


async def test_an_unknown_quantization_asks_nobody(models, tmp_path):
    request = Pull(str(models), "someone/tiny", "int3")
    reply, text = await failure(request, tmp_path / "log", **hub_settings("http://127.0.0.1:9", tmp_path))
    assert reply.exit_code == 2 and "int3" in text


async def test_the_token_is_for_the_hub_alone(models, tmp_path, files):
    """Large files lie on other servers, whose addresses carry their own leave to read."""
    store = hub("someone/tiny", files)
    with serving(store) as elsewhere:
        handler = hub("someone/tiny", files, elsewhere=elsewhere)
        with serving(handler) as url:
            settings = hub_settings(url, tmp_path) | {"HF_TOKEN": "hf_sesame"}
            messages = await run(Pull(str(models), "someone/tiny"), tmp_path / "log", **settings)
    assert isinstance(messages[-1], Prepared)
    assert {token for _, _, token in handler.asked} == {"Bearer hf_sesame"}
    assert {name for name, _, _ in store.asked} == {SHARD, SHARD.replace("00002-of", "00001-of")}
    assert {token for _, _, token in store.asked} == {""}


async def test_offline_is_said(models, tmp_path):
    settings = hub_settings("http://127.0.0.1:9", tmp_path) | {"HF_HUB_OFFLINE": "1"}
    _, text = await failure(Pull(str(models), "someone/tiny"), tmp_path / "log", **settings)
    assert "HF_HUB_OFFLINE" in text


async def test_rm_removes_a_download_that_was_never_finished(models, tmp_path, files):
    with serving(hub("someone/tiny", files, cut_at=300_000)) as url:
        await failure(Pull(str(models), "someone/tiny"), tmp_path / "log", **hub_settings(url, tmp_path))
    assert downloads(models)
    process = await asyncio.create_subprocess_exec(*command("model", "rm", "tiny"), env=environment(tmp_path))
    assert await process.wait() == 0
    assert downloads(models) == []
