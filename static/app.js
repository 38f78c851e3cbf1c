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
