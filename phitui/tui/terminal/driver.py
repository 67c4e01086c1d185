"""Reads the terminal, whatever it sends: keys of another encoding, old mouse reports, damaged sequences, a whole text
as if somebody typed it."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator

from textual import events
from textual._xterm_parser import XTermParser
from textual.drivers import linux_driver
from textual.message import Message

# So many letters in one read were not typed: they were pasted in a terminal that does not mark that, or sent by a
# program. As keys 5,000 of them took half a minute. One letter again and again is a key that is held.
_BURST, _DIFFERENT = 32, 4


def _lenient_decoder(encoding: str) -> codecs.IncrementalDecoder:
    return codecs.getincrementaldecoder(encoding)(errors="replace")


# Textual decodes strictly: one byte that is no UTF-8 (a Latin-1 key, an X10 mouse report) would end the application.
# Here it becomes U+FFFD. `run_input_thread` calls this with the encoding and then calls the result without arguments.
linux_driver.getincrementaldecoder = lambda encoding: lambda: _lenient_decoder(encoding)  # type: ignore[attr-defined,assignment]


class _Parser(XTermParser):
    """Textual's, which gives a burst of letters as one paste."""

    def feed(self, data: str) -> Iterator[Message]:
        return gathered(super().feed(data))


linux_driver.XTermParser = _Parser  # type: ignore[attr-defined]


def gathered(found: Iterable[Message]) -> Iterator[Message]:
    """The events, with runs of letters that nobody types so fast as one paste each."""
    run: list[events.Key] = []
    try:
        for event in found:
            if isinstance(event, events.Key) and event.is_printable and "+" not in event.key.removeprefix("shift+"):
                run.append(event)
                continue
            yield from _together(run)
            run = []
            yield event
    except Exception:
        yield from _together(run)
        raise
    yield from _together(run)


def _together(run: list[events.Key]) -> list[Message]:
    text = "".join(event.character or "" for event in run)
    return [events.Paste(text)] if len(run) >= _BURST and len(set(text)) >= _DIFFERENT else [*run]


class TerminalDriver(linux_driver.LinuxDriver):
    """Textual's driver for Linux, which goes on reading after a sequence that its parser cannot read."""

    def _run_input_thread(self) -> None:
        while not self.exit_event.is_set():
            try:
                self.run_input_thread()
            except (ValueError, OverflowError):
                # Such as a key with a code point beyond Unicode: the parser raises. What was read together with it is
                # lost; reading begins anew, with a fresh parser.
                continue
            except Exception as error:  # noqa: BLE001 - a defect ends the application as any other does
                self._app.call_later(self._app._handle_exception, error)
            return
