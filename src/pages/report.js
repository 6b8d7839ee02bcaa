"use strict";
// One test image at a time, faded by a slider from photograph to overlay; a table that sorts. Without this script
// the page shows all pictures side by side and the table as it is.

const NAMES = ["photograph", "truth", "probability", "overlay"];
const find = (selector, within = document) => within.querySelector(selector);
const every = (selector, within = document) => [...within.querySelectorAll(selector)];
const eyes = every(".eye");
const slider = find("#layer");
const chooser = find("#image");

function fade() {
  const place = Number(slider.value);
  const eye = eyes[chooser.value];
  every(".layer", eye).forEach((layer, index) => {
    layer.style.opacity = Math.min(Math.max(place - index + 1, 0), 1);
  });
  const [below, above] = [NAMES[Math.floor(place)], NAMES[Math.ceil(place)]];
  slider.setAttribute("aria-valuetext", below === above ? below : `between ${below} and ${above}`);
  every(".stops button").forEach((stop) => stop.setAttribute("aria-pressed", Number(stop.value) === place));
}

function choose(index) {
  chooser.value = index;
  eyes.forEach((eye, other) => eye.classList.toggle("seen", other === index));
  const pale = find(".pale", eyes[index]);
  if (!pale.hasAttribute("src")) pale.src = find(".photograph", eyes[index]).src;
  every("#per-image tbody button").forEach((button) => {
    const row = button.closest("tr");
    if (Number(button.value) === index) row.setAttribute("aria-current", "true");
    else row.removeAttribute("aria-current");
  });
  find("#previous").disabled = index === 0;
  find("#next").disabled = index === eyes.length - 1;
  fade();
}

function enlarge(factor) {
  const viewer = find(".viewer");
  viewer.style.setProperty("--zoom", factor);
  viewer.classList.toggle("near", factor > 1);
  const box = find(".seen .window");
  box.scrollTo((box.scrollWidth - box.clientWidth) / 2, (box.scrollHeight - box.clientHeight) / 2);
}

function drag(box) {
  box.addEventListener("pointerdown", (start) => {
    if (start.pointerType !== "mouse" || box.scrollWidth === box.clientWidth) return;
    start.preventDefault();
    const [left, top] = [box.scrollLeft, box.scrollTop];
    const move = (now) => box.scrollTo(left + start.clientX - now.clientX, top + start.clientY - now.clientY);
    box.setPointerCapture(start.pointerId);
    box.addEventListener("pointermove", move);
    box.addEventListener("pointerup", () => box.removeEventListener("pointermove", move), { once: true });
  });
}

function sort(table, heading) {
  const column = heading.cellIndex;
  const down = heading.getAttribute("aria-sort") === "ascending";
  const text = (row) => row.cells[column].textContent.trim();
  const compare = (one, other) => {
    const values = [text(one), text(other)];
    const undefinedOnes = values.map((value) => value === "-");
    if (undefinedOnes[0] || undefinedOnes[1]) return undefinedOnes[0] - undefinedOnes[1]; // always last
    return (down ? -1 : 1) * values[0].localeCompare(values[1], "en", { numeric: true });
  };
  every("th", table.tHead).forEach((other) => other.removeAttribute("aria-sort"));
  heading.setAttribute("aria-sort", down ? "descending" : "ascending");
  table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
}

function button(cell, action) {
  const made = document.createElement("button");
  made.type = "button";
  made.append(...cell.childNodes);
  made.addEventListener("click", action);
  cell.append(made);
  return made;
}

const table = find("#per-image");
every("th", table.tHead).forEach((heading) => button(heading, () => sort(table, heading)));
every("th[data-shown]", table).forEach((cell, index) => {
  button(cell, () => choose(index)).value = index;
});
if (eyes.length) {
  document.documentElement.classList.add("alive");
  every(".controls").forEach((part) => part.removeAttribute("hidden"));
  slider.addEventListener("input", fade);
  every(".stops button").forEach((stop) => stop.addEventListener("click", () => { slider.value = stop.value; fade(); }));
  chooser.addEventListener("change", () => choose(Number(chooser.value)));
  find("#previous").addEventListener("click", () => choose(Number(chooser.value) - 1));
  find("#next").addEventListener("click", () => choose(Number(chooser.value) + 1));
  find("#zoom").addEventListener("change", (event) => enlarge(Number(event.target.value)));
  every(".window").forEach(drag);
  choose(0);
}
