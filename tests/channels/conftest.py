"""A school whose adults can be reached beyond the page, with receivers on loopback; time stands still."""

import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from escalation.alert import Concern, acknowledged
from escalation.desk import Desk
from escalation.ladder import Audience, Step
from moderation.verdict import Risk, Role
from peerchat import setup
from peerchat.cases import CaseStore, InApp
from peerchat.channels import push, signing
from peerchat.channels.contact import Kind
from peerchat.channels.outside import Outside
from peerchat.channels.senders import Senders
from peerchat.model import new_id
from peerchat.store.sql import Store
from tests.store.conftest import Shop, shop, store
from tests.support.catchers import HookCatcher, MailCatcher

__all__ = ["shop", "store"]

LINK = "https://chat.school.example/staff"
SECRET = signing.new_secret()


class Pages:
    """The adults' pages: nobody has one open, unless a test says so."""

    channel = InApp.channel

    def __init__(self) -> None:
        self.open = False
        self.told: list[Step] = []

    async def notify(self, step: Step) -> bool:
        self.told.append(step)
        return self.open


@dataclass
class Staff:
    """The school's store, its senders, and what brings about an alert."""

    shop: Shop
    store: Store
    mail: MailCatcher
    hooks: HookCatcher
    senders: Senders
    site: str
    pages: Pages = field(default_factory=Pages)

    def __post_init__(self) -> None:
        self.outside = {kind: Outside(kind, self.store, self.senders) for kind in Kind}

    @property
    def desk(self) -> Desk:
        return Desk(
            CaseStore(self.store, [InApp.channel]),
            [self.pages, *self.outside.values()],
            clock=lambda: self.shop.now,
        )

    async def adult(self, *, duty: bool = False, role: Role = Role.ADULT) -> str:
        """Add a member of staff; return the id."""
        id = new_id("mem")

        def body(tx):
            tx.members.add(id=id, site=self.site, role=role, name=f"Name of {id}", username=id)
            if duty:
                from escalation.duty import LONGEST_LEASE

                tx.duty.take(id, role, self.site, lease=LONGEST_LEASE)

        await self.store.write(body)
        return id

    async def contact(
        self,
        kind: Kind,
        to: str,
        *,
        member: str | None = None,
        audience: Audience = Audience.ON_DUTY,
    ) -> str:
        """Add a contact point; return the id."""
        secret = SECRET if to.startswith("http") else None
        name = None if member else "The pager"
        return await self.store.write(
            lambda tx: tx.channels.add(
                site=self.site, kind=kind, member=member, audience=audience, to=to, secret=secret, name=name
            )
        )

    async def raised(
        self, risk: Risk = Risk.IMMEDIATE, *, about: str | None = None, role: Role = Role.PUPIL
    ) -> str:
        """Raise an alert; return its id."""

        def body(tx):
            who = about or new_id("mem")
            if about is None:
                tx.members.add(id=who, site=self.site, role=role, code_index=secrets.token_bytes(32))
            concern = Concern(
                about=who, about_role=role, risk=risk, labels=("self_harm",), apart=role is Role.ADULT
            )
            alert, _ = tx.alerts.raise_or_fold(
                concern, site=self.site, conversation=None, message=None, by=None
            )
            return alert.id

        return await self.store.write(body)

    async def acknowledge(self, alert: str, by: str) -> None:
        def body(tx):
            tx.alerts.save(acknowledged(tx.alerts.get(alert), by=by, now=tx.now))

        await self.store.write(body)

    async def sql(self, query: str) -> list[tuple[object, ...]]:
        found = await self.store.read(lambda tx: tx.connection.exec_driver_sql(query).all())
        return [tuple(row) for row in found]

    async def outcomes(self) -> dict[str, str]:
        """Return the outcome of the newest attempt by each channel."""
        rows = await self.sql("SELECT channel, outcome FROM attempt ORDER BY n")
        return {str(channel): str(outcome) for channel, outcome in rows}

    def to(self) -> list[str]:
        """Return whom mail came for."""
        return sorted(address for mail in self.mail.mails for address in mail.to)


@pytest.fixture
async def mail() -> AsyncIterator[MailCatcher]:
    async with MailCatcher() as catcher:
        yield catcher


@pytest.fixture
async def hooks() -> AsyncIterator[HookCatcher]:
    async with HookCatcher() as catcher:
        yield catcher


@pytest.fixture
async def staff(shop, store, mail, hooks) -> AsyncIterator[Staff]:
    senders = Senders(
        link=LINK,
        providers={
            Kind.EMAIL: f"mailto://127.0.0.1:{mail.port}?from=alerts@school.example&to={{to}}&mode=insecure",
            Kind.SMS: f"json://127.0.0.1:{hooks.port}/sms/{{to}}",
            Kind.VOICE: f"json://127.0.0.1:{hooks.port}/call/{{to}}",
        },
        vapid=push.Vapid(bytes(32), contact="mailto:it@school.example"),
        push_services=(f"127.0.0.1:{hooks.port}",),
        clock=lambda: shop.now.timestamp(),  # noqa: PLW0108 - of that moment
    )
    site = await store.write(lambda tx: setup.add_site(tx, name="Ashdown School", service_name="Room"))
    yield Staff(shop, store, mail, hooks, senders, site)
    senders.close()
