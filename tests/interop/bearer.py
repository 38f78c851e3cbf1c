"""Presents texts as bearer tokens to PyJWT, python-jose and joserfc, as receivers use them that look at no `typ`, and prints what became of each.

Each receiver checks the signature and, by its mode, `aud`, `iss` or both. Where a library wants to be told not to look at `aud`, it is told.
"""

import json
import sys

import jwt
import requests
from joserfc import jwt as joserfc_jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from jose import jwt as jose_jwt
from jose.exceptions import JOSEError

given = json.load(sys.stdin)
metadata = requests.get(given["issuer"] + "/.well-known/oauth-authorization-server", timeout=10).json()
jwks = requests.get(metadata["jwks_uri"], timeout=10).json()
pyjwt_keys = jwt.PyJWKClient(metadata["jwks_uri"])
joserfc_keys = KeySet.import_key_set(jwks)


def pyjwt(token, expected):
    key = pyjwt_keys.get_signing_key_from_jwt(token)
    jwt.decode(token, key, algorithms=["ES256"], options={"verify_aud": "audience" in expected}, **expected)


def python_jose(token, expected):
    jose_jwt.decode(token, jwks, algorithms=["ES256"], options={"verify_aud": "audience" in expected}, **expected)


def joserfc(token, expected):
    names = {"audience": "aud", "issuer": "iss"}
    wanted = {names[name]: {"essential": True, "value": value} for name, value in expected.items()}
    decoded = joserfc_jwt.decode(token, joserfc_keys, algorithms=["ES256"])
    joserfc_jwt.JWTClaimsRegistry(**wanted).validate(decoded.claims)


def verdict(check, token, expected):
    try:
        check(token, expected)
        return "accepted"
    except (jwt.PyJWTError, JOSEError, JoseError) as error:
        return f"{type(error).__name__}: {error}"


libraries = {"PyJWT": pyjwt, "python-jose": python_jose, "joserfc": joserfc}
verdicts = {}
for library, check in libraries.items():
    for mode, names in given["modes"].items():
        for receiver in given["receivers"]:
            expected = {name: {"audience": receiver["audience"], "issuer": given["issuer"]}[name] for name in names}
            told = {name: verdict(check, token, expected) for name, token in receiver["tokens"].items()}
            verdicts[f"{library}, {mode}, as {receiver['audience']}"] = told
print(json.dumps(verdicts))
