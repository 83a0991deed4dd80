"""What every test broker has: the exchange, the queues as NHN has them, users with only the rights they need."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

EXCHANGE = "NHNTestServiceBus"
REGISTER = "8139520"
UNITS = ("1234", "1235", "1236", "1237")
CLASSIC_UNIT = "1237"  # its queues are classic ones; all others are quorum queues
DELIVERY_LIMIT = 10
FULL_AFTER = 5
FULL_QUEUES = ("full_quorum", "full_classic")  # max-length 5, reject-publish
SCRATCH_QUEUES = ("scratch_quorum", "scratch_classic")  # fault tests delete and unbind these, and put them back
LASTING_QUEUES = ("lasting_quorum", "lasting_classic")  # fault tests kill the broker over these

PASSWORDS = {"kpr": "kpr-pw:%@/æ", "register": "register-pw", "tester": "tester-pw", "mute": "mute-pw"}
"""kpr: the daemon. register: the other side. tester: may do all, to look and to play tricks. mute: no rights."""

_RIGHTS = {  # configure, write, read
    "kpr": ("^$", f"^{EXCHANGE}$", f"^({'|'.join(UNITS)})_(async|error)$"),
    "register": ("^$", f"^{EXCHANGE}$", f"^{REGISTER}_"),
    "tester": (".*", ".*", ".*"),
    "mute": ("^$", "^$", "^$"),
}


def definitions(major: int) -> dict[str, Any]:
    """RabbitMQ's definitions: loaded at each start, so a queue that a test deleted comes back."""
    queues = {name: arguments for owner in (*UNITS, REGISTER) for name, arguments in _queues_of(owner).items()}
    limit = {"x-max-length": FULL_AFTER, "x-overflow": "reject-publish"}
    queues |= {"full_quorum": {"x-queue-type": "quorum", **limit}, "full_classic": {"x-queue-type": "classic", **limit}}
    queues |= {name: {"x-queue-type": name.partition("_")[2]} for name in (*SCRATCH_QUEUES, *LASTING_QUEUES)}
    return {
        "vhosts": [{"name": "/"}],
        "users": [_user(name, password, major) for name, password in PASSWORDS.items()],
        "permissions": [
            {"user": user, "vhost": "/", "configure": configure, "write": write, "read": read}
            for user, (configure, write, read) in _RIGHTS.items()
        ],
        "exchanges": [
            {"name": EXCHANGE, "vhost": "/", "type": "direct", "durable": True}
            | {"auto_delete": False, "internal": False, "arguments": {}}
        ],
        "queues": [
            {"name": name, "vhost": "/", "durable": True, "auto_delete": False, "arguments": arguments}
            for name, arguments in queues.items()
        ],
        "bindings": [
            {"source": EXCHANGE, "vhost": "/", "destination": name, "destination_type": "queue"}
            | {"routing_key": name, "arguments": {}}
            for name in queues
        ],
    }


def _queues_of(owner: str) -> dict[str, dict[str, Any]]:
    kind = {"x-queue-type": "classic" if owner == CLASSIC_UNIT else "quorum"}
    dead = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": f"{owner}_dead"}
    limit = {} if owner == CLASSIC_UNIT else {"x-delivery-limit": DELIVERY_LIMIT}
    return {f"{owner}_async": kind | dead | limit, f"{owner}_error": kind | dead | limit, f"{owner}_dead": kind}


def _user(name: str, password: str, major: int) -> dict[str, Any]:
    salt = hashlib.sha256(name.encode()).digest()[:4]
    digest = base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
    return {
        "name": name,
        "password_hash": digest,
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": "" if major == 3 else [],  # text in 3.x, a list in 4.x
    }


def write_configuration(directory: Path, *, port: int, tls_port: int, major: int) -> None:
    """rabbitmq.conf, definitions.json and enabled_plugins. Anonymous login is on by default in every version: off."""
    (directory / "definitions.json").write_text(json.dumps(definitions(major), indent=1))
    (directory / "enabled_plugins").write_text("[rabbitmq_amqp1_0].\n" if major == 3 else "[].\n")
    anonymous = "amqp1_0.default_user = none" if major == 3 else "anonymous_login_user = none"
    (directory / "rabbitmq.conf").write_text(
        f"""listeners.tcp.default = 127.0.0.1:{port}
listeners.ssl.default = 127.0.0.1:{tls_port}
ssl_options.cacertfile = {directory}/tls/ca.pem
ssl_options.certfile = {directory}/tls/server.pem
ssl_options.keyfile = {directory}/tls/server.key
ssl_options.verify = verify_none
ssl_options.fail_if_no_peer_cert = false
ssl_options.versions.1 = tlsv1.3
ssl_options.versions.2 = tlsv1.2
auth_mechanisms.1 = PLAIN
{anonymous}
load_definitions = {directory}/definitions.json
disk_free_limit.absolute = 50MB
vm_memory_high_watermark.absolute = 2GB
num_acceptors.tcp = 2
num_acceptors.ssl = 2
log.console = false
log.file = {directory}/log/broker.log
log.file.level = info
"""
    )
