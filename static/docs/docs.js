// Starts Swagger UI, and says in the bar who is signed in. No token outlives the page: what stays signed in is the cookie, which no script can read.
"use strict";

// Swagger UI's dark theme goes by a class; the page follows the system, as the dashboard does.
const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();

const caller = document.querySelector(".caller");
const leave = document.querySelector(".leave");

async function showCaller() {
    const answer = await fetch("/users/me", { credentials: "same-origin" });
    const me = answer.ok ? await answer.json() : null;
    show(me);
}

function show(me) {
    caller.textContent = me ? `Signed in as ${me.name}${me.is_service_account ? " (BOT)" : ""}` : "Not signed in";
    leave.hidden = !me;
}

// A token that has expired would be refused, although the cookie still counts.
function expired(authorization) {
    const payload = /^Bearer [\w-]+\.([\w-]+)\.[\w-]+$/.exec(authorization ?? "")?.[1];
    if (!payload) return false;
    try {
        const { exp } = JSON.parse(atob(payload.replaceAll("-", "+").replaceAll("_", "/")));
        return exp * 1000 <= Date.now();
    } catch {
        return false;
    }
}

leave.addEventListener("click", async () => {
    await fetch("/auth/logout", { method: "POST", credentials: "same-origin" });
    // The page forgets its token, too.
    location.reload();
});

window.ui = SwaggerUIBundle({
    url: "/openapi.json",
    dom_id: "#api",
    deepLinking: true,
    filter: true,
    tryItOutEnabled: true,
    persistAuthorization: false,
    withCredentials: true,
    displayRequestDuration: true,
    defaultModelsExpandDepth: 0,
    validatorUrl: null,
    presets: [SwaggerUIBundle.presets.apis],
    requestInterceptor(request) {
        request.credentials = "same-origin";
        if (expired(request.headers?.Authorization)) delete request.headers.Authorization;
        return request;
    },
    responseInterceptor(response) {
        if (response.ok && /\/auth\/login$/.test(response.url)) showCaller();
        if (response.ok && /\/auth\/logout$/.test(response.url)) show(null);
        return response;
    },
});

if ("signedIn" in caller.dataset) showCaller();
