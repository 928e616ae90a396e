// All that moves on the page. Without it the page is whole: pairs of pictures stand side by side, tables in their order.
"use strict";
const root = document.documentElement;
root.classList.add("js");

// Pictures: one over the other, the right one cut off at the handle.
for (const widget of document.querySelectorAll(".compare")) {
  const pictures = widget.querySelector(".pictures");
  const handle = widget.querySelector("input");
  if (!pictures || !handle) continue; // a notebook's own element of that class
  const figures = [...pictures.children];
  const names = { left: "", right: "" };
  const move = () => {
    pictures.style.setProperty("--at", handle.value + "%");
    handle.setAttribute("aria-valuetext", `${handle.value} % ${names.left}, then ${names.right}`);
  };
  for (const side of ["left", "right"]) {
    const select = widget.querySelector("select." + side);
    const choose = () => {
      figures.forEach((figure, n) => figure.classList.toggle(side, n === select.selectedIndex));
      names[side] = select.value;
      move();
    };
    select.addEventListener("change", choose);
    choose();
  }
  handle.addEventListener("input", move);
  const drag = (event) => {
    if (event.type === "pointermove" && !event.buttons) return;
    const frame = pictures.getBoundingClientRect();
    handle.value = Math.round((100 * (event.clientX - frame.left)) / frame.width);
    move();
  };
  pictures.addEventListener("pointerdown", drag);
  pictures.addEventListener("pointermove", drag);
  pictures.addEventListener("dragstart", (event) => event.preventDefault());
}

// Tables with one plain row of headings: up, down, as it was.
const EMPTY = new Set(["", "-", "–", "—", "nan", "none", "<na>"]);
const textOf = (row, column) => row.cells[column].textContent.trim();
function numberOf(text) {
  const plain = text.replaceAll("−", "-").replace(/(\d)[,_](?=\d{3})/g, "$1").replace(/^[(\[±+]+/, "");
  return /^-?(\d|\.\d)/.test(plain) ? parseFloat(plain) : NaN;
}
function sorted(rows, column, direction) {
  const last = (row) => EMPTY.has(textOf(row, column).toLowerCase());
  const numeric = rows.every((row) => last(row) || !isNaN(numberOf(textOf(row, column))));
  return [...rows].sort((a, b) => {
    if (last(a) || last(b)) return last(a) - last(b);
    const [x, y] = [textOf(a, column), textOf(b, column)];
    return direction * (numeric ? numberOf(x) - numberOf(y) : x.localeCompare(y, "en", { numeric: true }));
  });
}
function makeSortable(table) {
  const [heading, more] = table.tHead ? table.tHead.rows : [];
  const body = table.tBodies[0];
  if (!heading || more || table.tBodies.length !== 1 || body.rows.length < 2) return;
  const rows = [...body.rows];
  if (rows.some((row) => row.cells.length !== heading.cells.length)) return;
  if (table.querySelector("[colspan], [rowspan]")) return;
  [...heading.cells].forEach((cell, column) => {
    if (!cell.textContent.trim()) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...cell.childNodes);
    cell.append(button);
    button.addEventListener("click", () => {
      const next = { ascending: "descending", descending: "none" }[cell.ariaSort] ?? "ascending";
      for (const other of heading.cells) other.removeAttribute("aria-sort");
      if (next !== "none") cell.ariaSort = next;
      body.append(...(next === "none" ? rows : sorted(rows, column, next === "ascending" ? 1 : -1)));
    });
  });
}
document.querySelectorAll(".table > table").forEach(makeSortable);

// A link into a folded section opens it.
function unfold() {
  let name = location.hash.slice(1);
  try {
    name = decodeURIComponent(name);
  } catch {} // a lone % is no escape
  const place = document.getElementById(name);
  for (let at = place; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
  if (place) place.scrollIntoView();
}
addEventListener("hashchange", unfold);
if (location.hash) unfold();

// Dark or light, first as the system has it.
const system = matchMedia("(prefers-color-scheme: dark)");
const toggle = document.querySelector(".theme");
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
const label = () => (toggle.textContent = isDark() ? "light" : "dark");
toggle.addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  label();
});
system.addEventListener("change", label);
label();
