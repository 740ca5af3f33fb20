"""One engine in a process of its own: reads a job per line as JSON, answers with its value.

Two processes, so that neither engine's threads, allocator or caches are in the other's way; only one works at a
time.
"""

import json
import os
import sys
from importlib import import_module


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever libraries print goes to standard error
    engine = import_module(f"engine_{sys.argv[1]}").Engine()
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        print(json.dumps(getattr(engine, name)(*arguments)), file=answers, flush=True)


if __name__ == "__main__":
    main()
