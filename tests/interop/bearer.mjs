// Presents texts as bearer tokens to jose, jsonwebtoken and @fastify/jwt with get-jwks, as receivers use them that look at no `typ`, and prints what
// became of each. Each receiver checks the signature and, by its mode, `aud`, `iss` or both.

import { createPublicKey } from "node:crypto";
import { json } from "node:stream/consumers";
import fastifyJwt from "@fastify/jwt";
import Fastify from "fastify";
import buildGetJwks from "get-jwks";
import { createRemoteJWKSet, jwtVerify } from "jose";
import jsonwebtoken from "jsonwebtoken";

const given = await json(process.stdin);
const metadata = await (await fetch(`${given.issuer}/.well-known/oauth-authorization-server`)).json();
const remote = createRemoteJWKSet(new URL(metadata.jwks_uri));
const { keys } = await (await fetch(metadata.jwks_uri)).json();
const pems = new Map(keys.map((key) => [key.kid, createPublicKey({ key, format: "jwk" })]));

const jose = async (expected) => async (token) => void (await jwtVerify(token, remote, expected));

const node = async (expected) => async (token) => {
  const pem = pems.get(jsonwebtoken.decode(token, { complete: true }).header.kid);
  jsonwebtoken.verify(token, pem, { algorithms: ["ES256"], ...expected });
};

// It looks at `aud` and `iss` only if a token has them. So with `allowedAud` the keys of one issuer are used, whatever the token says; without it, as in the
// documents of get-jwks, those of the issuer that the token names, or else nothing would be checked but the signature.
const fastify = async (expected) => {
  const app = Fastify();
  const source = buildGetJwks({ issuersWhitelist: [`${given.issuer}/`], jwksPath: "/.well-known/jwks.json" });
  await app.register(fastifyJwt, {
    decode: { complete: true },
    secret: (_, { header, payload }) => source.getPublicKey({ kid: header.kid, alg: header.alg, domain: expected.audience ? given.issuer : payload.iss }),
    verify: { ...(expected.audience && { allowedAud: expected.audience }), ...(expected.issuer && { allowedIss: expected.issuer }) },
  });
  app.get("/", { onRequest: (request) => request.jwtVerify() }, () => "in");
  return async (token) => {
    const answer = await app.inject({ url: "/", headers: { authorization: `Bearer ${token}` } });
    if (answer.statusCode !== 200) throw new Error(`${answer.statusCode} ${answer.body}`);
  };
};

const verdicts = {};
for (const [library, make] of Object.entries({ jose, jsonwebtoken: node, "@fastify/jwt with get-jwks": fastify })) {
  for (const [mode, names] of Object.entries(given.modes)) {
    for (const { audience, tokens } of given.receivers) {
      const all = { audience, issuer: given.issuer };
      const check = await make(Object.fromEntries(names.map((name) => [name, all[name]])));
      const told = (verdicts[`${library}, ${mode}, as ${audience}`] = {});
      for (const [name, token] of Object.entries(tokens)) {
        told[name] = await check(token).then(() => "accepted", (error) => `${error.name}: ${error.message}`);
      }
    }
  }
}
console.log(JSON.stringify(verdicts));
