"use strict";
// Sends a photograph to this machine's own server and draws the answer; opacity and threshold are applied here.

const VESSEL = [0, 229, 255]; // red, green, blue: unlike anything in a fundus
const find = (selector) => document.querySelector(selector);
const ofModel = Number(document.body.dataset.threshold);
const largest = Number(document.body.dataset.largest);
const layer = document.createElement("canvas"); // what lies over the photograph, opaque
let shown = null; // name, photograph, levels (Uint16Array, 65535 is 1), doubt (Uint8Array, 255 is 1), answer of the server
let last = 0; // number of the latest request: answers to earlier ones are dropped

function say(sentence) {
  find("#error").textContent = sentence;
  find("#error").hidden = !sentence;
}

async function picture(uri) {
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
  const [levels, doubt] = [new Uint16Array(data.length / 4), new Uint8Array(data.length / 4)];
  for (let i = 0; i < levels.length; i++) {
    levels[i] = 256 * data[4 * i] + data[4 * i + 1];
    doubt[i] = data[4 * i + 2];
  }
  return { levels, doubt };
}

async function open(file) {
  say("");
  if (file.size > largest) {
    say(`${file.name}: expected a file of at most ${largest / 2 ** 20} MiB, got one of ${Math.ceil(file.size / 2 ** 20)}`);
    return;
  }
  const number = ++last;
  let said = "";
  find("#status").textContent = `${file.name} is being mapped …`;
  try {
    const headers = { "Content-Type": "application/octet-stream", "X-Name": encodeURIComponent(file.name) };
    const response = await fetch("/map", { method: "POST", body: file, headers });
    const answer = await response.json();
    if (number !== last) return;
    if (!response.ok) throw new Error(answer.error);
    const [photograph, levels] = await Promise.all([picture(answer.photograph), picture(answer.levels)]);
    if (number !== last) return;
    show({ name: file.name, photograph, answer, ...readMaps(levels) });
    said = `${file.name} is mapped.`;
  } catch (error) {
    if (number === last) say(error instanceof TypeError ? `${file.name}: no answer from the server; does it still run?` : error.message);
  } finally {
    if (number === last) find("#status").textContent = said;
  }
}

function show(mapped) {
  shown = mapped;
  const { name, answer } = shown;
  for (const canvas of [find("#view"), layer]) [canvas.width, canvas.height] = [answer.width, answer.height];
  find("#name").textContent = name;
  find("#size").textContent = `${answer.width} × ${answer.height}`;
  find("#share").textContent = percent(answer.fov / (answer.width * answer.height));
  find("#seconds").textContent = answer.seconds.toFixed(2);
  find("#result").hidden = false;
  find("#drop").classList.add("used");
  drawLayer();
}

const percent = (share) => `${(100 * share).toFixed(2)} %`;
const kind = () => find('[name="kind"]:checked').value;
const threshold = () => Number(find("#threshold").value);
const firstLevel = () => Math.floor(threshold() * 65535) + 1; // a vessel lies above the threshold, not at it

function drawLayer() {
  const { levels, doubt, answer } = shown;
  const context = layer.getContext("2d");
  const pixels = context.createImageData(answer.width, answer.height);
  const whole = new Uint32Array(pixels.data.buffer);
  const colour = new Uint32Array(new Uint8Array([...VESSEL, 255]).buffer)[0];
  const first = firstLevel();
  const [vessels, doubts] = [kind() === "vessels", kind() === "doubt"];
  let count = 0;
  for (let i = 0; i < levels.length; i++) {
    const vessel = levels[i] >= first;
    count += vessel;
    if (!vessels) whole[i] = 0xff000000 | ((doubts ? doubt[i] : levels[i] >> 8) * 0x010101);
    else if (vessel) whole[i] = colour;
  }
  context.putImageData(pixels, 0, 0);
  find("#view").setAttribute("aria-label", `photograph with its ${kind()}`);
  find("#density").textContent = percent(count / answer.fov);
  find("#threshold-said").textContent = threshold().toFixed(3);
  find("#threshold").setAttribute("aria-valuetext", threshold().toFixed(3));
  draw();
}

function draw() {
  const opacity = Number(find("#opacity").value);
  const context = find("#view").getContext("2d");
  context.globalAlpha = 1;
  context.drawImage(shown.photograph, 0, 0);
  context.globalAlpha = opacity;
  context.drawImage(layer, 0, 0);
  find("#opacity-said").textContent = `${Math.round(100 * opacity)} %`;
}

function vesselMap() {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [layer.width, layer.height];
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(canvas.width, canvas.height);
  const first = firstLevel();
  new Uint32Array(pixels.data.buffer).forEach((_, i, whole) => { whole[i] = shown.levels[i] >= first ? 0xffffffff : 0xff000000; });
  context.putImageData(pixels, 0, 0);
  return canvas;
}

function save(content, what) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = `${shown.name.replace(/\.[^.]*$/, "")}_${what}.png`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function bytes(uri) {
  return Uint8Array.from(atob(uri.slice(uri.indexOf(",") + 1)), (letter) => letter.charCodeAt(0));
}

let waiting = 0; // one drawing a frame, however fast the slider moves
function soon(action) {
  cancelAnimationFrame(waiting);
  waiting = requestAnimationFrame(action);
}

find("#file").addEventListener("change", (event) => {
  if (event.target.files.length) open(event.target.files[0]);
  event.target.value = ""; // the same file again is a change, too
});
document.addEventListener("dragover", (event) => { event.preventDefault(); find("#drop").classList.add("over-it"); });
document.addEventListener("dragleave", () => find("#drop").classList.remove("over-it"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  find("#drop").classList.remove("over-it");
  if (event.dataTransfer.files.length) open(event.dataTransfer.files[0]);
});
find("#opacity").addEventListener("input", () => soon(draw));
find("#threshold").addEventListener("input", () => soon(drawLayer));
document.querySelectorAll('[name="kind"]').forEach((choice) => choice.addEventListener("change", drawLayer));
find("#reset").addEventListener("click", () => { find("#threshold").value = ofModel; drawLayer(); });
find("#save-probability").addEventListener("click", () => save(new Blob([bytes(shown.answer.probability)], { type: "image/png" }), "probability"));
find("#save-vessels").addEventListener("click", () => vesselMap().toBlob((content) => save(content, "vessels")));
find("#save-view").addEventListener("click", () => find("#view").toBlob((content) => save(content, "overlay")));
