// All that moves on the page. Without it the page is whole: pairs of pictures stand side by side, tables in their order.
"use strict";
const root = document.documentElement;
root.classList.add("js");

// Pictures: one over the other, the right one cut off at the handle.
for (const widget of document.querySelectorAll(".compare")) {
  const pictures = widget.querySelector(".pictures");
  const handle = widget.querySelector("input");
  const figures = [...pictures.children];
  const move = () => pictures.style.setProperty("--at", handle.value + "%");
  for (const side of ["left", "right"]) {
    const select = widget.querySelector("select." + side);
    select.addEventListener("change", () =>
      figures.forEach((figure, n) => figure.classList.toggle(side, n === select.selectedIndex)));
  }
  handle.addEventListener("input", move);
  move(); // a browser may have kept where it was

  // Blind until asked: which of the two is on the left is left to chance.
  const selects = [...widget.querySelectorAll("select")];
  const pair = Math.random() < 0.5 ? [1, 2] : [2, 1];
  selects.forEach((select, n) => {
    select.selectedIndex = pair[n];
    select.dispatchEvent(new Event("change"));
  });
  widget.classList.add("blind");
  const pictured = figures.map((figure) => figure.querySelector("img"));
  const names = pictured.map((picture) => picture.alt);
  pictured.forEach((picture) => (picture.alt = "one of the two"));
  widget.querySelector(".reveal").addEventListener("click", () => {
    widget.classList.remove("blind");
    pictured.forEach((picture, n) => (picture.alt = names[n]));
    selects[0].focus();
  });
  const drag = (event) => {
    if (event.type === "pointermove" && !event.buttons) return;
    const frame = pictures.getBoundingClientRect();
    handle.value = (100 * (event.clientX - frame.left)) / frame.width;
    move();
  };
  pictures.addEventListener("pointerdown", drag);
  pictures.addEventListener("pointermove", drag);
  pictures.addEventListener("dragstart", (event) => event.preventDefault());
}

// Equation 8 with any k and b.
for (const tool of document.querySelectorAll(".response")) {
  const [k, b, range] = ["k", "b", "range"].map((name) => tool.querySelector(`[name=${name}]`));
  const draw = () => {
    const [slope, least, top] = [10 ** k.value, Number(b.value), Number(range.value)];
    const mask = (level) => Math.min(1, slope * ((level * top) / 255) ** 2 + least);
    const place = (n) => `${2 * n} ${240 - 240 * mask(0.1 * 2550 ** (n / 300))}`;
    tool.querySelector(".curve").setAttribute("d", "M" + Array.from({ length: 301 }, (_, n) => place(n)).join("L"));
    const at = [1, 10, 50].map((level) => `${mask(level).toFixed(2)} at ${level}`).join(", ");
    tool.querySelector("output").textContent = `k = ${Number(slope.toPrecision(2))}, b = ${least}: the mask is ${at} levels of error.`;
  };
  tool.addEventListener("input", draw);
  k.addEventListener("input", () => k.setAttribute("aria-valuetext", `k = ${Number((10 ** k.value).toPrecision(2))}`));
  draw();
}

// Tables with one row of headings: a click sorts up, another one down; what is no number stays below the numbers.
const text = (row, column) => row.cells[column].textContent.trim();
const number = (row, column) => parseFloat(text(row, column).replaceAll("−", "-").replace(/^\+/, ""));
function sort(table, column, up) {
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const numeric = rows.some((row) => !isNaN(number(row, column)));
  const compare = (a, b) => {
    const [x, y] = [number(a, column), number(b, column)];
    if (!numeric) return up * text(a, column).localeCompare(text(b, column), "en", { numeric: true });
    return isNaN(x) || isNaN(y) ? isNaN(x) - isNaN(y) : up * (x - y);
  };
  body.append(...rows.sort(compare));
}
for (const table of document.querySelectorAll(".table table")) {
  if (table.tHead?.rows.length !== 1 || table.tBodies[0]?.rows.length < 2) continue;
  if (table.querySelector("[colspan], [rowspan]")) continue;
  [...table.tHead.rows[0].cells].forEach((cell, column) => {
    const button = document.createElement("button");
    button.append(...cell.childNodes);
    cell.append(button);
    button.addEventListener("click", () => {
      const down = cell.ariaSort === "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      cell.ariaSort = down ? "descending" : "ascending";
      sort(table, column, down ? -1 : 1);
    });
  });
}

// What is folded of the results is printed, too.
addEventListener("beforeprint", () => document.querySelectorAll("main > details.section, details.fold").forEach((one) => (one.open = true)));

// A link into a folded section opens it.
function unfold() {
  const place = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let at = place; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
  place?.scrollIntoView();
}
addEventListener("hashchange", unfold);
if (location.hash) unfold();

// Dark or light, first as the system has it.
const toggle = document.querySelector(".theme");
const isDark = () => (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
const label = () => (toggle.textContent = isDark() ? "light" : "dark");
toggle.addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  label();
});
label();
