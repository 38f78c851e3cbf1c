// Verifies the access tokens given on standard input with jose, and prints what became of each.

import { json } from "node:stream/consumers";
import { createRemoteJWKSet, errors, jwtVerify } from "jose";

const given = await json(process.stdin);
const metadata = await (await fetch(`${given.issuer}/.well-known/oauth-authorization-server`)).json();
if (metadata.issuer !== given.issuer) throw new Error(`the metadata is that of ${metadata.issuer}`);
const keys = createRemoteJWKSet(new URL(metadata.jwks_uri));

const verdicts = {};
for (const { name, token, issuer, audience, later } of given.cases) {
  // No `algorithms`: the published keys alone say which there are.
  const options = {
    issuer,
    audience,
    typ: "at+jwt",
    requiredClaims: ["exp", "iat", "sub", "jti"],
    currentDate: new Date(Date.now() + later * 1000),
  };
  try {
    verdicts[name] = { accepted: (await jwtVerify(token, keys, options)).payload };
  } catch (error) {
    const notOfTheToken = error instanceof errors.JWKSTimeout || error.code === "ERR_JOSE_GENERIC";
    if (!(error instanceof errors.JOSEError) || notOfTheToken) throw error;
    verdicts[name] = { refused: `${error.code}: ${error.message}` };
  }
}
console.log(JSON.stringify(verdicts));
