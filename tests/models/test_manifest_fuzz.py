"""Whatever stands in a phitui.json: the model or one clear line, and the store is listed all the same."""

from __future__ import annotations

import json
import shutil

import pytest
from fuzzing import damaged_bytes, damaged_json, fuzz, one_line
from hypothesis import given
from hypothesis import strategies as st

from phitui.models.manifest import MANIFEST_NAME, Manifest, read_manifest, verify
from phitui.models.store import list_models, resolve


@pytest.fixture(scope="module")
def store(tmp_path_factory, tiny_folder):
    folder = tmp_path_factory.mktemp("store")
    shutil.copytree(tiny_folder, folder / "tiny-phi3")
    return folder


def check(store, text):
    path = store / "tiny-phi3" / MANIFEST_NAME
    original = path.read_bytes()
    try:
        path.write_bytes(text)
        (listed,) = list_models(store)
        assert listed.name == "tiny-phi3" and (listed.manifest is None) == bool(listed.error)
        assert resolve(store, "tiny-phi3").folder == path.parent
        with one_line():
            manifest = read_manifest(path.parent)
            assert isinstance(manifest, Manifest) and manifest.total_bytes > 0 and manifest.weight_bytes > 0
        with one_line():
            verify(path.parent)
    finally:
        path.write_bytes(original)


@fuzz(300)
@given(st.data())
def test_settings_of_a_manifest(store, data):
    tree = json.loads((store / "tiny-phi3" / MANIFEST_NAME).read_bytes())
    del tree["chat_template"]  # required: put back below, so that it is damaged as often as the rest
    check(store, data.draw(damaged_json(tree | {"chat_template": "{{ messages }}"})))


@fuzz(150)
@given(st.data())
def test_bytes_of_a_manifest(store, data):
    original = (store / "tiny-phi3" / MANIFEST_NAME).read_bytes()
    check(store, data.draw(damaged_bytes(original, len(original))))
