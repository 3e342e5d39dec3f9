"""`python -m modelrouter` is `modelrouter`."""

from modelrouter.cli import main

main()
