#!/usr/bin/env python3
"""Scores reviews for `ivg prefer` and `ivg evaluate`: one JSON string a line in, one reward a line out.

    gold.py IMDB_PY FOLDER {a,b}

IMDB_PY is the script that holds the data and the two gold rewards; it fits the classifier of a half when it is first
asked, and keeps it in FOLDER.
"""

import importlib.util
import json
import sys
from pathlib import Path


def main() -> None:
    script, folder, half = sys.argv[1:]
    spec = importlib.util.spec_from_file_location("imdb", script)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{script}: cannot be imported")
    imdb = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(imdb)
    gold = imdb.gold(Path(folder), half)
    for line in sys.stdin:
        print(gold([json.loads(line)])[0], flush=True)


if __name__ == "__main__":
    main()
