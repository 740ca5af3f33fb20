# SPDX-License-Identifier: Apache-2.0
"""Makes the reference manual, as HTML, from the docstrings.    python make_docs.py OUT

Needs the extra [docs]: pip install 'ivg[docs]'. The package is the one that is installed.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path


def main(arguments: list[str]) -> int:
    """The exit status."""
    if len(arguments) != 2:
        print(f"usage: {arguments[0]} OUT", file=sys.stderr)
        return 2
    try:
        import pdoc
        import pdoc.render
    except ImportError:
        print("make_docs.py needs pdoc: pip install 'ivg[docs]'", file=sys.stderr)
        return 1
    import ivg

    pdoc.render.configure(docformat="markdown", footer_text=f"ivg {ivg.__version__}", search=True, show_source=False)
    # memoryview[float] is a type of annotations only, before Python 3.14: pdoc shows it as it is written, and says so.
    warnings.filterwarnings("ignore", "Error parsing type annotation")
    pdoc.pdoc("ivg", "ivg.convert", output_directory=Path(arguments[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
