"""The server's side of SASL PLAIN in AMQP 1.0 (part 5, section 5.3), which proton has only when built with Cyrus."""

from collections.abc import Mapping
from typing import Any, Final

from proton import UNDESCRIBED, Array, Data, Described, symbol, ubyte, ulong

SASL_HEADER: Final = b"AMQP\x03\x01\x00\x00"
_MECHANISMS, _INIT, _OUTCOME = 0x40, 0x41, 0x44
_OK, _AUTHENTICATION_FAILED = 0, 1
_UNDESCRIBED: Any = UNDESCRIBED  # proton's types do not know its own constant
_PLAIN: Final = Array(_UNDESCRIBED, Data.SYMBOL, symbol("PLAIN"))


class Login:
    """Fed with what a client sends until `done`; then `user` is a name, or None where the login was refused.

    `rest` is what came after the login and belongs to the AMQP engine.
    """

    def __init__(self, users: Mapping[str, str]) -> None:
        self._users = users
        self._greeted = False
        self.done = False
        self.user: str | None = None
        self.rest = b""

    def receive(self, data: bytes) -> bytes:
        """What to answer to `data`, which may come in any pieces."""
        self.rest += data
        answer = b""
        if not self._greeted and len(self.rest) >= len(SASL_HEADER):
            greeting, self.rest = self.rest[:8], self.rest[8:]
            self._greeted = True
            self.done = greeting != SASL_HEADER  # no login, no AMQP: the answer says which header is expected
            answer = SASL_HEADER + _frame(_MECHANISMS, _PLAIN)
        size = int.from_bytes(self.rest[:4])
        if self._greeted and not self.done and 8 <= size <= len(self.rest):
            frame, self.rest = self.rest[:size], self.rest[size:]
            self.done = True
            self.user = self._user(frame)
            answer += _frame(_OUTCOME, ubyte(_AUTHENTICATION_FAILED if self.user is None else _OK))
        return answer

    def _user(self, frame: bytes) -> str | None:
        body = Data()
        body.decode(frame[frame[4] * 4 :])
        body.next()
        init: Any = body.get_object()
        fields: Any = init.value if init.descriptor == _INIT else ["", None]
        if fields[0] != "PLAIN":
            return None
        # RFC 4616: authorization identity, authentication identity, password, with a NUL between them
        parts = bytes(fields[1] or b"").split(b"\x00")
        if len(parts) != 3:
            return None
        user, password = parts[1].decode(), parts[2].decode()
        return user if self._users.get(user) == password else None


def _frame(kind: int, field: Any) -> bytes:
    body = Data()
    body.put_object(Described(ulong(kind), [field]))
    encoded: bytes = body.encode()
    return (8 + len(encoded)).to_bytes(4) + b"\x02\x01\x00\x00" + encoded
