
"use strict";
// Comforts only: a button that copies a table, and tips that appear without a delay.
for (const table of document.querySelectorAll("table.data")) {
  const button = document.createElement("button");
  button.className = "copy";
  button.type = "button";
  button.textContent = "copy";
  button.title = "Copy the table as tab-separated values";
  button.addEventListener("click", async () => {
    const cells = (row) => [...row.cells].map((cell) => cell.innerText.replace(/\s+/g, " ").trim());
    const text = [...table.rows].map((row) => cells(row).join("\t")).join("\n");
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "copied";
    } catch (error) {
      button.textContent = "the browser does not allow copying";
    }
  });
  table.caption.append(button);
}

const tip = document.createElement("div");
tip.className = "tip";
tip.hidden = true;
tip.setAttribute("aria-hidden", "true");
document.body.append(tip);
document.addEventListener("pointermove", (event) => {
  const shape = event.target.closest("svg.plot :is(rect, line, circle, svg)");
  const title = shape && shape.querySelector(":scope > title");
  if (title && title.textContent) {
    shape.dataset.tip = title.textContent;
    title.remove(); // the browser's own tip would appear over this one
  }
  tip.hidden = !(shape && shape.dataset.tip);
  if (tip.hidden) return;
  tip.textContent = shape.dataset.tip;
  const right = window.innerWidth - tip.offsetWidth - 8;
  tip.style.left = `${Math.max(8, Math.min(event.clientX + 12, right))}px`;
  tip.style.top = `${event.clientY > 60 ? event.clientY - 34 : event.clientY + 18}px`;
});
