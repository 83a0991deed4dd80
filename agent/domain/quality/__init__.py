"""Step 2: the rules, fact by fact, over the rows as they are (docs/owed.md, docs/rules.md).

A finding belongs to a fact and holds back only the events that need that fact. Rules: docs/rules.md.
"""

from agent.domain.quality.judge import judge
from agent.domain.quality.rules import Profile, Rules
from agent.domain.quality.wording import FieldNames

__all__ = ["FieldNames", "Profile", "Rules", "judge"]
