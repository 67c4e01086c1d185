"""What the wheel is made of: the program and its data. The simulated card, as all that is the tests', stays out."""

from pathlib import Path

from phitui.config.layers import read_toml

ROOT = Path(__file__).resolve().parents[1]


def test_the_wheel_has_the_program_and_its_data_alone():
    wheel = read_toml(ROOT / "pyproject.toml")["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert set(wheel) == {"packages", "force-include", "shared-data"}
    assert wheel["shared-data"] == {"docs/phitui.1": "share/man/man1/phitui.1"}  # where man looks for it
    sources = [*wheel["packages"], *wheel["force-include"]]
    assert sorted(sources) == ["config.toml", "phitui", "themes"]
    assert all(target.startswith("phitui/data/") for target in wheel["force-include"].values())
    files = [path for source in sources for path in [ROOT / source, *(ROOT / source).rglob("*")]]
    files = [path for path in files if "__pycache__" not in path.parts]
    assert len(files) > 100
    assert not [path for path in files if path.is_symlink()]
    assert {path.suffix for path in files if path.is_file()} == {".py", ".toml"}
    assert not [path for path in files if "standin" in path.name or "simulated" in path.name]
    assert not [path for path in files if path.suffix == ".py" and b"standin" in path.read_bytes()]
