"""`python -m ivg` and the command `ivg`."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command line, if its packages are installed."""
    try:
        import rich  # noqa: F401
        import typer  # noqa: F401
    except ImportError as error:
        print(f"ivg: the command line needs the extra [cli]: pip install 'ivg[cli]' ({error})", file=sys.stderr)
        sys.exit(1)
    try:
        from ._cli import run

        run()
    except ImportError as error:
        print(f"ivg: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
