"""The way in: a source's transactions become kept rows and due services, in one ledger transaction each."""
