"use strict";
// Uploads an image to the server on this machine and draws its prediction; opacity and threshold are applied here.

const VESSEL_COLOUR = [0, 229, 255]; // red, green, blue: a colour that no fundus has
const find = (selector) => document.querySelector(selector);
const modelThreshold = Number(document.body.dataset.threshold);
const maxFileBytes = Number(document.body.dataset.maxFileBytes);
const layer = document.createElement("canvas"); // the map that is drawn over the image, opaque
let shown = null; // name, image, levels (Uint16Array, 65535 is 1), uncertainty (Uint8Array, 255 is 1), result of the server
let latest = 0; // number of the latest request: results of earlier ones are dropped

function showError(message) {
  find("#error").textContent = message;
  find("#error").hidden = !message;
}

async function decode(uri) {
  const image = new Image();
  image.src = uri;
  await image.decode();
  return image;
}

function readMaps(image) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  const [levels, uncertainty] = [new Uint16Array(data.length / 4), new Uint8Array(data.length / 4)];
  for (let i = 0; i < levels.length; i++) {
    levels[i] = 256 * data[4 * i] + data[4 * i + 1];
    uncertainty[i] = data[4 * i + 2];
  }
  return { levels, uncertainty };
}

async function open(file) {
  showError("");
  if (file.size > maxFileBytes) {
    const [most, size] = [maxFileBytes / 2 ** 20, Math.ceil(file.size / 2 ** 20)];
    showError(`${file.name}: expected a file of at most ${most} MiB, got one of ${size}`);
    return;
  }
  const number = ++latest;
  let status = "";
  find("#status").textContent = `Segmenting ${file.name} …`;
  try {
    const headers = { "Content-Type": "application/octet-stream", "X-Filename": encodeURIComponent(file.name) };
    const response = await fetch("/segment", { method: "POST", body: file, headers });
    const result = await response.json();
    if (number !== latest) return;
    if (!response.ok) throw new Error(result.error);
    const [image, maps] = await Promise.all([decode(result.image), decode(result.maps)]);
    if (number !== latest) return;
    show({ name: file.name, image, result, ...readMaps(maps) });
    status = `${file.name} is segmented.`;
  } catch (error) {
    if (number === latest) showError(error instanceof TypeError ? `${file.name}: no response from the server; is it still running?` : error.message);
  } finally {
    if (number === latest) find("#status").textContent = status;
  }
}

function show(segmented) {
  shown = segmented;
  const { name, result } = shown;
  for (const canvas of [find("#view"), layer]) [canvas.width, canvas.height] = [result.width, result.height];
  find("#name").textContent = name;
  find("#size").textContent = `${result.width} × ${result.height}`;
  find("#fov-fraction").textContent = percent(result.fov_pixels / (result.width * result.height));
  find("#seconds").textContent = result.seconds.toFixed(2);
  showFlags(result.flags);
  find("#result").hidden = false;
  find("#drop").classList.add("used");
  drawLayer();
}

function showFlags(flags) {
  const items = Object.entries(flags).map(([flag, meaning]) => {
    const [item, name] = [document.createElement("li"), document.createElement("code")];
    name.textContent = flag;
    item.append(name, `: ${meaning}`);
    return item;
  });
  find("#flag-list").replaceChildren(...items);
  find("#flags").hidden = !items.length;
}

const percent = (fraction) => `${(100 * fraction).toFixed(2)} %`;
const chosenLayer = () => find('[name="layer"]:checked').value;
const threshold = () => Number(find("#threshold").value);
const lowestVesselLevel = () => Math.floor(threshold() * 65535) + 1; // vessels are above the threshold, not at it

function drawLayer() {
  const { levels, uncertainty, result } = shown;
  const context = layer.getContext("2d");
  const pixels = context.createImageData(result.width, result.height);
  const packed = new Uint32Array(pixels.data.buffer);
  const colour = new Uint32Array(new Uint8Array([...VESSEL_COLOUR, 255]).buffer)[0];
  const lowest = lowestVesselLevel();
  const [showsVessels, showsUncertainty] = [chosenLayer() === "vessels", chosenLayer() === "uncertainty"];
  let count = 0;
  for (let i = 0; i < levels.length; i++) {
    const vessel = levels[i] >= lowest;
    count += vessel;
    if (!showsVessels) packed[i] = 0xff000000 | ((showsUncertainty ? uncertainty[i] : levels[i] >> 8) * 0x010101);
    else if (vessel) packed[i] = colour;
  }
  context.putImageData(pixels, 0, 0);
  find("#view").setAttribute("aria-label", `image with its ${chosenLayer()}`);
  find("#density").textContent = percent(count / result.fov_pixels);
  find("#threshold-value").textContent = threshold().toFixed(3);
  find("#threshold").setAttribute("aria-valuetext", threshold().toFixed(3));
  draw();
}

function draw() {
  const opacity = Number(find("#opacity").value);
  const context = find("#view").getContext("2d");
  context.globalAlpha = 1;
  context.drawImage(shown.image, 0, 0);
  context.globalAlpha = opacity;
  context.drawImage(layer, 0, 0);
  find("#opacity-value").textContent = `${Math.round(100 * opacity)} %`;
}

function vesselMap() {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [layer.width, layer.height];
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(canvas.width, canvas.height);
  const lowest = lowestVesselLevel();
  new Uint32Array(pixels.data.buffer).forEach((_, i, packed) => { packed[i] = shown.levels[i] >= lowest ? 0xffffffff : 0xff000000; });
  context.putImageData(pixels, 0, 0);
  return canvas;
}

function save(content, kind) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = `${shown.name.replace(/\.[^.]*$/, "")}_${kind}.png`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function bytes(uri) {
  return Uint8Array.from(atob(uri.slice(uri.indexOf(",") + 1)), (letter) => letter.charCodeAt(0));
}

let pending = 0; // one redraw a frame, however fast the slider moves
function nextFrame(action) {
  cancelAnimationFrame(pending);
  pending = requestAnimationFrame(action);
}

find("#file").addEventListener("change", (event) => {
  if (event.target.files.length) open(event.target.files[0]);
  event.target.value = ""; // choosing the same file again is a change, too
});
document.addEventListener("dragover", (event) => { event.preventDefault(); find("#drop").classList.add("over-it"); });
document.addEventListener("dragleave", () => find("#drop").classList.remove("over-it"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  find("#drop").classList.remove("over-it");
  if (event.dataTransfer.files.length) open(event.dataTransfer.files[0]);
});
find("#opacity").addEventListener("input", () => nextFrame(draw));
find("#threshold").addEventListener("input", () => nextFrame(drawLayer));
document.querySelectorAll('[name="layer"]').forEach((choice) => choice.addEventListener("change", drawLayer));
find("#reset").addEventListener("click", () => { find("#threshold").value = modelThreshold; drawLayer(); });
find("#save-probability").addEventListener("click", () => save(new Blob([bytes(shown.result.probability)], { type: "image/png" }), "probability"));
find("#save-vessels").addEventListener("click", () => vesselMap().toBlob((content) => save(content, "vessels")));
find("#save-view").addEventListener("click", () => find("#view").toBlob((content) => save(content, "overlay")));
