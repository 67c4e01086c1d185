"""What kind of server it is and what it can do, from what it says of itself. No prompt is sent."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec

from phitui.core.errors import PhituiError, UnavailableError
from phitui.core.text import counted, one_line
from phitui.engine.protocol.api import Loaded, Remote
from phitui.engine.protocol.capabilities import PARAMETER_OF, REMOTE_PARAMETERS
from phitui.engine.remote.endpoint import Endpoint
from phitui.engine.remote.faults import Fault, refusal
from phitui.engine.remote.models_listed import Model, listed
from phitui.engine.remote.ollama import ollama_window
from phitui.engine.remote.transport import decoded, get, get_json

TITLES = {"vllm": "vLLM", "tgi": "TGI", "llama.cpp": "llama.cpp", "ollama": "Ollama", "other": "OpenAI-style"}
_NAME_CHARS = 120
_AT_END = "counts tokens at the end"


@dataclass(frozen=True)
class Server:
    """`model` is what a request names. `can`: what it does and what it does not tell, each in a few words for a person.
    `context_window` in tokens and `at_once`, how many prompts it answers at the same time, are None where they are not
    told. `route`: see engine/remote/routes.py. `left_out`: fields that it refuses (engine/remote/refused_fields.py)."""

    kind: str
    model: str
    version: str = ""
    context_window: int | None = None
    can: list[str] = field(default_factory=list)
    at_once: int | None = None
    route: str = "chat"
    left_out: tuple[str, ...] = ()

    @property
    def form(self) -> str:
        """The form that requests have: a key of DIALECTS and REMOTE_PARAMETERS."""
        return self.kind if self.route == "chat" else f"{self.kind} {self.route}"


class _Version(msgspec.Struct):
    version: str


class _Info(msgspec.Struct):
    """TGI's /info."""

    model_id: str
    version: str = ""
    max_total_tokens: Any = None
    max_concurrent_requests: Any = None


class _Settings(msgspec.Struct):
    n_ctx: Any = None


class _Props(msgspec.Struct):
    """llama.cpp's /props. `total_slots` is how many prompts it answers at once, each with its own n_ctx."""

    default_generation_settings: _Settings
    total_slots: Any = None
    build_info: str = ""


async def look(client: httpx.AsyncClient, endpoint: Endpoint) -> Server:
    """Ask the server what it is. Raises Fault where it does not answer or refuses the key, PhituiError where it has no
    model that can be meant."""
    models = await _models(client, endpoint)
    kind: str = endpoint.settings.kind
    if kind == "auto":
        kind = await _kind(client, endpoint, models)
    server = await _LOOKS[kind](client, endpoint, models)
    if server.context_window is None:
        server.can.append("context window not told")
    passed = [] if endpoint.settings.model else [one_line(model.id, 60) for model in models if not model.chats]
    if passed:
        server.can.append(f"skipped {', '.join(passed[:4])}, which cannot chat")
    if not server.model:
        raise UnavailableError(f"{endpoint.who} lists no model", f"Name one: engines.{endpoint.name}.model.")
    return server


async def _models(client: httpx.AsyncClient, endpoint: Endpoint) -> list[Model]:
    """/v1/models, which all of them have by now (TGI since 2.0). A server without it is not of this kind at all, unless
    something else of it is known."""
    status, headers, body = await get(client, endpoint, "/v1/models")
    if status in (401, 403, 407, 429) or status >= 500 or 300 <= status < 400:
        raise refusal(status, headers, body, endpoint)
    if status != 200:
        return []
    return listed(decoded(body, object))


async def _kind(client: httpx.AsyncClient, endpoint: Endpoint, models: list[Model]) -> str:
    owner = next((model.owned_by for model in models if model.owned_by), None)
    if owner in ("vllm", "llamacpp"):
        return {"vllm": "vllm", "llamacpp": "llama.cpp"}[owner]
    props, info, ollama = await asyncio.gather(
        _quietly(client, endpoint, "/props", _Props),
        _quietly(client, endpoint, "/info", _Info),
        _quietly(client, endpoint, "/api/version", _Version),
    )
    if props is not None:
        return "llama.cpp"
    if info is not None:
        return "tgi"
    if ollama is not None:
        return "ollama"
    if not models and not endpoint.settings.model:
        raise UnavailableError(
            f"{endpoint.who} answers, but is not an engine that phitui knows (no /v1/models)",
            "Check the url, or give model and kind.",
        )
    return "other"


async def _quietly(client: httpx.AsyncClient, endpoint: Endpoint, path: str, kind: type[msgspec.Struct]) -> Any:
    """What the server says there, None where it says nothing of use: a server may guard what we only would like to
    know."""
    try:
        return await get_json(client, endpoint, path, kind)
    except Fault:
        return None


