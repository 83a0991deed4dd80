"""Debezium's topics in Kafka as a source: source, over consumer, connection (our own questions), place (positions).

Around it: diagnosis tells why a connection fails, inspection and connect look at a live platform.
"""
