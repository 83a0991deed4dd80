"""A person at the demo's side: looks at the status, and sends again what the register refused, as the verbs do it."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from agent.settings import Municipality
from agent.verbs.calls import tell
from agent.verbs.status import status_of

Status = Mapping[str, Any]

_EVERY_S: Final = 0.25


class Watch:
    """Looks until cancelled. `status` is the latest, empty until the ledger can be read; `resent` counts messages.

    `looked` is called after each look; `say` tells what the person does.
    """

    def __init__(
        self, municipality: Municipality, say: Callable[[str], None], looked: Callable[[Status], None]
    ) -> None:
        self.status: Status = {}
        self.resent = 0
        self.refusals = 0
        self._municipality = municipality
        self._say = say
        self._looked = looked
        self._changed = asyncio.Condition()
        self._ended = False

    async def run(self) -> None:
        """Look, show, and mend."""
        try:
            await self._look()
        finally:
            async with self._changed:
                self._ended = True
                self._changed.notify_all()

    async def _look(self) -> None:
        while True:
            status = await asyncio.to_thread(status_of, self._municipality, datetime.now(UTC))
            if "error" not in status:
                async with self._changed:
                    self.status = status
                    self._changed.notify_all()
                self._looked(status)
                if status["halted"]:
                    await self._resend()
            await asyncio.sleep(_EVERY_S)

    async def until(self, condition: Callable[[Status], bool], *, timeout_s: float) -> bool:
        """Wait for a status that fits, at most so long; whether it came. A watch that has ended waits for nothing."""

        def fits() -> bool:
            return bool(self.status) and condition(self.status)

        try:
            async with asyncio.timeout(timeout_s), self._changed:
                await self._changed.wait_for(lambda: self._ended or fits())
        except TimeoutError:
            return False
        return fits()

    async def _resend(self) -> None:
        self.refusals += 1
        self._say("The register refused a message: sending has halted, the chain keeps its order.")
        self._say(f"  A person who has mended the cause types: kpr-agent resend {self._municipality.file}")
        answer = await asyncio.to_thread(tell, self._municipality, {"verb": "resend", "message": None})
        if "error" in answer:
            self._say(f"  {answer['error']}")
            return
        reissued = answer["reissued"]
        self.resent += len(reissued)
        numbers = f"notifications {reissued[0]['first_number']} to {reissued[-1]['last_number']}"
        self._say(f"  {len(reissued)} messages go again, in order: {numbers}")
