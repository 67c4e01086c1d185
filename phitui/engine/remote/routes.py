"""Which route is taken: /v1/chat/completions, where the server applies the model's chat template; /v1/completions, with
a prompt that is made here; or text-generation-inference's native /generate_stream, which takes such a prompt as well,
and more parameters."""

from __future__ import annotations

import dataclasses
import re

from phitui.core.errors import UsageError
from phitui.engine.remote.endpoint import Endpoint
from phitui.engine.remote.faults import Fault
from phitui.engine.remote.kinds import TITLES, Server
from phitui.engine.remote.plain_chat import form_of

_CHAT_SINCE = (1, 4)  # docs/source/messages_api.md
_VERSION = re.compile(r"v?(\d{1,4})\.(\d{1,4})")
_NO_TEMPLATE = "template not found"


def routed(server: Server, endpoint: Endpoint) -> Server:
    """The server with the route that is configured, or that its version has. Raises UsageError where a route is
    configured that this kind of server does not have."""
    wanted = endpoint.settings.route
    if wanted == "completions" and server.kind != "ollama":
        return _with_prompts(server, "completions", "/v1/completions")
    if server.kind != "tgi":
        if wanted in ("generate", "completions"):
            where = f"{endpoint.table}.{endpoint.name}.route"
            of = "TGI" if wanted == "generate" else "servers that speak as OpenAI's do"
            raise UsageError(
                f'{where}: "{wanted}" is a route of {of}, and this is {TITLES[server.kind]}', "Leave it out."
            )
        return server
    version = _VERSION.match(server.version)
    old = version is not None and (int(version[1]), int(version[2])) < _CHAT_SINCE
    return _native(server) if wanted == "generate" or (wanted == "auto" and old) else server


def without_chat(server: Server, endpoint: Endpoint, fault: Fault) -> Server | None:
    """The server by its native route, where `fault` says that it has no chat route or no chat template for its model;
    else None."""
    if (server.kind, server.route, endpoint.settings.route) != ("tgi", "chat", "auto"):
        return None
    no_template = fault.status in (404, 422) and _NO_TEMPLATE in fault.error.message.lower()
    return _native(server) if fault.status == 404 or no_template else None


def _native(server: Server) -> Server:
    return _with_prompts(server, "generate", "/generate_stream")


def _with_prompts(server: Server, route: str, path: str) -> Server:
    can = [*server.can, f"asked by {path}, the chat as {form_of(server.model)}"]
    return dataclasses.replace(server, route=route, can=can)
