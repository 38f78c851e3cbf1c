"""Verifies the access tokens given on standard input with joserfc, and prints what became of each.

joserfc looks at no `typ`, and at a claim only where it is told to; so the resource service names what it needs (RFC 9068, section 4).
"""

import json
import sys
import time

import requests
from joserfc import jwt
from joserfc.errors import InvalidHeaderValueError, JoseError
from joserfc.jwk import KeySet

given = json.load(sys.stdin)
metadata = requests.get(given["issuer"] + "/.well-known/oauth-authorization-server", timeout=10).json()
assert metadata["issuer"] == given["issuer"]
keys = KeySet.import_key_set(requests.get(metadata["jwks_uri"], timeout=10).json())


def verify(case):
    # HS256 is one too many: that the key is none for it has to be seen by the library.
    token = jwt.decode(case["token"], keys, algorithms=["ES256", "EdDSA", "RS256", "HS256"])
    if token.header.get("typ") != "at+jwt":
        raise InvalidHeaderValueError("typ is not at+jwt")
    needed = {name: {"essential": True} for name in ["exp", "iat", "sub", "jti"]}
    for name, value in [("iss", case["issuer"]), ("aud", case["audience"])]:
        needed[name] = {"essential": True, "value": value}
    jwt.JWTClaimsRegistry(now=int(time.time()) + case["later"], **needed).validate(token.claims)
    return token.claims


verdicts = {}
for case in given["cases"]:
    try:
        verdicts[case["name"]] = {"accepted": verify(case)}
    except JoseError as error:
        verdicts[case["name"]] = {"refused": f"{type(error).__name__}: {error}"}
print(json.dumps(verdicts))
