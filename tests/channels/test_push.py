"""Web Push: the RFC's own example, what a browser can open, our name, and which addresses are refused."""

import json
import time

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from peerchat.channels import push
from peerchat.channels.contact import BadContact, Kind
from peerchat.channels.push import b64, unb64

# RFC 8291, section 5 and appendix A
PLAIN = b"When I grow up, I want to be a watermelon"
AUTH = "BTBZMqHH6r4Tts7J_aSIgg"
BROWSER_PRIVATE = "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"
BROWSER_PUBLIC = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
SERVER_PRIVATE = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"
SALT = "DGv6ra1nlYgDCS1FRnbzlw"
SEALED = (
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK"
    "6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
)


def private(text: str) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(unb64(text)), push.CURVE)


def given(endpoint: str = "https://fcm.googleapis.com/fcm/send/x", **keys: str) -> str:
    """Return a subscription as a browser writes it."""
    return json.dumps({
        "endpoint": endpoint, "expirationTime": None, "keys": {"p256dh": BROWSER_PUBLIC, "auth": AUTH} | keys,
    })  # fmt: skip


def opened(sealed: bytes) -> bytes:
    """Open a push message as the browser of the example does."""
    salt, ours, rest = sealed[:16], sealed[21:86], sealed[86:]
    assert (int.from_bytes(sealed[16:20]), sealed[20]) == (4096, 65)
    shared = private(BROWSER_PRIVATE).exchange(
        ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(push.CURVE, ours)
    )

    def derived(salt: bytes, secret: bytes, info: bytes, length: int) -> bytes:
        return HKDF(hashes.SHA256(), length, salt=salt, info=info).derive(secret)

    secret = derived(unb64(AUTH), shared, b"WebPush: info\0" + unb64(BROWSER_PUBLIC) + ours, 32)
    key = derived(salt, secret, b"Content-Encoding: aes128gcm\0", 16)
    nonce = derived(salt, secret, b"Content-Encoding: nonce\0", 12)
    plain = AESGCM(key).decrypt(nonce, rest, None)
    assert plain.endswith(b"\x02")
    return plain[:-1]


def test_the_example_of_the_rfc() -> None:
    to = push.subscription(given())
    sealed = push.encrypted(PLAIN, to, key=private(SERVER_PRIVATE), salt=unb64(SALT))
    assert b64(sealed) == SEALED
    assert opened(sealed) == PLAIN


def test_each_message_has_a_key_and_a_salt_of_its_own() -> None:
    to = push.subscription(given())
    one, other = push.encrypted(PLAIN, to), push.encrypted(PLAIN, to)
    assert one[:16] != other[:16] and one[21:86] != other[21:86]
    assert opened(one) == opened(other) == PLAIN


def test_our_name_is_a_token_for_that_service_alone() -> None:
    """Signed by the key that the browser subscribed with, for a time, without a path."""
    vapid = push.Vapid(b"\x07" * 32, contact="mailto:it@school.example")
    now = time.time()
    header = vapid.authorization("https://fcm.googleapis.com/fcm/send/secret-path", now=now)
    scheme, _, rest = header.partition(" ")
    values = dict(part.strip().split("=", 1) for part in rest.split(","))
    assert (scheme, values["k"]) == ("vapid", vapid.public)
    head, claims, signature = values["t"].split(".")
    said = json.loads(unb64(claims))
    assert said["aud"] == "https://fcm.googleapis.com" and said["sub"] == "mailto:it@school.example"
    assert 0 < said["exp"] - now <= 24 * 3600
    raw = unb64(signature)
    key = ec.EllipticCurvePublicKey.from_encoded_point(push.CURVE, unb64(vapid.public))
    der = encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
    key.verify(der, f"{head}.{claims}".encode(), ec.ECDSA(hashes.SHA256()))


def test_the_key_is_the_installations() -> None:
    """The same after a restart, another for another master key."""
    one, again, other = (push.Vapid(seed, contact="x").public for seed in (bytes(32), bytes(32), b"\1" * 32))
    assert one == again != other


@pytest.mark.parametrize(
    "text",
    [
        "", "{}", "[]", "null", "x" * 50,
        given("https://intranet.school.example/admin"),
        given("http://fcm.googleapis.com/x"),
        given("https://fcm.googleapis.com.evil.example/x"),
        given("https://evil.example/?fcm.googleapis.com"),
        given("https://u:p@fcm.googleapis.com/x"),
        given("https://fcm.googleapis.com:bad/x"),
        given("https://169.254.169.254/latest"),
        given("https://fcm.googleapis.com/x\r\nX-Evil: 1"),
        given("file:///etc/passwd"),
        given(auth="AAAA"),
        given(p256dh=AUTH),
        given(p256dh=b64(b"\x04" + bytes(64))),
    ],
)  # fmt: skip
def test_what_is_no_subscription_of_a_known_service_is_refused(text: str) -> None:
    """Else anybody signed in could have the server call any address; the refusal does not repeat it."""
    with pytest.raises(BadContact) as refused:
        push.subscription(text)
    assert "evil" not in str(refused.value) and "school" not in str(refused.value)


@pytest.mark.parametrize(
    "host",
    [
        "fcm.googleapis.com",
        "web.push.apple.com",
        "db5p.notify.windows.com",
        "updates.push.services.mozilla.com",
    ],
)
def test_the_services_of_known_browsers_pass(host: str) -> None:
    found = push.subscription(given(f"https://{host}/x"))
    assert push.subscription(found.dumped()) == found


async def test_an_alert_reaches_the_browser_sealed_and_without_content(staff) -> None:
    """Through the desk to a push service on loopback, and opened as the browser does."""
    endpoint = f"{staff.hooks.url}/push/abc"
    ada = await staff.adult(duty=True)
    await staff.contact(Kind.PUSH, given(endpoint), member=ada)
    await staff.raised()
    await staff.desk.sweep()
    [hook] = staff.hooks.hooks
    assert hook.path == "/push/abc"
    assert json.loads(opened(hook.body)) == {"type": "alert", "title": "A safeguarding alert needs you"}
    assert (hook.headers["content-encoding"], hook.headers["urgency"]) == ("aes128gcm", "high")
    assert int(hook.headers["ttl"]) >= 600
    assert hook.headers["authorization"].startswith("vapid t=")
    assert (await staff.outcomes())["push"] == "ok"


async def test_a_browser_that_is_no_longer_subscribed_is_forgotten(staff) -> None:
    """Push services say 404 or 410: the address goes, in the log and from the list."""
    staff.pages.open = True
    ada = await staff.adult(duty=True)
    await staff.contact(Kind.PUSH, given(f"{staff.hooks.url}/x"), member=ada)
    staff.hooks.statuses = [410]
    await staff.raised()
    await staff.desk.sweep()
    assert await staff.store.read(lambda tx: tx.channels.of_site(staff.site)) == []
    assert await staff.sql("SELECT address FROM contact_point") == [(None,)]
    kinds = await staff.store.read(lambda tx: [entry.kind for entry in tx.audit.all()])
    assert kinds[-1] == "channel_gone"
    staff.shop.advance(seconds=90)
    assert await staff.outside[Kind.PUSH].again() == 0
