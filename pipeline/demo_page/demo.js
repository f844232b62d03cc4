// Draw on the canvas, send it as PNG, show the answer. Answers that come late, after newer ones, are dropped;
// the result is aria-busy until the answer is that of what is on the paper now.
const $ = (id) => document.getElementById(id);
const paper = $("paper");
const pen = paper.getContext("2d");
let drawing = false, last = null, asked = 0, shown = 0, waiting = null, classes = [], ink = ["#000", "#fff"];
const MOST_COLUMNS = 12; // of more classes, the most probable are shown

function clearPaper() {
  pen.fillStyle = ink[0];
  pen.fillRect(0, 0, paper.width, paper.height);
  pen.strokeStyle = ink[1];
  pen.lineWidth = 22;
  pen.lineCap = pen.lineJoin = "round";
}

function busy(yes) {
  $("result").setAttribute("aria-busy", String(yes));
}

function reset() {
  clearPaper();
  clearTimeout(waiting);
  waiting = null;
  shown = ++asked;
  busy(false);
  $("digit").textContent = "–";
  $("sure").textContent = "nothing drawn yet";
  $("problem").hidden = true;
  $("rows").replaceChildren();
  $("maps").replaceChildren();
  $("seen").getContext("2d").clearRect(0, 0, $("seen").width, $("seen").height);
}

function place(event) {
  const box = paper.getBoundingClientRect();
  return [(event.clientX - box.left) * paper.width / box.width, (event.clientY - box.top) * paper.height / box.height];
}

function strokeTo(point) {
  pen.beginPath();
  pen.moveTo(...last);
  pen.lineTo(...point);
  pen.stroke();
  last = point;
}

paper.addEventListener("pointerdown", (event) => {
  paper.setPointerCapture(event.pointerId);
  drawing = true;
  busy(true);
  last = place(event);
  strokeTo(last);
});
paper.addEventListener("pointermove", (event) => {
  if (!drawing) return;
  const parts = event.getCoalescedEvents?.() ?? []; // points between two frames, where the browser tells them
  for (const part of parts.length ? parts : [event]) strokeTo(place(part));
  askSoon(250);
});
for (const name of ["pointerup", "pointercancel"]) paper.addEventListener(name, () => { if (drawing) { drawing = false; askSoon(0); } });

function askSoon(delay) {
  if (delay === 0) { clearTimeout(waiting); waiting = null; }
  if (waiting !== null) return;
  waiting = setTimeout(() => {
    waiting = null;
    const turn = ++asked; // before the picture is encoded: an answer that comes meanwhile is an older one's
    paper.toBlob((content) => ask(content, turn), "image/png");
  }, delay);
}

async function ask(content, turn) {
  let answer, ok = false;
  try {
    const response = await fetch("predict", { method: "POST", body: content });
    ok = response.ok;
    answer = await response.json();
  } catch {
    answer = { error: "the server does not answer; is it still running?" };
  }
  if (turn < shown) return;
  shown = turn;
  if (turn === asked && !drawing && waiting === null) busy(false);
  $("problem").hidden = ok;
  if (ok) show(answer); else $("problem").textContent = answer.error;
}

function show(answer) {
  const top = answer.ensemble[answer.prediction];
  $("digit").textContent = answer.empty ? "–" : classes[answer.prediction];
  $("sure").textContent = answer.empty ? "nothing drawn yet" : `${(100 * top).toFixed(1)} % sure`;
  const rows = [["ensemble", answer.ensemble]];
  if (answer.members.length > 1) rows.push(...answer.members.map((m) => [m.name, m.probabilities]));
  const columns = shownClasses(answer.ensemble);
  heads(columns);
  $("rows").replaceChildren(...rows.map(([name, values]) => {
    const row = document.createElement("tr"), head = document.createElement("th");
    head.scope = "row";
    head.textContent = name;
    row.append(head, ...columns.map((k) => values[k]).map((value) => {
      const cell = document.createElement("td");
      cell.textContent = (100 * value).toFixed(value > 0.0995 ? 0 : 1);
      cell.style.background = `rgb(var(--tint) / ${(0.75 * value).toFixed(3)})`;
      return cell;
    }));
    return row;
  }));
  paint($("seen"), answer.seen);
  $("maps").replaceChildren(...answer.maps.map((map) => paint(document.createElement("canvas"), map)));
}

function shownClasses(chances) {
  const all = classes.map((_, k) => k);
  if (all.length <= MOST_COLUMNS) return all;
  return all.sort((a, b) => chances[b] - chances[a]).slice(0, MOST_COLUMNS);
}

function heads(columns) {
  const row = document.createElement("tr");
  row.append(document.createElement("td"), ...columns.map((k) => {
    const head = document.createElement("th");
    head.scope = "col";
    head.textContent = classes[k].length > 14 ? `${classes[k].slice(0, 13)}…` : classes[k];
    head.title = classes[k];
    return head;
  }));
  $("heads").replaceChildren(row);
}

function paint(canvas, rows) {
  [canvas.width, canvas.height] = [rows[0].length, rows.length];
  const pixels = new ImageData(canvas.width, canvas.height);
  rows.flat().forEach((value, index) => pixels.data.set([value, value, value, 255], 4 * index));
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas;
}

async function take(file) {
  if (!file) return;
  reset();
  const turn = ++asked;
  busy(true);
  try {
    const picture = await createImageBitmap(file);
    const scale = Math.min(paper.width / picture.width, paper.height / picture.height);
    const [w, h] = [picture.width * scale, picture.height * scale];
    pen.drawImage(picture, (paper.width - w) / 2, (paper.height - h) / 2, w, h);
  } catch { /* what the browser cannot show, the server judges */ }
  ask(file, turn);
}

for (const name of ["dragenter", "dragover"]) paper.addEventListener(name, (event) => { event.preventDefault(); paper.classList.add("over"); });
for (const name of ["dragleave", "drop"]) paper.addEventListener(name, (event) => { event.preventDefault(); paper.classList.remove("over"); });
paper.addEventListener("drop", (event) => take(event.dataTransfer.files[0]));
$("file").addEventListener("change", (event) => { take(event.target.files[0]); event.target.value = ""; });
$("clear").addEventListener("click", reset);

fetch("about.json").then((response) => response.json()).then((model) => {
  classes = model.classes;
  const count = model.members.length;
  $("about").textContent = `Study ${model.study}, ${count} ${count === 1 ? "net" : `members joined by ${model.method}`}, trained on ${model.data}, ${model.image.slice(1).join("×")} pixels.`;
  if (model.dark_on_light) ink = ["#fff", "#000"];
  clearPaper();
  heads(shownClasses(classes.map((_, k) => -k)));
});
clearPaper();
