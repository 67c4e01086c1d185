"""The probes of a tuning as they are kept, and its files for others."""

import csv
import io

import pytest

from phitui.core.errors import PhituiError
from phitui.storage.tunings import ProbeRecord, ServerProbeRecord
from phitui.workbench.tune.export import check_export, export_files, export_name, taken, write_export
from phitui.workbench.tune.records import table_csv

OK = ProbeRecord(2, 1, "int8_float32", 26, 256, 32, 10**9, 11 * 10**8, 0.0131, "ok", "start")
OOM = ProbeRecord(1, 0, "float16", 80, 256, 32, 2 * 10**9, None, None, "oom", "towards the limit")
REFUSED = ServerProbeRecord(16, 40.0, None, None, None, None, None, None, "failed", '=HYPERLINK("http://x")\nmore')


def rows(records):
    return list(csv.DictReader(io.StringIO(table_csv(records), newline="")))


def test_the_table_has_units_in_its_heads_and_nothing_where_nothing_was_measured():
    one, other = rows([OK, OOM])
    assert one["measured memory (bytes)"] == "1100000000" and one["decode step (ms)"] == "13.1"
    assert float(one["decode throughput (tokens/s)"]) == pytest.approx(26 / 0.0131, abs=0.001)
    assert (other["decode step (ms)"], other["measured memory (bytes)"], other["result"]) == ("", "", "oom")
    assert other["threads per worker"] == ""  # a card has none


@pytest.mark.parametrize("begins", "=+-@\t\r")
def test_a_servers_words_are_no_formula(begins):
    failed = ServerProbeRecord(*list(_fields(REFUSED))[:-1], f"{begins}cmd|' /C calc'!A0")
    assert rows([failed])[0]["purpose or error"] == f"'{begins}cmd|' /C calc'!A0"
    assert rows([REFUSED])[0]["purpose or error"].endswith("\nmore")


def _fields(record):
    return (getattr(record, name) for name in record.__struct_fields__)


def test_files_are_whole_private_and_no_others_are_written_over(tmp_path):
    name = tmp_path / "phi-3.5-mini"
    check_export(name)
    assert write_export(name, "<svg/>", "a,b\r\n").endswith("phi-3.5-mini.svg and .csv")
    picture, table = export_files(name)
    assert export_files(picture) == export_files(table) == (picture, table)
    assert (picture.read_text(), table.read_bytes()) == ("<svg/>", b"a,b\r\n")
    assert {file.stat().st_mode & 0o777 for file in (picture, table)} == {0o600}
    for deed in (lambda: check_export(name), lambda: write_export(name, "", "")):
        with pytest.raises(PhituiError, match="is there already"):
            deed()
    assert taken(str(name)) == (name, [picture, table])
    write_export(name, "<svg>2</svg>", "c\r\n", over=True)
    assert picture.read_text() == "<svg>2</svg>"
    with pytest.raises(PhituiError, match="is not a folder"):
        check_export(tmp_path / "missing" / "name")
    with pytest.raises(PhituiError, match="cannot be written"):
        write_export(tmp_path / "missing" / "name", "", "")
    with pytest.raises(PhituiError, match="Give another name"):
        taken("~no-such-user-here/x")


def test_a_models_name_cannot_lead_to_another_folder():
    assert export_name("../../etc/ph\x1b[31mi 3").startswith("phitui-tuning-etc-ph-31mi-3-")
    assert "/" not in export_name("a/b") and export_name("…").startswith("phitui-tuning-model-")
