"""What stands between the agent and the world: sources of change, senders, inboxes. Imports nothing from `agent`."""
