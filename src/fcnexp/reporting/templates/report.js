"use strict";
const byId = (id) => document.getElementById(id);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const data = JSON.parse(byId("data").textContent);

// Light or dark: follows the system until the button is pressed.
const dark = matchMedia("(prefers-color-scheme: dark)");
function setTheme(isDark) {
  document.documentElement.dataset.theme = isDark ? "dark" : "light";
  byId("theme").textContent = isDark ? "Light" : "Dark";
  byId("theme").setAttribute("aria-pressed", String(isDark));
}
setTheme(dark.matches);
dark.addEventListener("change", () => setTheme(dark.matches));
byId("theme").addEventListener("click", () => setTheme(document.documentElement.dataset.theme !== "dark"));

// Tables: each tbody holds one row and its seeds. Missing values sort last.
function sortBy(table, header, column) {
  const up = header.getAttribute("aria-sort") !== "ascending";
  const number = header.classList.contains("number");
  const key = (body) => {
    const cell = body.rows[0].cells[column];
    return number ? parseFloat(cell.dataset.value) : cell.textContent.trim();
  };
  all("th[aria-sort]", table).forEach((other) => other.removeAttribute("aria-sort"));
  header.setAttribute("aria-sort", up ? "ascending" : "descending");
  const sign = up ? 1 : -1;
  const order = (a, b) => {
    const [x, y] = [key(a), key(b)];
    if (!number) return sign * x.localeCompare(y, undefined, { numeric: true });
    if (isNaN(x) || isNaN(y)) return isNaN(x) - isNaN(y);
    return sign * (x - y);
  };
  table.append(...[...table.tBodies].sort(order));
}
all("table.sortable").forEach((table) => {
  all("thead th", table).forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => sortBy(table, header, column));
  });
});
all("button.expand").forEach((button) => button.addEventListener("click", () => {
  const open = button.getAttribute("aria-expanded") !== "true";
  button.setAttribute("aria-expanded", String(open));
  all("tr.seed", button.closest("tbody")).forEach((row) => { row.hidden = !open; });
}));

// A table that is wider than the page says so, and fades at its right edge until its end is reached.
const tables = all(".scroll");
function hint(box) {
  box.classList.toggle("wide", box.scrollWidth > box.clientWidth + 1);
  box.classList.toggle("right", box.scrollLeft + box.clientWidth < box.scrollWidth - 1);
}
const widths = new ResizeObserver(() => tables.forEach(hint));
tables.forEach((box) => {
  widths.observe(box);
  [...box.children].forEach((table) => widths.observe(table));
  box.addEventListener("scroll", () => hint(box), { passive: true });
});

// Bars: show one score. Curves: toggle rows.
byId("bar-score")?.addEventListener("change", (event) => {
  all(".barchart").forEach((chart) => { chart.hidden = chart.dataset.score !== event.target.value; });
});
all(".toggle").forEach((button) => button.addEventListener("click", () => {
  const shown = button.getAttribute("aria-pressed") !== "true";
  button.setAttribute("aria-pressed", String(shown));
  all(`g.line[data-row="${button.dataset.row}"]`).forEach((line) => { line.style.display = shown ? "" : "none"; });
}));

