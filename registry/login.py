"""Login: whether credentials open a registry, tried before they are kept."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .credentials import Credential
from .errors import RegistryError
from .remote import Access
from .tokens import Authorization
from .wire import Wire


@dataclass(frozen=True, slots=True)
class _These:
    """The credentials that are tried."""

    credential: Credential

    def find(self, host: str, repository: str = "") -> Credential:  # noqa: ARG002
        """These."""
        return self.credential


def check_login(
    host: str, credential: Credential, access: Access, *, insecure: bool = False, scheme: str | None = None
) -> None:
    """See that the registry takes the credentials. Raises RegistryError, with status 401 when it does not."""
    remote = access.remote(host)
    wire = Wire(
        host,
        replace(remote, insecure=remote.insecure or insecure),
        identity=host,
        patience=access.patience,
        scheme=scheme,
    )
    authorization = Authorization(wire, replace(access, logins=_These(credential), tokens={}), ())
    wrong = RegistryError(f"{host}: wrong user or password", status=401, hint="nothing was stored; try again")
    try:
        reply = authorization.send("GET", wire.base, headers={})
        wire.drain(reply)
        if reply.status_code == 200 and not authorization.was_used:
            # It lets everybody see this much, and only looks at a login that is shown to it.
            reply = wire.send("GET", wire.base, headers={"Authorization": credential.basic})
            wire.drain(reply)
    except RegistryError as error:
        if error.status == 401 and not authorization.withheld_from:
            raise wrong from None
        raise
    finally:
        wire.close()
    if authorization.withheld_from:
        message = f"{host}: its token service {authorization.withheld_from} is on another domain"
        raise RegistryError(message, hint=authorization.hint())
    if reply.status_code == 401:
        raise wrong
    if reply.status_code != 200:
        hint = "see that this is a registry's address, host or host:port, with https:// before it if it speaks TLS here"
        raise RegistryError(f"{host}: GET /v2/: {reply.status_code}", status=reply.status_code, hint=hint)
