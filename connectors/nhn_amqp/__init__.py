"""Norsk Helsenett's AMQP 1.0 bus: sender and inbox in bus, over connection and account."""
