"""Configuration: shipped defaults, layers, what is told of a wrong file, and writing a setting back."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phitui.config.layers import (
    Config,
    config_dir,
    home,
    load_config,
    logs_dir,
    models_dir,
    read_toml,
    save_setting,
    user_config_file,
)
from phitui.config.remotes import HostSettings, RemoteSettings
from phitui.config.schema import SECTIONS, check_layer
from phitui.core.errors import PhituiError, UsageError
from phitui.core.resources import resource


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """A user who has configured nothing."""
    return {"XDG_CONFIG_HOME": str(tmp_path / "config"), "XDG_DATA_HOME": str(tmp_path / "data")}


@pytest.fixture
def user_file(environ: dict[str, str]) -> Path:
    path = user_config_file(environ)
    path.parent.mkdir(parents=True)
    return path


def refusal(path: Path, environ: Mapping[str, str]) -> str:
    with pytest.raises(UsageError) as caught:
        load_config(path, {}, environ)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_defaults(environ: dict[str, str]) -> None:
    config = load_config(None, {}, environ)
    assert config.sources == (resource("config.toml"),)
    assert (config.model.name, config.engine.device, config.engine.compute_type) == ("auto", "auto", "auto")
    assert (config.engine.threads, config.generation.max_tokens, config.generation.temperature) == (
        0,
        512,
        0.2,
    )
    assert (config.console.repaint_hz, config.console.paste_limit_chars, config.console.mouse) == (
        12,
        200_000,
        "auto",
    )
    assert (config.hardware.interval_s, config.theme.name) == (1.0, "phitui-dark")


def test_shipped_file_has_every_setting_with_a_comment_above_it() -> None:
    shipped = read_toml(resource("config.toml"))
    names = {section: list(struct.__struct_fields__) for section, struct in SECTIONS.items()}
    assert {section: list(values) for section, values in shipped.items()} == names
    lines = resource("config.toml").read_text("utf-8").splitlines()
    for before, line in pairwise(lines):
        if re.match(r"\w+ = ", line):
            assert before.startswith("# "), line


def test_ranges_in_the_shipped_comments_are_the_ones_that_are_checked(environ: dict[str, str]) -> None:
    """A comment that says "…, 1 to 15." is read back and both ends are tried."""
    text = resource("config.toml").read_text("utf-8")
    found = 0
    for block in text.split("\n\n"):
        span = re.search(r"([\d.]+) to (\d+)\.", block)
        name = re.search(r"^(\w+) = ", block, re.MULTILINE)
        if not (span and name):
            continue
        found += 1
        section = next(s for s, struct in SECTIONS.items() if name[1] in struct.__struct_fields__)
        low, high = (float(end) if "." in end else int(end) for end in span.groups())
        for value in (low, high):
            check_layer({section: {name[1]: value}}, "test")
        for value in (low - 1, high + 1):
            with pytest.raises(UsageError):
                check_layer({section: {name[1]: value}}, "test")
    assert found == 14


def test_layers_override_key_by_key(environ: dict[str, str], user_file: Path, tmp_path: Path) -> None:
    user_file.write_text('[engine]\nthreads = 1\nrestart_limit = 1\ndevice = "cpu"\n[theme]\nname = "nord"\n')
    named, flag = tmp_path / "named.toml", tmp_path / "flag.toml"
    named.write_text("[engine]\nthreads = 2\nrestart_limit = 2\n")
    flag.write_text("[engine]\nthreads = 3\n")
    config = load_config(flag, {"engine": {"compute_type": "int8"}}, {**environ, "PHITUI_CONFIG": str(named)})
    assert config.engine.threads == 3
    assert config.engine.restart_limit == 2
    assert config.engine.device == "cpu"
    assert config.engine.compute_type == "int8"
    assert config.theme.name == "nord"
    assert config.console.repaint_hz == 12
    assert config.sources == (resource("config.toml"), user_file, named, flag)


def test_command_line_wins_and_options_not_given_count_for_nothing(environ: dict[str, str], user_file: Path) -> None:
    user_file.write_text('[engine]\ndevice = "cuda"\nthreads = 4\n')
    config = load_config(None, {"engine": {"device": "cpu", "threads": None}, "theme": {"name": None}}, environ)
    assert (config.engine.device, config.engine.threads, config.theme.name) == ("cpu", 4, "phitui-dark")
    with pytest.raises(UsageError, match=r'^command line: engine\.device: expected one of "auto", .* got "gpu"$'):
        load_config(None, {"engine": {"device": "gpu"}}, environ)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[engine]\ntreads = 1", "engine.treads: no such setting; did you mean engine.threads?"),
        ("[engine]\nqwerty = 1", "engine.qwerty: no such setting"),
        ("[model]\nthreads = 1", "model.threads: no such setting; did you mean engine.threads?"),
        ("threads = 1", "threads: no such setting; did you mean engine.threads?"),
        ("[engin]\nthreads = 1", "[engin]: no such section; did you mean [engine]?"),
        ("[zzz]", "[zzz]: no such section"),
        ("engine = 3", "engine: expected a section [engine], got 3"),
        ("[[engine]]", "engine: expected a section [engine], got a list"),
        ('[engine]\nthreads = "two"', 'engine.threads: expected a whole number from 0 to 1024, got "two"'),
        ("[engine]\nthreads = -1", "engine.threads: expected a whole number from 0 to 1024, got -1"),
        ("[engine]\nthreads = true", "engine.threads: expected a whole number from 0 to 1024, got true"),
        ("[engine]\nthreads = 1.0e0", "engine.threads: expected a whole number from 0 to 1024, got 1.0"),
        ("[engine]\nthreads = 1979-05-27", "engine.threads: expected a whole number from 0 to 1024, got 1979-05-27"),
        ("[engine]\nthreads = [1]", "engine.threads: expected a whole number from 0 to 1024, got a list"),
        ("[engine.threads]\na = 1", "engine.threads: expected a whole number from 0 to 1024, got a section"),
        (
            f"[engine]\nthreads = 0x{'f' * 9000}",
            "expected a whole number from 0 to 1024, got a number that is far too large",
        ),
        ("[generation]\ntemperature = nan", "generation.temperature: expected a number from 0 to 5, got nan"),
        ("[generation]\ntop_p = 0", "generation.top_p: expected a number over 0, at most 1, got 0"),
        ("[console]\nmarkdown = 1", "console.markdown: expected true or false, got 1"),
        ('[console]\nmouse = "of"', 'console.mouse: expected one of "auto", "on", "off", got "of"'),
        ("[theme]\nname = ''", 'theme.name: expected a string that is not empty, got ""'),
        ('[generation]\nsystem = ["x"]', "generation.system: expected a string, got a list"),
        ('[engine]\n"\\u001b[2Jx\\ny" = 1', "engine.x y: no such setting"),
        ("[engine]\nthreads = 1\n\n[theme\n", "line 4, column 7: not TOML: Expected ']'"),
        ('[theme]\nname = "abc', "line 2: not TOML: Unterminated string"),
        ("[theme]\nname = 'a'\nname = 'b'", "line 3"),
        (f"a = {'[' * 5000}", "lists or tables are nested too deep"),
        (f"a = {'9' * 9000}", ""),  # Python 3.10 parses it, and then there is no such setting
    ],
)
def test_wrong_files_are_told_of_in_one_line(environ: dict[str, str], user_file: Path, text: str, told: str) -> None:
    user_file.write_text(text)
    with pytest.raises(UsageError) as caught:
        load_config(None, {}, environ)
    message = str(caught.value)
    assert message.startswith(f"{user_file}: ")
    assert told in message
    assert "\n" not in message
    assert "\x1b" not in message
    assert len(message) < 400


def test_files_that_cannot_be_read(environ: dict[str, str], tmp_path: Path) -> None:
    gone = tmp_path / "gone.toml"
    assert refusal(gone, environ).startswith(f"{gone}: no such file")
    with pytest.raises(UsageError, match="no such file"):
        load_config(None, {}, {**environ, "PHITUI_CONFIG": str(gone)})
    assert "cannot be read: Is a directory" in refusal(tmp_path, environ)
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b"[model]\n# caf\xe9\n")
    assert refusal(latin, environ) == f"{latin}: line 2: not UTF-8 (byte 0xe9)"
    assert "cannot be read: Input/output error" in refusal(Path("/proc/self/mem"), environ)
    assert "cannot be read: it is not a file" in refusal(Path("/dev/zero"), environ)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(environ: dict[str, str], user_file: Path) -> None:
    user_file.touch(0o000)
    with pytest.raises(UsageError, match="cannot be read: Permission denied"):
        load_config(None, {}, environ)


def test_home_folder_is_shown_as_a_tilde(environ: dict[str, str], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "x.toml").write_text("a=1")
    assert refusal(tmp_path / "x.toml", environ).startswith("~/x.toml: ")


def test_byte_order_mark_and_windows_line_ends_are_fine(environ: dict[str, str], user_file: Path) -> None:
    user_file.write_bytes(b"\xef\xbb\xbf[engine]\r\nthreads = 7\r\n")
    assert load_config(None, {}, environ).engine.threads == 7


SCALARS = st.one_of(st.integers(), st.floats(), st.booleans(), st.text(max_size=8))
VALUES = st.recursive(
    SCALARS, lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)), max_leaves=4
)


@given(st.dictionaries(st.one_of(st.sampled_from(["name", "threads", "top_p"]), st.text()), VALUES, max_size=4))
def test_any_content_is_taken_or_refused_in_one_line(data: dict[str, Any]) -> None:
    for section in [*SECTIONS, "other"]:
        try:
            checked = check_layer({section: data}, "file")
        except UsageError as error:
            assert len(str(error).splitlines()) == 1
        else:
            assert set(checked) == {section}


def test_folders(tmp_path: Path, monkeypatch: Any) -> None:
    environ = {"PHITUI_HOME": str(tmp_path / "h"), "XDG_CONFIG_HOME": "/etc/x"}
    assert home(environ) == tmp_path / "h"
    assert models_dir(environ) == tmp_path / "h" / "models"
    assert logs_dir(environ) == tmp_path / "h" / "logs"
    assert config_dir(environ) == Path("/etc/x/phitui")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert config_dir({"XDG_CONFIG_HOME": "relative/is/ignored"}).is_relative_to(tmp_path)
    assert home({"PHITUI_HOME": "~/data"}) == tmp_path / "data"
    assert home({}).is_relative_to(tmp_path)


def test_save_makes_file_and_folders(environ: dict[str, str]) -> None:
    path = user_config_file(environ)
    save_setting(path, "theme.name", "nord")
    assert load_config(None, {}, environ).theme.name == "nord"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [child.name for child in path.parent.iterdir()] == ["config.toml"]


def test_save_keeps_all_else(environ: dict[str, str], user_file: Path) -> None:
    before = '# mine\n\n[theme]  # looks\nname = "nord" # cold\n\n[engine]\n# two is best here\nthreads =   2\n'
    user_file.write_text(before)
    user_file.chmod(0o640)
    save_setting(user_file, "theme.name", "gruvbox")
    save_setting(user_file, "engine.device", "cpu")
    after = user_file.read_text()
    assert after == before.replace('"nord"', '"gruvbox"') + 'device = "cpu"\n'
    assert stat.S_IMODE(user_file.stat().st_mode) == 0o640
    save_setting(user_file, "console.markdown", False)
    assert user_file.read_text() == after + "\n[console]\nmarkdown = false\n"


@pytest.mark.parametrize(
    "before",
    [
        "",
        "# only a comment",
        'theme.name = "nord"\n',
        'theme = {name = "nord"}\n',
        "[theme]",
        '[theme]\r\nname = "nord"\r\n',
        '\ufeff[theme]\nname = "nord"\n',
        "[theme]\n[engine]\nthreads = 1",
        "engine.threads = 1",
    ],
)
def test_save_into_files_of_every_form(environ: dict[str, str], user_file: Path, before: str) -> None:
    user_file.write_bytes(before.encode())
    threads = load_config(None, {}, environ).engine.threads
    save_setting(user_file, "theme.name", "gruvbox")
    config = load_config(None, {}, environ)
    assert (config.theme.name, config.engine.threads) == ("gruvbox", threads)


def test_save_through_a_link_keeps_the_link(environ: dict[str, str], user_file: Path, tmp_path: Path) -> None:
    real = tmp_path / "dotfiles" / "phitui.toml"
    real.parent.mkdir()
    real.write_text("# linked\n")
    user_file.symlink_to(real)
    save_setting(user_file, "theme.name", "nord")
    assert user_file.is_symlink()
    assert real.read_text() == '# linked\n\n[theme]\nname = "nord"\n'


def test_save_refuses_and_leaves_the_file(environ: dict[str, str], user_file: Path) -> None:
    for before, key, value in [
        ("[theme]\n", "theme.nome", "x"),
        ("[theme]\n", "console.repaint_hz", 60),
        ("[theme\n", "theme.name", "x"),
        ("[theme]\nnme = 1\n", "theme.name", "x"),
    ]:
        user_file.write_text(before)
        with pytest.raises(UsageError):
            save_setting(user_file, key, value)
        assert user_file.read_text() == before


def test_save_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PhituiError, match=r"cannot be written: (Not a directory|File exists)"):
        save_setting(tmp_path / "file" / "config.toml", "theme.name", "nord")


def test_settings_are_frozen_and_complete(environ: dict[str, str]) -> None:
    config = load_config(None, {}, environ)
    with pytest.raises(AttributeError):
        config.engine.threads = 3  # type: ignore[misc]
    again = msgspec.structs.replace(config, sources=())
    assert msgspec.convert(msgspec.to_builtins(again), Config) == again


def test_loading_costs_no_heavy_imports(environ: dict[str, str]) -> None:
    code = "import sys, phitui.config.layers as c; c.load_config(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "msgspec" in loaded
    assert not loaded & {"tomlkit", "platformdirs", "difflib", "tempfile", "textual", "asyncio"}


BOX = '[engines.box]\nurl = "http://127.0.0.1:8000"\n'


def test_engines_have_defaults_and_layers_override_them_key_by_key(
    environ: dict[str, str], user_file: Path, tmp_path: Path
) -> None:
    user_file.write_text(BOX + "retries = 1\n[engines.other]\nurl = 'https://a.example/v1'\n")
    flag = tmp_path / "flag.toml"
    flag.write_text("[engines.box]\nmodel = 'm'\n")
    engines = load_config(flag, {"engines": {"box": {"retries": 7}}}, environ).engines
    assert sorted(engines) == ["box", "other"]
    assert (engines["box"].url, engines["box"].model, engines["box"].retries) == ("http://127.0.0.1:8000", "m", 7)
    assert (engines["other"].verify, engines["other"].plain_http_key, engines["other"].kind) == (True, False, "auto")
    assert load_config(environ=environ).engine.name == "ct2"


def test_the_example_in_the_shipped_file_has_the_defaults(environ: dict[str, str], user_file: Path) -> None:
    text = resource("config.toml").read_text(encoding="utf-8").partition("# [engines.box]\n")[2]
    lines = text.partition("\n\n")[0].splitlines()
    user_file.write_text("[engines.box]\n" + "\n".join(line.removeprefix("# ") for line in lines))
    assert load_config(environ=environ).engines["box"] == RemoteSettings(url="http://127.0.0.1:8000")
    assert {line.removeprefix("# ").split(" ")[0] for line in lines} == set(RemoteSettings.__struct_fields__)


def test_the_example_of_a_host_has_the_defaults(environ: dict[str, str], user_file: Path) -> None:
    text = resource("config.toml").read_text(encoding="utf-8").partition("# [hosts.gpu1]\n")[2]
    lines = text.splitlines()
    user_file.write_text("[hosts.gpu1]\n" + "\n".join(line.removeprefix("# ") for line in lines))
    assert load_config(environ=environ).hosts["gpu1"] == HostSettings(url="http://127.0.0.1:9400/metrics")
    assert {line.removeprefix("# ").split(" ")[0] for line in lines} == set(HostSettings.__struct_fields__)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[hosts.gpu1]\nurll = 'x'", "hosts.gpu1.urll: no such setting; did you mean hosts.gpu1.url?"),
        ("[hosts.gpu1]\nurl = 'gpu1:9400'", "is not an address such as"),
        ("[hosts.gpu1]\ninterval_s = 0", "expected a number from 0.2 to 3600"),
        ('[hosts."a b"]\nurl = "http://a"', "a name has letters"),
        ("hosts = 3", "expected sections [hosts.NAME]"),
        (BOX + "modell = 'm'", "engines.box.modell: no such setting; did you mean engines.box.model?"),
        (BOX + "api_key = 'sk-x'", "engines.box.api_key: no such setting; did you mean engines.box.api_key_env?"),
        (BOX + "api_key_env = 'sk-secret-1'", "expected the name of an environment variable"),
        (BOX + "headers = 'x'", "expected a table of strings"),
        (BOX + "headers = { 'X-A' = 1 }", "expected a table of strings"),
        (BOX + 'headers = { "X-A" = "a\\nb" }', "not plain ASCII on one line"),
        (BOX + 'headers = { "Host" = "b" }', "not a header that can be set"),
        (BOX + "retries = 99", "expected a whole number from 0 to 20"),
        (BOX + "idle_timeout_s = 0", "expected a number from 0.1 to 86400"),
        (BOX + "idle_timeout_s = nan", "expected a number"),
        (BOX + "kind = 'vlm'", 'expected one of "auto"'),
        ("[engines.ct2]\nurl = 'http://a'", 'is not "ct2"'),
        ('[engines."a b"]\nurl = "http://a"', "a name has letters"),
        ("[engines]\nbox = 1", "engines.box: expected a section"),
        ("engines = 1", "expected sections [engines.NAME]"),
        ("[engines.box]\nurl = 'http://me:sk-secret-1@a'", "does not carry a key"),
        ("[engines.box]\nurl = 'http://a?k=sk-secret-1'", "no ? or # part"),
        ("[engines.box]\nurl = 'box:8000'", "is not an address"),
        ("[engine]\nname = ''", "a string that is not empty"),
    ],
)
def test_wrong_engines_are_told_of_and_no_key(environ: dict[str, str], user_file: Path, text: str, told: str) -> None:
    user_file.write_text(text)
    with pytest.raises(UsageError) as caught:
        load_config(environ=environ)
    line = str(caught.value)
    assert told in line and "sk-secret" not in line and "\n" not in line


def test_settings_of_an_engine_do_not_show_their_headers() -> None:
    settings = RemoteSettings(url="http://127.0.0.1", headers={"X-Key": "sk-secret"})
    assert "sk-secret" not in repr(settings) and "sk-secret" not in str({"box": settings})
