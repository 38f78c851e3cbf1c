// Reads the status of the access tokens given on standard input with jose and @sd-jwt/jwt-status-list.

import { json } from "node:stream/consumers";
import { getListFromStatusListJWT, getStatusListFromJWT } from "@sd-jwt/jwt-status-list";
import { createRemoteJWKSet, errors, jwtVerify } from "jose";

const given = await json(process.stdin);
const metadata = await (await fetch(`${given.issuer}/.well-known/oauth-authorization-server`)).json();
const keys = createRemoteJWKSet(new URL(metadata.jwks_uri));

/** The code with which jose refuses this as the list at `uri`, or null. */
const refusal = async (text, uri) => {
  try {
    await jwtVerify(text, keys, { audience: uri, subject: uri, typ: "statuslist+jwt", requiredClaims: ["iat", "exp", "ttl"] });
    return null;
  } catch (error) {
    if (!(error instanceof errors.JOSEError)) throw error;
    return error.code;
  }
};

const read = async (token) => {
  const { idx, uri } = getStatusListFromJWT(token);
  const answer = await fetch(uri, { headers: { accept: "application/statuslist+jwt" } });
  const text = await answer.text();
  const [header, payload, signature] = text.split(".");
  const claims = JSON.parse(Buffer.from(payload, "base64url"));
  const forged = Buffer.from(JSON.stringify({ ...claims, ttl: 1e9 })).toString("base64url");
  return {
    type: answer.headers.get("content-type"),
    refused: await refusal(text, uri),
    status: getListFromStatusListJWT(text).getStatus(idx),
    another_uri: await refusal(text, `${uri}0`),
    forged: await refusal(`${header}.${forged}.${signature}`, uri),
    not_a_list: await refusal(token, uri),
  };
};

const statuses = {};
for (const [name, token] of Object.entries(given.tokens)) statuses[name] = await read(token);
console.log(JSON.stringify(statuses));
