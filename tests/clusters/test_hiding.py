"""No run of a secret is left, however a server writes it; other words stay."""

import base64
import html
import json
from urllib.parse import quote

import pytest

from pcc.clusters.secrets import HIDDEN, RUN, Secrets

KEY = 'sk-Proj_9"\\x/a+b<Zq=71&mW'


@pytest.mark.parametrize(
    "written",
    [
        KEY,
        f"Bearer {KEY}",
        KEY.upper(),
        quote(KEY, safe=""),
        quote(KEY).lower(),
        "".join(f"%{ord(c):02X}" for c in KEY),
        json.dumps(KEY),
        "".join(f"\\u{ord(c):04x}" for c in KEY),
        html.escape(KEY),
        "".join(f"&#{ord(c)};" for c in KEY),
        "".join(f"&#x{ord(c):x};" for c in KEY),
        KEY.encode().hex(),
        *(base64.b64encode(b"x" * n + KEY.encode()).decode() for n in range(3)),
        base64.urlsafe_b64encode(f"user:{KEY}".encode()).decode(),
        *(KEY[at : at + RUN] for at in range(0, len(KEY) - RUN + 1, 5)),
        f"{KEY[:12]} and {KEY[12:]}",
    ],
)
def test_every_way_to_write_a_key(written: str) -> None:
    secrets = Secrets(KEY)
    (shown,) = secrets.hide({"x": [f"a {written} b"]})["x"]
    assert shown.startswith("a ") and shown.endswith(" b") and HIDDEN in shown
    inside = shown[2:-2].replace(HIDDEN, "\0").replace("Bearer ", "").replace(" and ", "")
    assert max(map(len, inside.split("\0"))) < RUN
    assert secrets.hide({written: 1}) == {shown[2:-2]: 1}, "keys too"


@pytest.mark.parametrize(
    ("secret", "value", "shown"),
    [
        (KEY, {"n": [1, None, True, 2.5, KEY[: RUN - 1]]}, {"n": [1, None, True, 2.5, KEY[: RUN - 1]]}),
        (KEY, "İ 100 % &amp; \\n \\u12 c:\\dir", "İ 100 % &amp; \\n \\u12 c:\\dir"),
        ("tok-7", "tok-7, 'TOK-7', stok-7, tok-77", f"{HIDDEN}, '{HIDDEN}', stok-7, tok-77"),
        ("abc", "abc", "abc"),
        ("", "any", "any"),
        ("aaaaaaaaaa", "b aaaaaaaaaaaaaaaaaaaaaaa b", f"b {HIDDEN} b"),
    ],
)
def test_other_words_stay(secret: str, value: object, shown: object) -> None:
    assert Secrets(secret).hide(value) == shown
