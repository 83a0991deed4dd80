"""The only durable truth of the agent: one encrypted SQLite file for each reporting unit, and one writer."""
