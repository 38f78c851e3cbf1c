// Verifies the access tokens given on standard input with oauth4webapi, and prints what became of each. It holds them to the whole of RFC 9068.

import { json } from "node:stream/consumers";
import * as oauth from "oauth4webapi";

const given = await json(process.stdin);
const plain = { [oauth.allowInsecureRequests]: true };
const identifier = new URL(given.issuer);
const server = await oauth.processDiscoveryResponse(identifier, await oauth.discoveryRequest(identifier, { algorithm: "oauth2", ...plain }));
const keys = {};

const verdicts = {};
for (const { name, token, issuer, audience, later } of given.cases) {
  const request = new Request("https://resource.example.com/", { headers: { authorization: `Bearer ${token}` } });
  const options = {
    ...plain,
    signingAlgorithms: ["ES256", "EdDSA", "RS256"],
    [oauth.clockSkew]: later,
    // Untold, it accepts a token for half a minute after its end.
    [oauth.clockTolerance]: 0,
    [oauth.jwksCache]: keys,
  };
  try {
    verdicts[name] = { accepted: await oauth.validateJwtAccessToken({ ...server, issuer }, request, audience, options) };
  } catch (error) {
    const ofTheToken = error instanceof oauth.OperationProcessingError || error instanceof oauth.UnsupportedOperationError;
    if (!ofTheToken || error.code === oauth.RESPONSE_IS_NOT_CONFORM) throw error;
    verdicts[name] = { refused: `${error.code}: ${error.message}` };
  }
}
console.log(JSON.stringify(verdicts));
