"""python -m tests.services [NAME] start|stop|kill|restart|status

NAME: rabbitmq40, rabbitmq310, postgres, postgres17, kafka, connect, mariadb, all. Connect starts Kafka too.

RabbitMQ also: NAME ctl ARGUMENT... (rabbitmqctl).
"""

import sys
from collections.abc import Callable

from tests.services import (
    Broker,
    Connect,
    Kafka,
    MariaDb,
    Postgres,
    ServerMissing,
    broker,
    connect,
    kafka,
    mariadb,
    postgres,
    postgres17,
)

Server = Broker | Connect | Kafka | MariaDb | Postgres

SERVERS: dict[str, Callable[[], Server]] = {
    "rabbitmq40": lambda: broker("rabbitmq40"),
    "rabbitmq310": lambda: broker("rabbitmq310"),
    "postgres": postgres,
    "postgres17": postgres17,
    "connect": connect,
    "kafka": kafka,
    "mariadb": mariadb,
}
"""In the order in which they stop: Connect before the Kafka that it writes to."""


def main(arguments: list[str]) -> int:
    match arguments:
        case ["all", verb] | [("start" | "stop" | "kill" | "restart" | "status") as verb]:
            names = tuple(SERVERS)
        case [name, verb, *_] if name in SERVERS:
            names = (name,)
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    try:
        for name in names:
            print(act(SERVERS[name](), verb, arguments[2:]))
    except ServerMissing as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def act(server: Server, verb: str, rest: list[str]) -> str:
    match verb:
        case "start":
            server.start()
        case "stop":
            server.stop()
        case "kill":
            server.kill()
        case "restart":
            server.restart()
        case "ctl" if isinstance(server, Broker):
            return server.ctl(*rest)
        case "status":
            pass
        case _:
            raise ServerMissing(f"no verb {verb} for {server.name}")
    if not server.running():
        return f"{server.name} is down"
    return f"{server.name} {server.version} on {server.url}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
