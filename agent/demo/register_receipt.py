"""The receipt of the demo's register: an AppRec, version 1.1 (or 1.0), as bytes.

Source: AppRec v1.0 (2004-11-21) and v1.1 (2012-02-15); code systems 8258 (status) and 8221 (error).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from lxml import etree

from agent.demo.register_reading import MessageRead, PartyRead, RegisterFault

_EDITIONS: Final[Mapping[str, tuple[str, str]]] = {
    "1.0": ("http://www.kith.no/xmlstds/apprec/2004-11-21", "1.0 2004-11-21"),
    "1.1": ("http://www.kith.no/xmlstds/apprec/2012-02-15", "v1.1 2012-02-15"),
}
_STATUS: Final = {True: ("1", "OK"), False: ("2", "Avvist")}
_ERRORS_OID: Final = "2.16.578.1.12.4.1.1.8221"


def build_receipt(
    message: MessageRead, faults: Sequence[RegisterFault], *, receipt_id: UUID, at: datetime, edition: str = "1.1"
) -> bytes:
    """The receipt for a message: positive without faults. `at`: aware; `edition`: 1.0 or 1.1."""
    namespace, mig_version = _EDITIONS[edition]
    make = _Maker(namespace)
    root = make.root("AppRec")
    make.child(root, "MsgType", V="APPREC", DN="Applikasjonskvittering")
    make.text(root, "MIGversion", mig_version)
    make.text(root, "SoftwareName", "Demoregister")
    make.text(root, "GenDate", at.isoformat(timespec="seconds"))
    make.text(root, "Id", str(receipt_id))
    make.party(make.child(root, "Sender"), message.receiver)
    make.party(make.child(root, "Receiver"), message.sender)
    code, text = _STATUS[not faults]
    make.child(root, "Status", V=code, DN=text)
    for fault in faults:
        pointer = {"OT": fault.guid} if fault.guid else {}
        make.child(root, "Error", V=fault.code, S=_ERRORS_OID, DN=fault.text, **pointer)
    original = make.child(root, "OriginalMsgId")
    make.child(original, "MsgType", V=message.type_code, DN=message.type_text)
    make.text(original, "IssueDate", message.generated_at)
    make.text(original, "Id", message.msg_id)
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8")


class _Maker:
    def __init__(self, namespace: str) -> None:
        self._namespace = namespace

    def root(self, name: str) -> etree._Element:
        nsmap = {None: self._namespace}
        return etree.Element(f"{{{self._namespace}}}{name}", nsmap=nsmap)  # type: ignore[arg-type]  # stubs lack None

    def child(self, parent: etree._Element, name: str, **attributes: str) -> etree._Element:
        return etree.SubElement(parent, f"{{{self._namespace}}}{name}", attributes)

    def text(self, parent: etree._Element, name: str, text: str) -> None:
        self.child(parent, name).text = text

    def party(self, parent: etree._Element, party: PartyRead) -> None:
        institution = self.child(self.child(parent, "HCP"), "Inst")
        self._identity(institution, party.name, party.her_id)
        if party.service_her_id:
            self._identity(self.child(institution, "Dept"), party.service_name, party.service_her_id)

    def _identity(self, parent: etree._Element, name: str, her_id: str) -> None:
        self.text(parent, "Name", name)
        self.text(parent, "Id", her_id)
        self.child(parent, "TypeId", V="HER", DN="HER-id")  # CS: a code without its system
