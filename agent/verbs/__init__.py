"""What a person asks for on the command line, one file each; agent/cli.py is their index."""
