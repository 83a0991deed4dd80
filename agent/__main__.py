"""`python -m agent` is `kpr-agent`."""

from agent.cli import main

main()
