"""Web Push: a message encrypted for one browser (RFC 8291, aes128gcm) and our name for it (RFC 8292). Pure.

The primitives are those of `cryptography`; how they are put together is the RFC's, and its own example is a
test.
"""

import json
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from peerchat.channels.contact import LOOPBACK, BadContact

CURVE = ec.SECP256R1()
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
RECORD = 4096
TOKEN_S = 12 * 3600
"""How long a token names us to a push service; at most a day is allowed."""

SERVICES = (
    "fcm.googleapis.com",
    "updates.push.services.mozilla.com",
    ".push.services.mozilla.com",
    ".push.apple.com",
    ".notify.windows.com",
)
"""Whose servers a browser's subscription may name; one that begins with a dot stands for all under it.

A subscription comes from a page: without this list anybody signed in could have the server call any address.
"""


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a browser gave us: where to send, and the keys that only it can open."""

    endpoint: str
    p256dh: bytes
    auth: bytes

    def dumped(self) -> str:
        """Return it as it is kept: as the browser gave it, without what we do not need."""
        keys = {"p256dh": b64(self.p256dh), "auth": b64(self.auth)}
        return json.dumps({"endpoint": self.endpoint, "keys": keys})


def subscription(text: str, *, services: tuple[str, ...] = SERVICES) -> Subscription:
    """Return a subscription from its JSON. Raises `BadContact`, also for a service that is not listed."""
    try:
        given = json.loads(text)
        endpoint, keys = str(given["endpoint"]), given["keys"]
        p256dh, auth = unb64(keys["p256dh"]), unb64(keys["auth"])
        ec.EllipticCurvePublicKey.from_encoded_point(CURVE, p256dh)
        parts = urlsplit(endpoint)
        host = parts.hostname or ""
        here = f"{host}:{parts.port}" if parts.port else host
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BadContact("not a subscription of a browser") from None
    if len(auth) != 16 or any(c.isspace() for c in endpoint) or parts.username is not None:
        raise BadContact("not a subscription of a browser")
    listed = any(host.endswith(each) if each.startswith(".") else each in (host, here) for each in services)
    loopback = parts.scheme == "http" and host in LOOPBACK  # a relay on this host, where it is listed
    if not listed or not (parts.scheme == "https" or loopback):
        raise BadContact("the browser's push service is not on the server's list")
    return Subscription(endpoint, p256dh, auth)


class Vapid:
    """Our name towards push services: one key for the installation, and the tokens that it signs."""

    def __init__(self, seed: bytes, *, contact: str) -> None:
        """Derive the key from a secret of the server: the same again at every start."""
        raw = HKDF(hashes.SHA256(), 48, salt=None, info=b"peerchat web push").derive(seed)
        self._key = ec.derive_private_key(int.from_bytes(raw) % (ORDER - 1) + 1, CURVE)
        self._contact = contact

    @cached_property
    def public(self) -> str:
        """The key that a browser subscribes with."""
        return b64(point(self._key.public_key()))

    def authorization(self, endpoint: str, *, now: float) -> str:
        """Return the header that names us to the service behind an endpoint."""
        parts = urlsplit(endpoint)
        claims = {
            "aud": f"{parts.scheme}://{parts.netloc}",
            "exp": int(now) + TOKEN_S,
            "sub": self._contact,
        }
        head = {"typ": "JWT", "alg": "ES256"}
        signed = ".".join(b64(json.dumps(part, separators=(",", ":")).encode()) for part in (head, claims))
        r, s = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"vapid t={signed}.{b64(r.to_bytes(32) + s.to_bytes(32))}, k={self.public}"


def encrypted(
    plain: bytes,
    to: Subscription,
    *,
    key: ec.EllipticCurvePrivateKey | None = None,
    salt: bytes | None = None,
) -> bytes:
    """Return the body of a push message. `key` and `salt` are new for each one; given only by tests."""
    key = key or ec.generate_private_key(CURVE)
    salt = salt or os.urandom(16)
    ours = point(key.public_key())
    shared = key.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(CURVE, to.p256dh))
    secret = _hkdf(to.auth, shared, b"WebPush: info\0" + to.p256dh + ours, 32)
    content = _hkdf(salt, secret, b"Content-Encoding: aes128gcm\0", 16)
    nonce = _hkdf(salt, secret, b"Content-Encoding: nonce\0", 12)
    sealed = AESGCM(content).encrypt(nonce, plain + b"\x02", None)
    return salt + RECORD.to_bytes(4) + len(ours).to_bytes(1) + ours + sealed


def _hkdf(salt: bytes, secret: bytes, info: bytes, length: int) -> bytes:
    return HKDF(hashes.SHA256(), length, salt=salt, info=info).derive(secret)


def point(key: ec.EllipticCurvePublicKey) -> bytes:
    """Return a public key as 65 bytes."""
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def b64(raw: bytes) -> str:
    """Return base64url without padding."""
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    """Return what base64url stands for, padded or not."""
    return urlsafe_b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4))
