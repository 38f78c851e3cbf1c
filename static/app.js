// Small helps. Every page works without them.
"use strict";

// Copying: the buttons are hidden until there is someone to do it.
for (const button of document.querySelectorAll("button[data-copy]")) {
  const source = document.getElementById(button.dataset.copy);
  const label = button.querySelector("span");
  if (!source || !label || !navigator.clipboard) continue;
  const before = label.textContent;
  label.setAttribute("aria-live", "polite");
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(source.textContent);
      label.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(source);
      label.textContent = "Selected";
    }
    setTimeout(() => { label.textContent = before; }, 2000);
  });
}

// A form that is on its way is not sent a second time, unless nothing comes of it.
addEventListener("submit", (event) => {
  const form = event.target;
  if (form.getAttribute("method") !== "post" || event.defaultPrevented) return;
  if (form.dataset.sent) return event.preventDefault();
  form.dataset.sent = "yes";
  setTimeout(() => { delete form.dataset.sent; }, 10000);
});
addEventListener("pageshow", () => { for (const form of document.forms) delete form.dataset.sent; });

// On a phone the navigation covers the page; it closes when it is left.
const navigation = document.getElementById("navigation");
if (navigation && navigation.hidePopover) {
  addEventListener("pagehide", () => { if (navigation.matches(":popover-open")) navigation.hidePopover(); });
}

// The code of an invitation's link stands behind its #, which browsers send to nobody. It goes into the form, and out of the address.
const invited = document.querySelector("input[data-from-link]");
if (invited && location.hash.length > 1) {
  invited.value = location.hash.slice(1);
  history.replaceState(null, "", location.pathname);
  document.getElementById("password")?.focus();
}

// The audit trail, live: the same page is asked for again, and what is new in it is put in its place. Not while nobody looks.
const live = document.getElementById("live");
const events = document.getElementById("events");
const liveStatus = document.getElementById("live-status");
if (live && events && liveStatus) {
  const MOST = 500;
  let due = 0;
  const on = () => live.getAttribute("aria-pressed") === "true";
  const put = (fresh) => {
    const body = events.querySelector("tbody");
    const rows = [...(fresh.querySelector("tbody")?.rows ?? [])];
    if (!body) {
      if (rows.length) events.replaceChildren(...fresh.childNodes);
      return rows.length;
    }
    const known = new Map([...body.rows].map((row) => [row.dataset.event, row]));
    const count = rows.filter((row) => !known.has(row.dataset.event)).length;
    // More has happened than one page shows, or there are more rows than anyone reads: the page as it is now has no hole in it.
    if (count === rows.length || known.size + count > MOST) {
      if (count) events.replaceChildren(...fresh.childNodes);
      return count;
    }
    for (const row of rows) {
      const same = known.get(row.dataset.event);
      known.delete(row.dataset.event);
      if (same) {
        same.querySelector("time").textContent = row.querySelector("time").textContent;
        continue;
      }
      row.classList.add("fresh");
      body.insertBefore(row, [...body.rows].find((other) => other.dataset.event < row.dataset.event) ?? null);
    }
    // What was pushed off the first page is told no distance from now any more.
    for (const row of known.values()) {
      const time = row.querySelector("time");
      time.textContent = time.title;
    }
    return count;
  };
  const look = async () => {
    clearTimeout(due);
    if (!on() || document.hidden) return;
    try {
      const answer = await fetch(location.href, { redirect: "manual" });
      // The session is over: the page itself leads to the sign-in, and back.
      if (answer.type === "opaqueredirect") return location.reload();
      const fresh = answer.ok && new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("events");
      const count = fresh ? put(document.adoptNode(fresh)) : 0;
      if (count) liveStatus.textContent = count === 1 ? "1 new event" : `${count} new events`;
    } catch {
      // The server may be away for a moment; or else the page, loaded again, says what is wrong.
    }
    due = setTimeout(look, 2000);
  };
  live.hidden = false;
  document.getElementById("newer").hidden = true;
  live.addEventListener("click", () => {
    live.setAttribute("aria-pressed", String(!on()));
    liveStatus.textContent = on() ? "New events are shown as they come" : "New events are not shown any more";
    look();
  });
  document.addEventListener("visibilitychange", look);
}
