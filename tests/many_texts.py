"""200 texts that tokenizers may cut differently: scripts, emoji, code, white space, look-alikes of special tokens."""

from __future__ import annotations

import random

PIECES = [
    "The quick brown fox",
    " jumps over 1,024 lazy dogs.",
    "\n\n\tdef f(x: int) -> int:\n        return x ** 2  # ½\n",
    "Straße, naïve café",
    "Ελληνικά και русский",
    "中文字符，日本語の文章。",
    "한국어 문장",
    "العربية والعبرية עברית",
    "हिन्दी में ไทย",
    "🦊🏳️‍🌈👩‍👩‍👧🇩🇪",
    "<|user|>",
    "<|end|>\n",
    "  ",
    "\r\n",
    "{% if x %}{{ y }}{% endif %}",
    "SELECT * FROM t WHERE a <> 'b';",
    "\u200d\ufeffe\u0301",
    "https://example.org/?q=a+b&c=%20",
]


def texts() -> list[str]:
    rng = random.Random(8)
    return ["".join(rng.choices(PIECES, k=rng.randint(1, 6))) for _ in range(200)]
