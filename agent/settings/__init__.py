"""The settings room: YAML files to frozen settings. The only reader of configuration."""

from agent.settings.capture import capture
from agent.settings.faults import Fault
from agent.settings.loading import (
    EXIT_CONFIGURATION,
    Loaded,
    Municipality,
    check_files,
    load,
    load_mapping,
    mapping_digest,
)
from agent.settings.mapping_tests import MappingTest
from agent.settings.municipality import MunicipalitySettings
from agent.settings.schemas import write_schemas

__all__ = [
    "EXIT_CONFIGURATION",
    "Fault",
    "Loaded",
    "MappingTest",
    "Municipality",
    "MunicipalitySettings",
    "capture",
    "check_files",
    "load",
    "load_mapping",
    "mapping_digest",
    "write_schemas",
]
