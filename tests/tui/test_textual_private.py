"""What phitui uses of Textual that is not its public face: one test for each, so that another version fails by name."""

import ast
import inspect
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import pytest

import phitui.tui

PINNED = "8.2.8"
# Name: where it is, and what for.
USED = {
    "_anchored": ("textual.widget:Widget", "whether the transcript follows its end"),
    "_anchor_released": ("textual.widget:Widget", "the same, after paging up"),
    "_batch_count": ("textual.app:App", "what Textual drops in a batch of updates is painted after it"),
    "_app": ("textual.driver:Driver", "a defect while the terminal is read"),
    "_bindings": ("textual.dom:DOMNode", "the keys of [keys] in config.toml"),
    "_check_action_state": ("textual.app:App", "what the palette leaves out"),
    "_dirty_regions": ("textual._compositor:Compositor", "a layout that came with a question is painted"),
    "_full_map": ("textual._compositor:Compositor", "the same"),
    "_full_map_invalidated": ("textual._compositor:Compositor", "the same"),
    "_visible_map": ("textual._compositor:Compositor", "the same"),
    "_driver": ("textual.app:App", "mouse, clipboard, bell"),
    "_exception": ("textual.app:App", "a defect's exit code"),
    "_handle_exception": ("textual.app:App", "a defect in a task ends the console cleanly"),
    "_filters": ("textual.app:App", "ASCII"),
    "_screen_stack": ("textual.app:App", "the screens below the top"),
    "_styles_cache": ("textual.widget:Widget", "lines of widgets that are far away"),
    "_meta": ("rich.style:Style", "styles without Textual's marks"),
    "_blocks": ("textual.widgets._markdown:MarkdownBlock", "lists with the numbers that were given"),
    "_get_headers_and_rows": ("textual.widgets._markdown:MarkdownTable", "columns aligned as the answer has them"),
    "_highlighted_code": ("textual.widgets._markdown:MarkdownFence", "the language above code"),
    "_token": ("textual.widgets._markdown:MarkdownBlock", "whether a number ends with a dot or a bracket"),
    "_compositor": ("textual.screen:Screen", "repaints in few bytes"),
}
OVERRIDDEN = {
    "_action_command_list": "textual.command:CommandPalette",
    "_background_screens": "textual.app:App",
    "_check_bindings": "textual.app:App",
    "_display": "textual.app:App",
    "_end_batch": "textual.app:App",
    "_fatal_error": "textual.app:App",
    "_on_hide": "textual.widget:Widget",
    "_run_input_thread": "textual.drivers.linux_driver:LinuxDriver",
    "_on_key": "textual.widgets:TextArea",
    "_on_paste": "textual.widgets:TextArea",
    "_register": "textual.app:App",
    "_token_to_content": "textual.widgets._markdown:MarkdownBlock",
}
IMPORTED = {
    "textual._compositor": {"Compositor", "CompositorMap", "ChopsUpdate", "CompositorUpdate"},
    "textual.widgets._footer": {"FooterKey"},
    "textual.widgets._markdown": {
        *("MarkdownBullet", "MarkdownOrderedList", "MarkdownOrderedListItem"),
        *("MarkdownTable", "MarkdownTableContent"),
    },
    "textual._ansi_sequences": {"ANSI_SEQUENCES_KEYS"},
    "textual._xterm_parser": {"XTermParser"},
}
REPLACED = {
    "getincrementaldecoder": ("textual.drivers.linux_driver", 'getincrementaldecoder("utf-8")().decode'),
    "XTermParser": ("textual.drivers.linux_driver", "XTermParser(self._debug)"),
}
NOT_TEXTUALS = {"_exit", "_replace"}  # of os and of named tuples


def found(place):
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def trees():
    for path in sorted(Path(phitui.tui.__path__[0]).rglob("*.py")):
        yield ast.parse(path.read_text(encoding="utf-8"))


def test_the_version_is_the_one_whose_private_parts_are_used():
    assert version("textual") == PINNED


@pytest.mark.parametrize("name", sorted(USED))
def test_textual_has(name):
    owner = found(USED[name][0])
    sources = "\n".join(inspect.getsource(base) for base in owner.__mro__ if base.__module__ != "builtins")
    assert f"self.{name}" in sources or hasattr(owner, name)


@pytest.mark.parametrize("name", sorted(OVERRIDDEN))
def test_textual_still_has_what_is_overridden(name):
    assert hasattr(found(OVERRIDDEN[name]), name)


@pytest.mark.parametrize("name", sorted(REPLACED))
def test_textual_still_uses_what_is_replaced(name):
    module, use = REPLACED[name]
    assert use in inspect.getsource(import_module(module))


@pytest.mark.parametrize(("module", "names"), sorted(IMPORTED.items()))
def test_textual_exports(module, names):
    assert names <= set(vars(import_module(module)))


def own_names(tree):
    """What phitui itself defines or sets."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
            yield node.attr
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def test_nothing_else_that_is_private_is_used():
    """A name with an underscore that phitui's own classes do not set is Textual's, or rich's."""
    nodes = [node for tree in trees() for node in ast.walk(tree)]
    own = {name for tree in trees() for name in own_names(tree)}
    used = {node.attr for node in nodes if isinstance(node, ast.Attribute) and node.attr.startswith("_")}
    used = {name for name in used if not name.startswith("__")}
    assert used - own - set(USED) - NOT_TEXTUALS == set()


def test_nothing_else_is_imported():
    imported = {}
    for tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("textual") and "._" in node.module:
                imported.setdefault(node.module, set()).update(alias.name for alias in node.names)
    assert imported == IMPORTED
