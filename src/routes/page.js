"use strict";
// Brings the page up to date in place; without script the browser loads it again.
const every = 5000;
async function refresh() {
  try {
    const answer = await fetch(location.href, { cache: "no-store" });
    if (!answer.ok) throw new Error(answer.status);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const open = new Set([...document.querySelectorAll("details[open]")].map((each) => each.id));
    for (const each of fresh.querySelectorAll("details")) each.open = open.has(each.id);
    const chosen = getSelection();
    // What somebody is copying stays.
    if (!chosen || chosen.isCollapsed) document.querySelector("main").replaceWith(fresh.querySelector("main"));
    document.body.classList.remove("lost");
  } catch {
    document.body.classList.add("lost");
  }
}
setInterval(() => { if (!document.hidden) refresh(); }, every);
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