def _chosen(endpoint: Endpoint, models: list[Model], strict: bool) -> Model | None:
    """The configured model, or the first that chats. With `strict`, raises PhituiError where the server has not the
    configured one: it lists all that it has."""
    wanted = endpoint.settings.model
    if not wanted:
        found = next((model for model in models if model.chats), None)
        if found is None and models:
            names = ", ".join(one_line(model.id, 60) for model in models[:8])
            raise UnavailableError(
                f"{endpoint.who} lists no model that can chat: {names}", f"Name one: engines.{endpoint.name}.model."
            )
        return found
    found = next((model for model in models if model.id in (wanted, f"{wanted}:latest")), None)
    if found is None and strict and models:
        names = ", ".join(one_line(model.id, 60) for model in models[:8])
        raise PhituiError(f"{endpoint.who} has no model {one_line(wanted, 80)}", f"It has: {names}.")
    return found or Model(wanted)


def _count(value: object) -> int | None:
    """A number of tokens or slots that can be true."""
    return value if type(value) is int and 0 < value <= 10**9 else None


async def _look_vllm(client: httpx.AsyncClient, endpoint: Endpoint, models: list[Model]) -> Server:
    model = _chosen(endpoint, models, strict=True)
    version = await _quietly(client, endpoint, "/version", _Version)
    can = ["counts tokens on the way", "many prompts at once"]
    window = _count(model.max_model_len) if model else None
    return Server("vllm", model.id if model else "", version.version if version else "", window, can)


async def _look_llama_cpp(client: httpx.AsyncClient, endpoint: Endpoint, models: list[Model]) -> Server:
    model = _chosen(endpoint, models, strict=False)  # it answers to any name
    props = await _quietly(client, endpoint, "/props", _Props)
    window = _count(props.default_generation_settings.n_ctx) if props else None
    slots = _count(props.total_slots) if props else None
    can = ["counts tokens on the way", *([f"{counted(slots, 'prompt')} at once"] if slots else [])]
    return Server("llama.cpp", model.id if model else "default", props.build_info if props else "", window, can, slots)


async def _look_tgi(client: httpx.AsyncClient, endpoint: Endpoint, models: list[Model]) -> Server:
    model = _chosen(endpoint, models, strict=False)  # it has one, and answers to any name
    info = await _quietly(client, endpoint, "/info", _Info)
    if info is None:
        return Server("tgi", model.id if model else "tgi", can=[_AT_END])
    at_once = _count(info.max_concurrent_requests)
    can = [_AT_END, *([f"{counted(at_once, 'prompt')} at once"] if at_once else [])]
    named = endpoint.settings.model or info.model_id
    return Server("tgi", named, info.version, _count(info.max_total_tokens), can, at_once)


async def _look_ollama(client: httpx.AsyncClient, endpoint: Endpoint, models: list[Model]) -> Server:
    model = _chosen(endpoint, models, strict=True)
    name = model.id if model else ""
    version, window = await asyncio.gather(
        _quietly(client, endpoint, "/api/version", _Version), ollama_window(client, endpoint, name)
    )
    can = [_AT_END] if window is None else [_AT_END, f"gets a context of {window} tokens from phitui (num_ctx)"]
    return Server("ollama", name, version.version if version else "", window, can)


async def _look_other(client: httpx.AsyncClient, endpoint: Endpoint, models: list[Model]) -> Server:
    del client  # there is nothing more to ask
    model = _chosen(endpoint, models, strict=False)  # a gateway need not list all that it has
    return Server("other", model.id if model else "", can=["may not count tokens"])


_LOOKS = {
    "vllm": _look_vllm,
    "tgi": _look_tgi,
    "llama.cpp": _look_llama_cpp,
    "ollama": _look_ollama,
    "other": _look_other,
}


def as_loaded(server: Server, endpoint: Endpoint, seconds: float) -> Loaded:
    """The server as an engine that has loaded its model. `seconds` passed until it was known."""
    model = one_line(server.model, 120)
    can = [*server.can, "its hardware is not read from here"]
    if not endpoint.encrypted:
        can.append("not encrypted")
    elif not endpoint.settings.verify:
        can.append("its certificate is not verified")
    refused = {PARAMETER_OF.get(field, field) for field in server.left_out} - {"max_tokens", "stop"}
    taken = tuple(name for name in REMOTE_PARAMETERS[server.form] if name not in refused)
    remote = Remote(endpoint.name, endpoint.host, TITLES[server.kind], model, can, taken, server.at_once)
    return Loaded(
        name=model,
        title=model,
        device="remote",
        compute_type="",
        threads=0,
        context_window=server.context_window,
        weight_bytes=0,
        load_s=seconds,
        why=f"{one_line(f'{TITLES[server.kind]} {server.version}'.strip(), _NAME_CHARS)}; {'; '.join(can)}",
        remote=remote,
    )
