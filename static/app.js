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
