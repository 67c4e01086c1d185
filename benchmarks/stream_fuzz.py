"""Valid streams of servers, mutated, through the reader of remote engines: nothing it raises is unexpected, no run
hangs, and no text that had come is lost.

    python benchmarks/stream_fuzz.py                 # 100,000 runs, result in benchmarks/results/stream_fuzz.json
    python benchmarks/stream_fuzz.py --runs 2000 --seed 7 --no-result

Each run makes an answer in one of the forms in use (server-sent events, lines of JSON, Ollama's, TGI's), mutates some
of its events (cut, doubled, swapped, merged, fields reordered, of a wrong type, missing or renamed, bytes changed), and
gives it to the reader in pieces of random size. The text of all events before the first mutated one must come out,
whole and in order, and what has come out must still be there at the end.
"""

from __future__ import annotations

import argparse
import collections
import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from report import machine, publish

from phitui.engine.remote.account import Account
from phitui.engine.remote.pieces import Form, OpenAIChunks, ollama_piece, read_piece
from phitui.engine.remote.tgi_pieces import tgi_piece
from phitui.engine.remote.wire import Garbled, TooMuch, WireEvent, WireReader

LIMIT_S = 1.0
_WORDS = ("one ", "two\n", "drei ", "quatre ", "пять ", "六", "🙂 ", "<b>", "</think>", "<think>", '"', "\\n", "\u2028")
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, 10**30, "", "x", "\ud7ff", [], {}, [None], [[]], {"a": {}}, [{"text": "t"}],
    {"type": 7},
)  # fmt: skip
_INSERTED = (b"\n", b"\n\n", b"\r", b"\0", b"{", b"data: ", b"\xff\xfe", b"[" * 3000)


@dataclass
class Outcome:
    """What became of one run. `shown` is all text that came out, thinking included; `raised` the name of what the
    reader raised."""

    shown: str
    raised: str
    seconds: float


@dataclass
class Tally:
    """What became of all of them."""

    runs: int = 0
    endings: collections.Counter[str] = field(default_factory=collections.Counter)
    longest_s: float = 0.0
    failures: list[str] = field(default_factory=list)


def openai_events(draw: random.Random, texts: list[str]) -> list[Any]:
    def chunk(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}

    made: list[Any] = [chunk({"role": "assistant", "content": ""})]
    for text in texts:
        form = draw.randrange(4)
        made.append(chunk({"content": [{"type": "text", "text": text}] if form == 0 else text}))
    made.append(chunk({}, draw.choice(["stop", "length", "content_filter", "tool_calls"])))
    counts = {"prompt_tokens": 5, "completion_tokens": len(texts), "total_tokens": 5 + len(texts)}
    return [*made, {"id": "c", "choices": [], "usage": counts}, "[DONE]"]


def ollama_events(draw: random.Random, texts: list[str]) -> list[Any]:
    del draw
    made = [{"model": "m", "message": {"role": "assistant", "content": text}, "done": False} for text in texts]
    end = {"done": True, "done_reason": "stop", "prompt_eval_count": 5, "eval_count": len(texts)}
    return [*made, {"model": "m", "message": {"role": "assistant", "content": ""}, **end}]


def tgi_events(draw: random.Random, texts: list[str]) -> list[Any]:
    del draw
    made: list[Any] = [{"token": {"id": 1, "text": text, "special": False}, "generated_text": None} for text in texts]
    details = {"finish_reason": "eos_token", "generated_tokens": len(texts), "input_length": 5}
    end = {"token": {"id": 2, "text": "</s>", "special": True}, "generated_text": "".join(texts), "details": details}
    return [*made, end]


# How events are made, how they are framed, and how they are read.
_FORMS: dict[str, tuple[Any, str, Callable[[], Form]]] = {
    "chat": (openai_events, "events", lambda: OpenAIChunks().piece),
    "chat in lines": (openai_events, "lines", lambda: OpenAIChunks().piece),
    "Ollama": (ollama_events, "lines", lambda: ollama_piece),
    "TGI": (tgi_events, "events", lambda: tgi_piece),
}


def mutated(draw: random.Random, event: Any) -> Any:
    """The event with one thing in it changed."""
    if not isinstance(event, dict):
        return draw.choice(["[DONE", "", "[DONE] ", "DONE", event])
    event = json.loads(json.dumps(event))
    places = list(_places(event))
    holder, key = draw.choice(places)
    how = draw.randrange(5)
    if how == 0:
        holder[key] = draw.choice(_VALUES)
    elif how == 1 and isinstance(holder, dict):
        holder[draw.choice(["error", "detail", "message", "choices", "x", "\u0000"])] = holder.pop(key)
    elif how == 2:
        del holder[key]
    elif how == 3 and isinstance(holder, dict):
        turned = list(holder.items())
        draw.shuffle(turned)
        holder.clear()
        holder.update(turned)
    else:
        holder[key] = [holder[key]] if draw.random() < 0.5 else {"text": holder[key]}
    return event


def _places(found: Any) -> Iterator[tuple[Any, Any]]:
    entries = list(found.items()) if isinstance(found, dict) else list(enumerate(found))
    for key, value in entries:
        yield found, key
        if isinstance(value, dict | list):
            yield from _places(value)


