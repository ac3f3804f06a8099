"""The variables of the environment that Corral knows, and which of those that are set mean nothing."""

from __future__ import annotations

from collections.abc import Callable

from ..store.errors import CorralError, shown
from .engine import engine_defaults
from .registries import read_registries
from .settings import Settings
from .wiring import pull_from

COUNTS = (
    "CONTEXT_LENGTH",
    "GRACE",
    "MAX_LOADED_MODELS",
    "MAX_QUEUE",
    "NUM_PARALLEL",
    "NUM_THREAD",
    "RETRIES",
    "STALL",
)
"""Read as whole numbers."""
READ = frozenset(
    {
        *COUNTS,
        "ALLOW_MANAGE",
        "API_KEY",
        "BANDWIDTH",
        "CA_FILE",
        "CLIENT_CERT",
        "CLIENT_KEY",
        "CONFIG",
        "CONNECTIONS",
        "DEBUG",
        "DEFAULT_REGISTRY",
        "DETERMINISTIC",
        "EXTRA_MODELS",
        "FLASH_ATTENTION",
        "FORMAT",
        "GPU_OVERHEAD",
        "HOST",
        "HTTP",
        "INSECURE",
        "KEEP_ALIVE",
        "KEYS",
        "KV_CACHE_TYPE",
        "LOAD_TIMEOUT",
        "LOG_FORMAT",
        "MIRRORS",
        "MODELS",
        "OLLAMA_KEY",
        "OLLAMA_VERSION",
        "ORIGINS",
        "PULL_FROM",
        "REALM",
        "REGISTRY",
        "REGISTRY_GRANT",
        "REGISTRY_HOST",
        "REGISTRY_HTPASSWD",
        "REGISTRY_MAX_BLOB",
        "REGISTRY_READ_ONLY",
        "REGISTRY_SHARE",
        "REGISTRY_UPLOAD_EXPIRY",
        "SCHED_SPREAD",
        "TLS_CERT",
        "TLS_KEY",
        "TRUNCATE",
    }
)
"""All that are read, without OLLAMA_ or CORRAL_ before them."""
OTHERS = frozenset({"CORRAL_CACHE", "CORRAL_LLAMA_CMAKE_ARGS", "CORRAL_SOAK"})
"""Read by the setup, the tests, and where the engine's trial is kept."""
OLLAMAS = frozenset(
    {
        "OLLAMA_AGENT_DISABLE_SHELL",
        "OLLAMA_AUTH",
        "OLLAMA_CLOUD_BASE_URL",
        "OLLAMA_DEBUG_LOG_REQUESTS",
        "OLLAMA_EDITOR",
        "OLLAMA_EXPERIMENT",
        "OLLAMA_GO_TEMPLATE",
        "OLLAMA_IGPU_ENABLE",
        "OLLAMA_LIBRARY_PATH",
        "OLLAMA_LLAMA_CPP_COMPAT",
        "OLLAMA_LLM_LIBRARY",
        "OLLAMA_MAX_TRANSFER_STREAMS",
        "OLLAMA_NOHISTORY",
        "OLLAMA_NOPRUNE",
        "OLLAMA_NO_CLOUD",
        "OLLAMA_REMOTES",
        "OLLAMA_SKILLS",
        "OLLAMA_VULKAN",
    }
)
"""Ollama's own, which mean nothing here."""


def set_variables(settings: Settings) -> list[str]:
    """Ours and Ollama's that are set, by their whole names."""
    return sorted(name for name in settings.variables if name.startswith(("OLLAMA_", "CORRAL_")))


def faults(settings: Settings) -> list[CorralError]:
    """What cannot be made sense of, each in the words of whoever refuses it. Each variable is tried alone: one fault hides
    no other. The user's own settings file is read too.
    """
    found: dict[str, CorralError] = {}
    for name in set_variables(settings):
        alone = Settings({name: settings.variables[name]})
        for read in (_counts, _address, _consents, engine_defaults, pull_from):
            _try(read, alone, found)
    for read in (engine_defaults, read_registries):
        _try(read, settings, found)
    return list(found.values())


def _try(read: Callable[[Settings], object], settings: Settings, found: dict[str, CorralError]) -> None:
    try:
        read(settings)
    except CorralError as error:
        found.setdefault(str(error), error)


def _address(settings: Settings) -> str:
    return settings.url


def _consents(settings: Settings) -> None:
    for name in ("ALLOW_MANAGE", "REGISTRY_READ_ONLY", "REGISTRY"):
        settings.consent(name)


def _counts(settings: Settings) -> None:
    for name in COUNTS:
        settings.count(name, 0)


def unread(settings: Settings) -> list[str]:
    """For each variable that is set and that Corral does not read, a line that says so."""
    found: list[str] = []
    for name in set_variables(settings):
        if name in OLLAMAS:
            found.append(f"{name}: Corral does not use it")
        elif name.partition("_")[2] not in READ and name not in OTHERS:
            found.append(f"{shown(name)}: there is no such variable")
    return found
