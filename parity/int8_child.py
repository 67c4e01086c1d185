"""Log probabilities by CTranslate2's int8, in a process of its own: it reads CT2_USE_MKL once.

Arguments: the converted folder, a JSON file with token ids, and the .npz file to write.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from engine import Engine


def main(folder: str, sequences: str, result: str) -> None:
    engine = Engine(Path(folder), "int8")
    np.savez(result, *[engine.log_p(ids) for ids in json.loads(Path(sequences).read_text(encoding="utf-8"))])


if __name__ == "__main__":
    main(*sys.argv[1:])