def framed(draw: random.Random, event: Any, kind: str) -> bytes:
    """The event's bytes on the wire."""
    text = event if isinstance(event, str) else json.dumps(event, ensure_ascii=draw.random() < 0.3)
    data = text.encode("utf-8", "surrogatepass")
    if kind == "lines":
        return data + b"\n"
    end = draw.choice([b"\n\n", b"\r\n\r\n", b"\n\n", b"\r\r"])
    noise = draw.choice([b"", b"", b": ping\n\n", b"id: 1\n", b"event: message\n"])
    return noise + draw.choice([b"data: ", b"data:"]) + data + end


def spoiled(draw: random.Random, data: bytes) -> bytes:
    """The bytes of an event, cut, doubled, without their end, or with one changed."""
    how = draw.randrange(6)
    place = draw.randrange(len(data)) if data else 0
    if how == 0:
        return data[:place]
    if how == 1:
        return data + data
    if how == 2:
        return data.rstrip(b"\r\n")
    if how == 3:
        return data[:place] + bytes([draw.randrange(256)]) + data[place + 1 :]
    if how == 4:
        return data[:place] + draw.choice(_INSERTED) + data[place:]
    return data


def stream(draw: random.Random) -> tuple[str, bytes, str]:
    """A form, the bytes of a stream in it, and the text that stands before anything that was mutated."""
    form = draw.choice(list(_FORMS))
    make, kind, _ = _FORMS[form]
    texts = [f"{place} {draw.choice(_WORDS)}" for place in range(draw.randrange(1, 9))]
    events = make(draw, texts)
    touched = sorted(draw.sample(range(len(events)), k=min(draw.randrange(0, 4), len(events))))
    parts = []
    for place, event in enumerate(events):
        if place in touched and draw.random() < 0.6:
            event = mutated(draw, event)
        data = framed(draw, event, kind)
        parts.append(spoiled(draw, data) if place in touched and draw.random() < 0.6 else data)
    if touched and touched[0] + 1 < len(parts) and draw.random() < 0.2:
        parts[touched[0]], parts[touched[0] + 1] = parts[touched[0] + 1], parts[touched[0]]
    first = touched[0] if touched else len(events)
    offset = 1 if make is openai_events else 0
    return form, b"".join(parts), "".join(texts[: max(0, first - offset)])


def read(form: str, data: bytes, draw: random.Random) -> Outcome:
    """The stream through the reader, as an attempt has it. Raises what the reader must not."""
    begun = time.perf_counter()
    wire, understood = WireReader(), _FORMS[form][2]()
    account = Account(1, 64, 100, 4096)
    shown, raised = "", ""
    try:
        for event in _events(wire, data, draw):
            piece = read_piece(event, understood)
            if piece is None:
                continue
            if piece.said is not None:
                raised = "said"
                break
            delta = account.take(piece)
            shown += delta.thinking + delta.text if delta is not None else ""
            if piece.done:
                break
    except (Garbled, TooMuch) as error:
        raised = type(error).__name__
    rest = account.flush()
    shown += rest.thinking + rest.text if rest is not None else ""
    end = account.finished()
    json.dumps([end.reason, end.shortfall, end.notes, end.usage.completion_tokens])
    return Outcome(shown, raised or f"{end.reason}{' (failed)' * end.failed}", time.perf_counter() - begun)


def _events(wire: WireReader, data: bytes, draw: random.Random) -> Iterator[WireEvent]:
    at = 0
    while at < len(data):
        size = draw.choice([1, 3, 17, 100, 1000, 65536])
        yield from wire.feed(data[at : at + size])
        at += size
    yield from wire.end()


def without_tags(text: str) -> str:
    """The text as far as it can be compared: the tags of thinking are neither text nor thought, and neither are the
    blanks beside them."""
    for tag in ("<think>", "</think>"):
        text = text.replace(tag, "")
    return "".join(text.split())


def run(seed: int, number: int, tally: Tally) -> None:
    """One run; what is wrong with it goes into the tally."""
    draw = random.Random(f"{seed}/{number}")
    form, data, sure = stream(draw)
    tally.runs += 1
    try:
        outcome = read(form, data, draw)
    except Exception as error:  # noqa: BLE001 - that is what is looked for
        tally.failures.append(f"run {number} ({form}): {type(error).__name__}: {error}")
        return
    tally.endings[outcome.raised] += 1
    tally.longest_s = max(tally.longest_s, outcome.seconds)
    if outcome.seconds > LIMIT_S:
        tally.failures.append(f"run {number} ({form}): took {outcome.seconds:.1f} s")
    if not without_tags(outcome.shown).startswith(without_tags(sure)):
        tally.failures.append(
            f"run {number} ({form}): lost text: {sure!r} is not at the beginning of {outcome.shown!r}"
        )


def fuzz(runs: int, seed: int) -> Tally:
    tally = Tally()
    for number in range(runs):
        run(seed, number, tally)
    return tally


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-result", action="store_true", help="keep no result")
    args = parser.parse_args()
    begun = time.perf_counter()
    tally = fuzz(args.runs, args.seed)
    for line in tally.failures[:20]:
        print(line)
    result = {
        "machine": machine(),
        "runs": tally.runs,
        "seed": args.seed,
        "failures": len(tally.failures),
        "limit_s": LIMIT_S,
        "longest_ms": round(1000 * tally.longest_s, 1),
        "seconds": round(time.perf_counter() - begun, 1),
        "endings": dict(tally.endings.most_common()),
    }
    if args.no_result:
        print(json.dumps(result, indent=2))
    else:
        publish("stream_fuzz", result)
    raise SystemExit(bool(tally.failures))


if __name__ == "__main__":
    main()
