"""Settings: frozen, validated, read once from a TOML file and the environment (`PEERCHAT_NAME`)."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from moderation.pipeline import DEADLINE_S
from moderation.toxicity import BadDetoxify, Form, Wanted
from peerchat.errors import SettingsError

PREFIX = "PEERCHAT_"
LISTS = (
    "origins", "allowed_contacts", "trusted_proxies", "moderation_overlays", "moderation_rules",
    "channels_push_services",
)  # fmt: skip
"""Settings that an environment variable gives with commas."""


class Moderation(BaseModel):
    """The table `[moderation]`: by which files messages are judged, and how a change to them is noticed."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    policy: Path | None = None
    """The policy; None: the one that comes with the project."""

    overlays: tuple[Path, ...] = ()
    """Files of what sites and rooms have otherwise."""

    rules: tuple[Path, ...] = ()
    """Folders of rules and word lists of one's own, beside those that come with the project."""

    reload: Literal["signal", "watch"] = "signal"
    """Whether changed files are read on SIGHUP alone, or looked for every few seconds too."""


def _by_provider(value: str | None) -> str | None:
    if value is not None and ("://" not in value or value.count("{to}") != 1):
        raise ValueError("an Apprise address with {to} once, where the recipient goes")
    return value


Provider = Annotated[str | None, AfterValidator(_by_provider)]
"""An Apprise address with `{to}` for the recipient. It holds a password, so no error and no log shows it."""


class Channels(BaseModel):
    """The table `[channels]`: by which servers adults are told beyond the page; see docs/channels.md."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", str_strip_whitespace=True, hide_input_in_errors=True
    )

    link: Annotated[str, Field(pattern=r"^https?://\S+$")] | None = None
    """Where a message sends people; None: the sign-in page of the first of `origins`."""

    email: Provider = Field(default=None, repr=False)
    sms: Provider = Field(default=None, repr=False)
    voice: Provider = Field(default=None, repr=False)

    push_contact: Annotated[str, Field(pattern=r"^(mailto:\S+@\S+|https://\S+)$")] = "mailto:root@localhost"
    """Whom a browser's push service may write to about us."""

    push_services: tuple[str, ...] = ()
    """Hosts of push services, beside those of the known browsers."""

    watchdog: Annotated[str, Field(pattern=r"^https?://\S+$")] | None = Field(default=None, repr=False)
    """An address outside that is called every minute while nothing is missing."""


