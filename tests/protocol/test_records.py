"""Safeguarding records over real HTTP: files, 404 for who may not know, the receipt, the check (rule 16)."""

import asyncio
import io
import json
import zipfile
from hashlib import sha256
from pathlib import Path

import pypdf

from tests.support.server import DemoServer
from tests.support.stage import Stage, problem
from web.cli import main

KINDS = {
    "pdf": "application/pdf",
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "zip": "application/zip",
}


async def checked(*words: str) -> int:
    """Run `peerchat record check` beside the running server; return its status."""
    return await asyncio.to_thread(main, ["record", "check", *words])


async def test_rule_16_a_case_is_copied_and_the_copy_proved(
    stage: Stage, demo: DemoServer, tmp_path: Path, capsys
) -> None:
    """From the press to the file: each kind, its receipt in the log, and one changed byte shows."""
    adult, pupil = await stage.adult(), await stage.pupil()
    alert = (await pupil.call("flag", urgency="emergency", note="please come to the library"))["alert"]
    path = f"/api/records/{alert}"
    receipts = []
    for kind, media in KINDS.items():
        answer = await adult.http("GET", f"{path}.{kind}")
        assert (answer.status, answer.headers["content-type"]) == (200, media)
        assert answer.headers["content-disposition"] == f'attachment; filename="record-{alert}.{kind}"'
        assert answer.headers["cache-control"] == "no-store"
        receipts.append(int(answer.headers["peerchat-receipt"]))
        bundle = answer.body
        if kind == "pdf":
            pages = pypdf.PdfReader(io.BytesIO(answer.body)).pages
            assert "please come to the library" in "".join(page.extract_text() for page in pages)
    assert receipts == sorted(set(receipts))
    good = tmp_path / "good.zip"
    good.write_bytes(bundle)
    assert await checked(str(good)) == 0
    assert await checked(str(good), "--data", str(demo.data)) == 0
    assert "library" not in capsys.readouterr().err
    with zipfile.ZipFile(good) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    assert json.loads(files[f"record-{alert}.json"])["copy"]["row"] < receipts[-1]
    changed = files | {f"record-{alert}.csv": files[f"record-{alert}.csv"].replace(b"library", b"gallery")}
    assert await checked(str(write(tmp_path / "changed.zip", changed))) == 1
    assert f"record-{alert}.csv: not what was exported" in capsys.readouterr().err


async def test_a_forged_manifest_fails_against_the_log(
    stage: Stage, demo: DemoServer, tmp_path: Path, capsys
) -> None:
    """Whoever changes a file and its manifest alike is found out by the receipt."""
    adult, pupil = await stage.adult(), await stage.pupil()
    alert = (await pupil.call("flag", urgency="emergency"))["alert"]
    with zipfile.ZipFile(io.BytesIO((await adult.http("GET", f"/api/records/{alert}.zip")).body)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(files["manifest.json"])
    name = f"record-{alert}.csv"
    files[name] += b"more\r\n"
    manifest["files"][name]["sha256"] = sha256(files[name]).hexdigest()
    files["manifest.json"] = json.dumps(manifest).encode()
    forged = str(write(tmp_path / "forged.zip", files))
    assert await checked(forged) == 0
    assert await checked(forged, "--data", str(demo.data)) == 1
    assert "of the log has other files" in capsys.readouterr().err
    manifest["receipt"]["row"] = 10**6
    files["manifest.json"] = json.dumps(manifest).encode()
    assert await checked(str(write(tmp_path / "norow.zip", files)), "--data", str(demo.data)) == 1


async def test_what_is_no_bundle_is_bad_usage(tmp_path: Path, capsys) -> None:
    for n, raw in enumerate((b"", b"no zip", b"PK\x05\x06" + bytes(18))):
        file = tmp_path / f"{n}.zip"
        file.write_bytes(raw)
        assert await checked(str(file)) == 2
    assert await checked(str(tmp_path / "none.zip")) == 2
    assert capsys.readouterr().err.count("peerchat: ") == 4


async def test_who_may_not_know_gets_404_and_others_403(stage: Stage) -> None:
    """No file, no note, no hold: and nothing tells a case that is another's from none at all."""
    adult, pupil = await stage.adult(), await stage.pupil()
    alert = (await pupil.call("flag", urgency="emergency"))["alert"]
    coordinator = await stage.coordinator()
    for kind in KINDS:
        problem(await adult.http("GET", f"/api/records/alr_none.{kind}"), 404)
        problem(await coordinator.http("GET", f"/api/records/{alert}.{kind}"), 403)
        problem(await pupil.http("GET", f"/api/records/{alert}.{kind}"), 403)
    problem(await adult.http("POST", "/api/records/alr_none/notes", {"text": "x"}), 404)
    problem(await coordinator.http("POST", "/api/records/alr_none/hold", {"reason": "x"}), 404)
    problem(await coordinator.http("POST", f"/api/records/{alert}/notes", {"text": "x"}), 403)


async def test_a_hold_is_set_once_and_lifted_once(stage: Stage) -> None:
    adult, pupil, coordinator = await stage.adult(), await stage.pupil(), await stage.coordinator()
    alert = (await pupil.call("flag", urgency="emergency"))["alert"]
    path = f"/api/records/{alert}"
    assert (await coordinator.http("POST", f"{path}/hold", {"reason": "police"})).status == 200
    problem(await adult.http("POST", f"{path}/hold", {"reason": "again"}), 409)
    [held] = [
        one
        for one in json.loads((await adult.http("GET", "/api/records/holds")).body)["items"]
        if one["id"] == alert
    ]
    assert held["reason"] == "police"
    assert (await adult.http("POST", f"{path}/release", {"reason": "heard"})).status == 200
    problem(await adult.http("POST", f"{path}/release", {"reason": "again"}), 409)


def write(path: Path, files: dict[str, bytes]) -> Path:
    """Write files as a zip archive."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, raw in files.items():
            archive.writestr(name, raw)
    return path
