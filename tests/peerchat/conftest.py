"""A school for each test, and two in it who talk while an adult is on duty.

What takes time is done once: an empty database, and one with the two in conversation, are made for the whole
run, and each test works on a copy.
"""

import asyncio
import itertools
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from peerchat.model import Actor
from peerchat.store.sql import database_file, migrate
from tests.peerchat.world import Frame, Person, School, World
from tests.store.folder import quick_folder


@dataclass(frozen=True)
class Pair:
    """A pupil and a mentor in conversation `c`; `adult` is on duty, `moderator` is there."""

    world: World
    pupil: Person
    mentor: Person
    adult: Person
    moderator: Person
    c: str


@dataclass(frozen=True)
class Before:
    """Where every `Pair` begins: the data, and what each of the four had seen."""

    folder: Path
    site: str
    c: str
    seen: list[tuple[Actor, list[Frame]]]
    refs: int


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an empty database with its migrations run."""
    folder = tmp_path_factory.mktemp("template")
    migrate(database_file(folder))
    return folder


@pytest.fixture(scope="session")
def before(tmp_path_factory: pytest.TempPathFactory, template: Path) -> Before:
    """Return a school in which two have just been paired."""

    async def make() -> Before:
        folder = tmp_path_factory.mktemp("pair") / "data"
        async with School(folder, template=template) as world:
            adult, moderator = await world.adult(duty=True), await world.moderator()
            pupil, mentor = await world.pupil(), await world.mentor()
            c = await world.pair(pupil, mentor)
            seen = [(p.actor, p.seen) for p in (pupil, mentor, adult, moderator)]
            return Before(folder, world.site, c, seen, next(world.refs))

    return asyncio.run(make())


@pytest.fixture
def folder() -> Iterator[Path]:
    with quick_folder() as folder:
        yield folder


@pytest.fixture
def school(folder: Path, template: Path) -> School:
    return School(folder / "data", template=template)


@pytest.fixture
async def world(school: School) -> AsyncIterator[World]:
    async with school as world:
        yield world


@pytest.fixture
def paired_school(folder: Path, before: Before) -> School:
    return School(shutil.copytree(before.folder, folder / "data"), site_id=before.site)


@pytest.fixture
async def pair(paired_school: School, before: Before) -> AsyncIterator[Pair]:
    async with paired_school as world:
        world.refs = itertools.count(before.refs)
        people = [await world.enter(Person(world, actor, seen)) for actor, seen in before.seen]
        await world.round()
        pupil, mentor, adult, moderator = people
        yield Pair(world, pupil, mentor, adult, moderator, before.c)
