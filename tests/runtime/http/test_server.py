"""The address a server listens on."""

from __future__ import annotations

import pytest
from corral.runtime.http.server import bind
from corral.store.errors import MachineError


def test_error_a_port_in_use_is_another_servers() -> None:
    with bind("127.0.0.1", 0) as first:
        with pytest.raises(MachineError, match="cannot listen: Address already in use") as caught:
            bind("127.0.0.1", first.getsockname()[1])
        assert "another server is running there" in str(caught.value.hint)


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "no-such-host.invalid"])
def test_error_an_address_of_another_machine_is_not(host: str) -> None:
    with pytest.raises(MachineError, match=f"^{host}:11434: cannot listen: ") as caught:
        bind(host, 11434)
    assert caught.value.hint == "OLLAMA_HOST must name an address of this machine"