// Confusion matrix, each row normalised by its ground-truth pixels.
function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  made.textContent = text;
  Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
  return made;
}
function drawConfusion(number) {
  const { names, counts } = data.confusions[number];
  const table = byId("confusion-table");
  const head = document.createElement("tr");
  head.append(element("td", ""), ...names.map((name) => element("th", name, { scope: "col" })));
  const lines = counts.map((line, truth) => {
    const total = line.reduce((sum, count) => sum + count, 0);
    const row = document.createElement("tr");
    row.append(element("th", names[truth], { scope: "row" }));
    line.forEach((count, guess) => {
      const percent = total ? 100 * count / total : 0;
      const text = `ground truth ${names[truth]}, prediction ${names[guess]}: ${percent.toFixed(1)} %, ${count.toLocaleString("en")} pixels`;
      const cell = element("td", percent >= 0.5 ? percent.toFixed(0) : "", { title: text, tabindex: truth + guess ? -1 : 0 });
      cell.style.background = `color-mix(in srgb, var(--heat) ${percent.toFixed(0)}%, transparent)`;
      if (percent > 55) cell.style.color = "#fff";
      ["mouseenter", "focus"].forEach((kind) => cell.addEventListener(kind, () => { byId("confusion-cell").textContent = text; }));
      row.append(cell);
    });
    return row;
  });
  const body = document.createElement("tbody");
  body.append(...lines);
  const top = document.createElement("thead");
  top.append(head);
  table.replaceChildren(top, body);
}
const confusionRow = byId("confusion-row");
if (confusionRow) {
  confusionRow.addEventListener("change", () => drawConfusion(confusionRow.value));
  drawConfusion(confusionRow.value);
  byId("confusion-table").addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!step || event.target.tagName !== "TD") return;
    event.preventDefault();
    const row = event.target.parentElement.parentElement.rows[event.target.parentElement.sectionRowIndex + step[0]];
    const next = row?.cells[event.target.cellIndex + step[1]];
    if (next?.tagName !== "TD") return;
    event.target.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
}

// Comparison of two pictures with a slider.
const compare = byId("compare");
if (compare) {
  const stage = byId("stage"), split = byId("split"), left = byId("left"), right = byId("right"), over = byId("over");
  const panels = all("#grid tbody tr");
  let shown = 0;
  const picture = (of) => panels[shown].querySelector(`img[data-of="${of}"]`)?.src;
  const fill = (img, source) => { img.hidden = !source; if (source) img.src = source; };
  function side(box, tag, chosen) {
    const isImage = chosen.value === "image";
    const mask = isImage ? "" : picture(chosen.value);
    const [photo, label] = all("img", box);
    fill(photo, isImage || over.checked ? picture("image") : "");
    fill(label, mask);
    label.style.opacity = over.checked ? 0.65 : 1;
    tag.textContent = chosen.selectedOptions[0].textContent + (isImage || mask ? "" : ": no picture");
  }
  function draw() {
    const { name, width, height } = panels[shown].dataset;
    stage.style.aspectRatio = `${width} / ${height}`;
    stage.style.setProperty("--split", `${split.value}%`);
    const [first, second] = all(".side", stage);
    side(first, stage.querySelector(".tag.left"), left);
    side(second, stage.querySelector(".tag.right"), right);
    byId("which").textContent = `${name} (${shown + 1} of ${panels.length})`;
  }
  const turn = (by) => { shown = (shown + by + panels.length) % panels.length; draw(); };
  const swap = () => { [left.value, right.value] = [right.value, left.value]; draw(); };
  left.value = "truth";
  right.value = String(data.rows.length - 1);
  [left, right, over].forEach((input) => input.addEventListener("change", draw));
  split.addEventListener("input", draw);
  byId("next").addEventListener("click", () => turn(1));
  byId("previous").addEventListener("click", () => turn(-1));
  byId("swap").addEventListener("click", swap);
  compare.addEventListener("keydown", (event) => {
    if (event.target.tagName === "SELECT" || event.ctrlKey || event.metaKey || event.altKey) return;
    const action = { n: () => turn(1), p: () => turn(-1), x: swap, o: () => over.click() }[event.key];
    if (action) { event.preventDefault(); action(); }
  });
  const drag = (event) => {
    if (event.type === "pointermove" && !(event.buttons & 1)) return;
    const box = stage.getBoundingClientRect();
    split.value = Math.round(100 * (event.clientX - box.left) / box.width);
    draw();
  };
  stage.addEventListener("pointerdown", (event) => { stage.setPointerCapture(event.pointerId); drag(event); });
  stage.addEventListener("pointermove", drag);
  panels.forEach((panel, number) => all(".pick", panel).forEach((button) => button.addEventListener("click", () => {
    shown = number;
    left.value = "truth";
    right.value = button.dataset.image;
    draw();
    compare.scrollIntoView({ block: "nearest" });
    split.focus({ preventScroll: true });
  })));
  draw();
}
