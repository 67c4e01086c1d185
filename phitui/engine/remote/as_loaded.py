"""A server as an engine that has loaded its model: what the console shows of it."""

from __future__ import annotations

from phitui.core.text import one_line
from phitui.engine.protocol.api import Loaded, Remote
from phitui.engine.protocol.capabilities import REMOTE_PARAMETERS
from phitui.engine.remote.endpoint import Endpoint
from phitui.engine.remote.kinds import TITLES, Server, described
from phitui.engine.remote.refused_fields import PARAMETER_OF


def as_loaded(server: Server, endpoint: Endpoint, seconds: float) -> Loaded:
    """`seconds` passed until it was known."""
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
        why=f"{described(server)}; {'; '.join(can)}",
        remote=remote,
    )
