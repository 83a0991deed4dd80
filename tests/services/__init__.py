"""Real servers for tests, benchmarks and the end-to-end runs. README.md says how; `fixtures` has pytest's part."""

from tests.services.connect import Connect, connect
from tests.services.kafka import Kafka, kafka
from tests.services.mariadb import MariaDb, mariadb
from tests.services.places import ServerMissing
from tests.services.postgres import Postgres, failover_pair, postgres, postgres17
from tests.services.rabbitmq import Broker, broker

__all__ = [
    "Broker",
    "Connect",
    "Kafka",
    "MariaDb",
    "Postgres",
    "ServerMissing",
    "broker",
    "connect",
    "failover_pair",
    "kafka",
    "mariadb",
    "postgres",
    "postgres17",
    "rabbitmq40",
    "rabbitmq310",
]


def rabbitmq40() -> Broker:
    """RabbitMQ 4.0.5, running: AMQP 5681, AMQPS 5682."""
    server = broker("rabbitmq40")
    server.start()
    return server


def rabbitmq310() -> Broker:
    """RabbitMQ 3.10.8 with its AMQP 1.0 plugin, running: AMQP 5691, AMQPS 5692."""
    server = broker("rabbitmq310")
    server.start()
    return server
