"""Verifies the access tokens given on standard input with PyJWT, and prints what became of each.

PyJWT looks at everything but `typ`, which the resource service checks itself (RFC 9068, section 4).
"""

import json
import sys

import jwt
import requests

given = json.load(sys.stdin)
metadata = requests.get(given["issuer"] + "/.well-known/oauth-authorization-server", timeout=10).json()
assert metadata["issuer"] == given["issuer"]
keys = jwt.PyJWKClient(metadata["jwks_uri"])


def verify(case):
    key = keys.get_signing_key_from_jwt(case["token"])
    # PyJWT takes no clock. Less leeway than none is a later clock, at which `iat` would lie too far ahead.
    # HS256 is one too many: that the key is none for it has to be seen by the library.
    token = jwt.decode_complete(
        case["token"],
        key,
        algorithms=["ES256", "EdDSA", "RS256", "HS256"],
        audience=case["audience"],
        issuer=case["issuer"],
        leeway=-case["later"],
        options={"require": ["exp", "iat", "iss", "aud", "sub", "jti"], "verify_iat": case["later"] == 0},
    )
    if token["header"].get("typ") != "at+jwt":
        raise jwt.InvalidTokenError("typ is not at+jwt")
    return token["payload"]


verdicts = {}
for case in given["cases"]:
    try:
        verdicts[case["name"]] = {"accepted": verify(case)}
    except jwt.PyJWKClientConnectionError:
        raise
    except jwt.PyJWTError as error:
        verdicts[case["name"]] = {"refused": f"{type(error).__name__}: {error}"}
print(json.dumps(verdicts))
