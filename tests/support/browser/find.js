// What a person would call a thing on a page, and the thing that they would call so.
// Only what can be seen counts: `found` is all that has the name, `others` the names that there are instead.

const plain = (text) => (text ?? "").replace(/\s+/g, " ").trim();
const seen = (element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && element.getClientRects().length > 0;
const named = (ids) => plain(ids?.split(/\s+/).map((id) => document.getElementById(id)?.textContent).join(" "));
const aria = (element) => named(element.getAttribute("aria-labelledby")) || plain(element.getAttribute("aria-label"));

/** What is on a button or a link, or what a screen reader says of it. */
const caption = (element) =>
    aria(element) || plain(element.innerText) || plain(element.querySelector("svg title")?.textContent) || plain(element.value) || plain(element.title);

/** What is written at a field. A hint or a mark in the label that is not for screen readers is not part of its name. */
const label = (element) => {
    const written = [...(element.labels ?? [])].map((label) => {
        const copy = label.cloneNode(true);
        copy.querySelectorAll("input, select, textarea, [aria-hidden=true]").forEach((part) => part.remove());
        return plain(copy.textContent);
    });
    return aria(element) || plain(written.join(" "));
};

const KINDS = {
    press: ["a[href], button, input[type=submit], input[type=button], summary, [role=button], [role=menuitem], [role=tab]", caption],
    fill: ["input:not([type=hidden]):not([type=submit]):not([type=button]), select, textarea, [contenteditable=true]", label],
};

/** Fields are hidden behind prettier ones at times: what is pressed then is the label. */
const usable = (element) => seen(element) || (element.matches("[type=checkbox], [type=radio], [type=file]") && [...element.labels].some(seen));

/**
 * The smallest part of the page that says `text` and has a control of that name: a row, a card, a section.
 * Without `text` the whole page.
 */
const parts = (text, selector) => {
    if (!text) return [document];
    const all = [...document.querySelectorAll("tr, li, dd, fieldset, article, section, form, dialog, details, main")];
    const those = all.filter((part) => seen(part) && plain(part.innerText).includes(plain(text)) && part.querySelector(selector));
    return those.sort((one, other) => one.getElementsByTagName("*").length - other.getElementsByTagName("*").length);
};

function find(kind, name, beside) {
    const [selector, nameOf] = KINDS[kind];
    const wanted = plain(name);
    const others = new Set();
    for (const part of parts(beside, selector)) {
        const all = [...part.querySelectorAll(selector)].filter(usable);
        all.forEach((element) => others.add(nameOf(element)));
        const exact = all.filter((element) => nameOf(element) === wanted);
        const found = exact.length ? exact : all.filter((element) => nameOf(element).startsWith(wanted));
        if (found.length) return { found, others: [] };
    }
    return { found: [], others: [...others] };
}
