"""Reads the terminal, whatever it sends: keys of another encoding, old mouse reports, damaged sequences."""

from __future__ import annotations

import codecs

from textual.drivers import linux_driver


def _lenient_decoder(encoding: str) -> codecs.IncrementalDecoder:
    return codecs.getincrementaldecoder(encoding)(errors="replace")


# Textual decodes strictly: one byte that is no UTF-8 (a Latin-1 key, an X10 mouse report) would end the application.
# Here it becomes U+FFFD. `run_input_thread` calls this with the encoding and then calls the result without arguments.
linux_driver.getincrementaldecoder = lambda encoding: lambda: _lenient_decoder(encoding)  # type: ignore[attr-defined,assignment]


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
