// Objects by size: one share of one class, or of all.
const objects = data.objects;
if (objects) {
  const share = byId("object-share"), ofClass = byId("object-class");
  const part = { found: ["found", "pixels"], missed: ["missed", "objects"], well: ["well", "objects"] };
  const kept = (index) => (ofClass.value === "" ? objects.classes[index] !== objects.background : index === Number(ofClass.value));
  const sum = (counts, size) => counts.reduce((total, line, index) => total + (kept(index) ? line[size] : 0), 0);
  const drawObjects = () => {
    const places = objects.rows.map((row, at) => at).filter((at) => objects.rows[at]);
    const head = document.createElement("tr");
    head.append(element("th", "size (px)", { scope: "col" }), element("th", "objects", { scope: "col", class: "number" }));
    head.append(...places.map((at) => element("th", data.rows[at], { scope: "col", class: "number" })));
    const lines = objects.sizes.map((name, size) => {
      const line = document.createElement("tr");
      const first = objects.rows[places[0]];
      line.append(element("th", name, { scope: "row" }));
      line.append(element("td", String(sum(first.objects, size) / objects.seeds[places[0]]), { class: "number" }));
      places.forEach((at) => {
        const [top, bottom] = part[share.value].map((key) => sum(objects.rows[at][key], size));
        line.append(element("td", bottom ? (100 * top / bottom).toFixed(1) : "-", { class: "number" }));
      });
      return line;
    });
    const top = document.createElement("thead"), body = document.createElement("tbody");
    top.append(head);
    body.append(...lines);
    byId("object-table").replaceChildren(top, body);
  };
  [share, ofClass].forEach((input) => input.addEventListener("change", drawObjects));
  drawObjects();
}

// Images: scatter of two rows, and a list with pictures.
const images = data.images;
if (images) {
  const from = byId("image-from"), to = byId("image-to"), list = byId("image-list"), table = byId("image-table");
  const shown = 8;
  const percent = (value) => (100 * value).toFixed(1);
  const pairs = () => images.names.map((name, at) => [name, images.scores[from.value][at], images.scores[to.value][at]])
    .filter(([, a, b]) => a !== null && b !== null);
  function picture(layers, text) {
    const cell = document.createElement("td");
    if (!layers.every(Boolean)) return cell;
    const stack = element("span", "", { class: "stack" });
    layers.forEach((source, depth) => stack.append(element("img", "", { src: source, alt: depth ? "" : text, class: depth ? "label" : "photo" })));
    cell.append(stack);
    return cell;
  }
  function line([name, a, b]) {
    const body = document.createElement("tbody"), row = document.createElement("tr");
    row.append(element("th", name, { scope: "row" }));
    [[percent(a), a], [percent(b), b], [(b < a ? "" : "+") + percent(b - a), b - a]]
      .forEach(([text, value]) => row.append(element("td", text, { class: "number", "data-value": value })));
    const has = images.pictures[name];
    if (has) {
      const ends = [has.rows[from.value] ?? [], has.rows[to.value] ?? []];
      row.append(picture([has.image], name), picture([has.truth], `${name}, ground truth`));
      ends.forEach(([guess, errors], end) => row.append(picture([guess], `${name}, ${end ? "to" : "from"}`), picture([guess && has.image, errors], `${name}, errors`)));
    } else {
      row.append(element("td", "no picture", { colspan: 6 }));
    }
    body.append(row);
    return body;
  }
  function drawImages() {
    const known = pairs();
    const order = { worst: (p) => p[2], change: (p) => -Math.abs(p[2] - p[1]), all: () => 0 }[list.value];
    const chosen = [...known].sort((p, q) => order(p) - order(q)).slice(0, list.value === "all" ? known.length : shown);
    all("[data-end]", document).forEach((title) => { title.textContent = (title.dataset.end === "to" ? to : from).selectedOptions[0].textContent; });
    [...table.tBodies].forEach((body) => body.remove());
    all("th[aria-sort]", table).forEach((header) => header.removeAttribute("aria-sort"));
    table.append(...chosen.map(line));
    const svg = byId("scatter");
    const make = (name, attributes) => {
      const made = document.createElementNS(svg.namespaceURI, name);
      Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
      return made;
    };
    const points = known.map(([name, a, b]) => {
      const point = make("path", { class: "point", d: `M${(1000 * a).toFixed(0)} ${(1000 - 1000 * b).toFixed(0)}h0` });
      const title = make("title", {});
      title.textContent = `${name}: ${percent(a)} to ${percent(b)}`;
      point.append(title);
      point.addEventListener("pointerenter", () => { byId("image-point").textContent = title.textContent; });
      return point;
    });
    svg.replaceChildren(make("path", { class: "diagonal", d: "M0 1000L1000 0" }), ...points);
  }
  from.value = from.options[0].value;
  to.value = to.options[to.options.length - 1].value;
  [from, to, list].forEach((input) => input.addEventListener("change", drawImages));
  drawImages();
}
