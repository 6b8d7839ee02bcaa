"use strict";
// One test image at a time, with a slider that fades from the image to the overlay, and a sortable table. Without this
// script the report shows all layers side by side and the table as it is.

const LAYERS = ["image", "ground truth", "probability", "overlay"];
const find = (selector, within = document) => within.querySelector(selector);
const every = (selector, within = document) => [...within.querySelectorAll(selector)];
const examples = every(".example");
const slider = find("#layer");
const chooser = find("#image");

function fade() {
  const position = Number(slider.value);
  const example = examples[chooser.value];
  every(".layer", example).forEach((layer, index) => {
    layer.style.opacity = Math.min(Math.max(position - index + 1, 0), 1);
  });
  const [below, above] = [LAYERS[Math.floor(position)], LAYERS[Math.ceil(position)]];
  slider.setAttribute("aria-valuetext", below === above ? below : `between ${below} and ${above}`);
  every(".layer-buttons button").forEach((choice) => choice.setAttribute("aria-pressed", Number(choice.value) === position));
}

function choose(index) {
  chooser.value = index;
  examples.forEach((example, other) => example.classList.toggle("selected", other === index));
  const background = find(".background", examples[index]);
  if (!background.hasAttribute("src")) background.src = find(".image", examples[index]).src;
  every("#per-image tbody button").forEach((button) => {
    const row = button.closest("tr");
    if (Number(button.value) === index) row.setAttribute("aria-current", "true");
    else row.removeAttribute("aria-current");
  });
  find("#previous").disabled = index === 0;
  find("#next").disabled = index === examples.length - 1;
  fade();
}

function enlarge(factor) {
  const viewer = find(".viewer");
  viewer.style.setProperty("--zoom", factor);
  viewer.classList.toggle("enlarged", factor > 1);
  const box = find(".selected .viewport");
  box.scrollTo((box.scrollWidth - box.clientWidth) / 2, (box.scrollHeight - box.clientHeight) / 2);
}

function drag(box) {
  box.addEventListener("pointerdown", (start) => {
    if (start.pointerType !== "mouse" || box.scrollWidth === box.clientWidth) return;
    start.preventDefault();
    const [left, top] = [box.scrollLeft, box.scrollTop];
    const move = (event) => box.scrollTo(left + start.clientX - event.clientX, top + start.clientY - event.clientY);
    box.setPointerCapture(start.pointerId);
    box.addEventListener("pointermove", move);
    box.addEventListener("pointerup", () => box.removeEventListener("pointermove", move), { once: true });
  });
}

function sort(table, heading) {
  const column = heading.cellIndex;
  const descending = heading.getAttribute("aria-sort") === "ascending";
  const text = (row) => row.cells[column].textContent.trim();
  const compare = (one, other) => {
    const values = [text(one), text(other)];
    const isUndefined = values.map((value) => value === "-");
    if (isUndefined[0] || isUndefined[1]) return isUndefined[0] - isUndefined[1]; // always last
    return (descending ? -1 : 1) * values[0].localeCompare(values[1], "en", { numeric: true });
  };
  every("th", table.tHead).forEach((other) => other.removeAttribute("aria-sort"));
  heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
  table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
}

function button(cell, action) {
  const element = document.createElement("button");
  element.type = "button";
  element.append(...cell.childNodes);
  element.addEventListener("click", action);
  cell.append(element);
  return element;
}

const table = find("#per-image");
every("th", table.tHead).forEach((heading) => button(heading, () => sort(table, heading)));
every("th[data-shown]", table).forEach((cell, index) => {
  button(cell, () => choose(index)).value = index;
});
if (examples.length) {
  document.documentElement.classList.add("scripted");
  every(".controls").forEach((part) => part.removeAttribute("hidden"));
  slider.addEventListener("input", fade);
  every(".layer-buttons button").forEach((choice) => choice.addEventListener("click", () => { slider.value = choice.value; fade(); }));
  chooser.addEventListener("change", () => choose(Number(chooser.value)));
  find("#previous").addEventListener("click", () => choose(Number(chooser.value) - 1));
  find("#next").addEventListener("click", () => choose(Number(chooser.value) + 1));
  find("#zoom").addEventListener("change", (event) => enlarge(Number(event.target.value)));
  every(".viewport").forEach(drag);
  choose(0);
}