class Audit(BaseModel):
    """The table `[audit]`: where signed checkpoints of the log go; see docs/audit.md."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", str_strip_whitespace=True, hide_input_in_errors=True
    )

    file: Path | None = None
    """A file outside `data`, better on another disk, to which each is appended."""

    webhook: Annotated[str, Field(pattern=r"^https?://\S+$")] | None = None
    webhook_secret: Annotated[str, Field(min_length=16)] | None = Field(default=None, repr=False)
    """Where each is posted, and by what the receiver knows that it is ours."""

    every_s: Annotated[float, Field(ge=0.05, le=86_400)] = 300.0
    """Seconds between two looks at the log: what was done in between can be undone unseen."""


class Settings(BaseModel):
    """Everything an operator may set. docs/settings.md says what each is for."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    data: Path
    """Folder of the database, the wrapped keys and the logs' checkpoints."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    master_key_file: Path | None = None
    """Where the master key lies; keep it outside `data` and its backups. Default: `data`/master.key."""

    origins: tuple[str, ...] = ()
    """Origins of the site's own pages, as browsers send them; loopback addresses of this port are added."""

    trusted_proxies: tuple[str, ...] = ()
    """Addresses of reverse proxies whose X-Forwarded-For is believed; none, unless you run one."""

    metrics_token: Annotated[str, Field(min_length=16)] | None = None
    """What a scraper sends as Bearer to /metrics; without one, only this host may read it."""

    secure_cookies: bool = True
    """Off only for plain HTTP on loopback."""

    heartbeat_s: Annotated[float, Field(gt=0.05, le=120)] = 20.0
    judge_deadline_s: Annotated[float, Field(gt=0, le=30)] = DEADLINE_S
    send_rate: Annotated[float, Field(gt=0)] = 5.0
    send_burst: Annotated[float, Field(ge=1)] = 20.0
    unlimited: bool = False
    """Lift the rate limits: for load tests on loopback only."""

    max_capacity: Annotated[int, Field(ge=1, le=1000)] = 2
    """Chats that one mentor may have at once."""

    allowed_contacts: tuple[str, ...] = ()
    """Phones and links of the site's own that pass the contact check."""

    moderation: Moderation = Moderation()
    channels: Channels = Channels()

    audit: Audit = Audit()

    detoxify_model: str | None = None
    """A published model of Detoxify by name, or "local"; None: Detoxify is not used."""

    detoxify_file: Path | None = None
    detoxify_sha256: str | None = None
    detoxify_folder: Path | None = None
    detoxify_format: Form = Form.TORCH
    detoxify_device: str = "cpu"
    detoxify_threads: Annotated[int, Field(ge=1, le=64)] = 1

    @field_validator("origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if not origin.startswith(("http://", "https://")) or origin.count("/") != 2:
                raise ValueError(f"{origin!r} is not an origin such as https://chat.school.example")
        return value

    @model_validator(mode="after")
    def _detoxify(self) -> "Settings":
        _ = self.detoxify
        return self

    @property
    def detoxify(self) -> Wanted | None:
        """What is asked of Detoxify, or None. `BadDetoxify` names a setting that is missing or wrong."""
        if self.detoxify_model is None:
            if self.detoxify_file or self.detoxify_sha256 or self.detoxify_folder:
                raise BadDetoxify("detoxify_model: not set, though other settings of detoxify are")
            return None
        if self.detoxify_file is None:
            raise BadDetoxify("detoxify_file: not set; nothing is downloaded, so the file must be here")
        if self.detoxify_sha256 is None:
            raise BadDetoxify("detoxify_sha256: not set; a model is opened only when its hash is pinned")
        return Wanted(
            model=self.detoxify_model,
            file=self.detoxify_file,
            sha256=self.detoxify_sha256.lower(),
            folder=self.detoxify_folder,
            device=self.detoxify_device,
            form=self.detoxify_format,
            threads=self.detoxify_threads,
        )

    @property
    def key_file(self) -> Path:
        return self.master_key_file or self.data / "master.key"


TABLES: dict[str, type[BaseModel]] = {"moderation": Moderation, "channels": Channels, "audit": Audit}
"""Settings that are a table of their own."""


def load_settings(
    path: Path | None, *, environ: Mapping[str, str] = os.environ, **overrides: Any
) -> Settings:
    """Read the file, then the environment, then overrides. Raises `SettingsError` naming the setting."""
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise SettingsError(f"{path}: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError(f"{path}: {error}") from None
    for name in (
        *Settings.model_fields,
        *(f"{table}_{each}" for table, kind in TABLES.items() for each in kind.model_fields),
    ):
        given = environ.get(PREFIX + name.upper())
        if given is None:
            continue
        value = _parts(given) if name in LISTS else given
        table, _, within = name.partition("_")
        if table in TABLES and within and isinstance(values.get(table, {}), dict):
            values[table] = {**values.get(table, {}), within: value}
        else:
            values[name] = value
    values |= {k: v for k, v in overrides.items() if v is not None}
    try:
        return Settings(**values)
    except ValidationError as error:
        first = error.errors()[0]
        where = f"{path}: " if path is not None else ""
        if isinstance(cause := first.get("ctx", {}).get("error"), BadDetoxify):
            raise SettingsError(f"{where}{cause}") from None  # it names the setting itself
        name = ".".join(str(part) for part in first["loc"]) or "settings"
        raise SettingsError(f"{where}{name}: {first['msg']}") from None


def _parts(given: str) -> list[str]:
    return [part.strip() for part in given.split(",") if part.strip()]
