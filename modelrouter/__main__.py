"""The program's door: `modelrouter` and `python -m modelrouter`."""

import sys

INTERRUPTED = 130


def main() -> None:
    """Run the command line. Ctrl-C is quiet from the first moment, while it is still importing."""
    try:
        from modelrouter import cli  # noqa: PLC0415

        cli.main()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
