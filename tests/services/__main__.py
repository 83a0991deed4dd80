"""python -m tests.services [NAME] start|stop|kill|restart|status; NAME: rabbitmq40, rabbitmq310, postgres, all.

RabbitMQ also: NAME ctl ARGUMENT... (rabbitmqctl).
"""

import sys

from tests.services import Broker, Postgres, ServerMissing, broker, postgres

NAMES = ("rabbitmq40", "rabbitmq310", "postgres")


def main(arguments: list[str]) -> int:
    match arguments:
        case ["all", verb] | [("start" | "stop" | "kill" | "restart" | "status") as verb]:
            names = NAMES
        case [name, verb, *_] if name in NAMES:
            names = (name,)
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    try:
        for name in names:
            server = postgres() if name == "postgres" else broker(name)
            print(act(server, verb, arguments[2:]))
    except ServerMissing as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def act(server: Broker | Postgres, verb: str, rest: list[str]) -> str:
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
