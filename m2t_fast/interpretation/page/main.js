// The page at work: its state, and what the mouse, fingers and keys do to it.
const element = (id) => document.getElementById(id);
const make = (tag, properties = {}) => Object.assign(document.createElement(tag), properties);
const HOLD = 0.7; // seconds at the end before the motion starts over

const data = JSON.parse(element("data").textContent);
const motions = data.motions.map((raw, number) => decodeMotion(raw, data.skeletons[raw.skeleton], number));
const state = {
  motion: motions[0],
  frame: 0,
  playing: false,
  speed: 1,
  picked: null, // the number of a word, or null: then the current word is shown
  near: null, // the word under the mouse or with the keyboard's focus
  threshold: 0.5,
  parts: data.parts,
  functionWords: new Set(data.functionWords), // the gate may be high at them, but nobody looks for them
  colours: {},
  theme: 0,
};
const buttons = () => [...element("words").children];
const stage = new Stage(element("view"), () => redraw());
const timeline = new Timeline(element("windows"));
let gallery = null;
let pending = 0;
let last = 0;
let held = 0;

function shownWord() {
  const number = state.near ?? state.picked ?? currentWord(state.motion, state.frame, state.threshold);
  return number === null ? null : state.motion.words[number];
}

/** Draws at the next frame of the screen, once however often it is asked. */
function redraw() {
  if (!pending) pending = requestAnimationFrame(tick);
}

function tick(time) {
  pending = 0;
  const { motion } = state;
  if (state.playing) {
    const passed = last ? Math.min(time - last, 100) / 1000 : 0;
    last = time;
    const end = motion.frames - 1;
    if (state.frame < end) state.frame = Math.min(end, state.frame + passed * motion.fps * state.speed);
    else if ((held += passed) > HOLD) [state.frame, held] = [0, 0];
    redraw();
  } else {
    last = 0;
  }
  const word = shownWord();
  stage.draw(motion, state.frame, word, state.colours);
  timeline.draw(motion, state.frame, word, state, state.colours);
  showTime();
  showDetail(word);
}

function showTime() {
  const { motion, frame } = state;
  const now = secondsAt(motion, frame).toFixed(2);
  const scrub = element("scrub");
  scrub.value = String(frame);
  scrub.setAttribute("aria-valuetext", `${now} seconds, frame ${Math.round(frame)}`);
  showSegment();
  element("clock").textContent = `${now} s / ${secondsAt(motion, motion.frames - 1).toFixed(2)} s`;
}

/** The panel beside the stage: the word, its gate, when, and the weights of the parts. */
function showDetail(word) {
  const number = word ? state.motion.words.indexOf(word) : -1;
  const panel = element("detail");
  panel.classList.toggle("empty", !word);
  buttons().forEach((button, place) => button.classList?.toggle("current", place === number));
  const told = `${state.motion.number} ${number}`;
  if (panel.dataset.told !== told) {
    panel.dataset.told = told;
    element("word").textContent = word ? word.text : "No word here";
    element("when").textContent = word ? describe(word) : "Pick a word of the caption.";
    const gate = word ? Math.round(100 * word.gate) : 0;
    element("balance").firstElementChild.style.width = `${gate}%`;
    element("balance").setAttribute("aria-label", `${gate} % from the motion, ${100 - gate} % from the language`);
  }
  const window = word ? between(word.window, 1, state.frame, [0])[0] : 0;
  const now = word ? between(word.spatial, PARTS, state.frame, new Array(PARTS)) : new Array(PARTS).fill(0);
  [...element("parts").querySelectorAll("dd")].forEach((row, part) => {
    const weight = word ? word.parts[part] : 0;
    row.querySelector(".fill").style.width = `${(100 * weight).toFixed(1)}%`;
    row.querySelector(".now").style.left = `${(100 * Math.min(1, window * now[part])).toFixed(1)}%`;
    row.querySelector(".value").textContent = weight.toFixed(2);
  });
}

function describe(word) {
  const time = secondsAt(state.motion, word.mean).toFixed(1);
  const spread = (word.std / state.motion.fps).toFixed(1);
  return `gate ${word.gate.toFixed(2)} \u00b7 ${time} s \u00b1 ${spread} s`;
}

function play(on) {
  state.playing = on && state.motion.frames > 1;
  last = held = 0;
  if (state.playing && state.frame >= state.motion.frames - 1) state.frame = 0;
  element("play").setAttribute("aria-label", state.playing ? "Pause" : "Play");
  element("icon").setAttribute("d", state.playing ? "M6 4h4v16H6zM14 4h4v16h-4z" : "M7 4v16l13-8z");
  redraw();
}

function seek(frame) {
  state.frame = clamp(frame, [0, state.motion.frames - 1]);
  held = 0;
  redraw();
}

function pick(number) {
  state.picked = number;
  buttons().forEach((button, place) => button.setAttribute("aria-pressed", String(place === number)));
  const word = number === null ? null : state.motion.words[number];
  const best = word ? word.parts.indexOf(Math.max(...word.parts)) : 0;
  element("live").textContent = word ? `${word.text}: ${describe(word)}, most on the ${state.parts[best]}` : "";
  redraw();
}

/** The caption as buttons, one per word, each with its gate as a bar. */
function showWords() {
  const { motion } = state;
  state.near = null;
  const made = motion.words.map((word, number) => {
    const button = make("button", { type: "button", className: "word" });
    const bar = make("span", { className: "gate" });
    const fill = make("span", { className: "fill" });
    fill.style.width = `${(100 * word.gate).toFixed(1)}%`;
    bar.append(fill);
    button.append(make("span", { className: "text", textContent: word.text }), bar);
    button.title = describe(word);
    const near = (value) => () => {
      state.near = value;
      redraw();
    };
    button.addEventListener("click", () => {
      near(null)();
      pick(state.picked === number ? null : number);
    });
    button.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && near(number)());
    button.addEventListener("pointerleave", near(null));
    button.addEventListener("focus", () => button.matches(":focus-visible") && near(number)());
    button.addEventListener("blur", near(null));
    return button;
  });
  element("words").replaceChildren(...made);
  element("words").classList.toggle("none", made.length === 0);
  markMotionWords();
}

/** The segments of a long take as buttons on the time line; each goes to its beginning. */
function showSegments() {
  const { motion } = state;
  const strip = element("segments");
  const long = Math.max(motion.frames - 1, 1);
  const made = motion.segments.map(([start, end, text]) => {
    const from = clamp(start, [0, long]);
    const button = make("button", { type: "button", className: "segment", textContent: text });
    button.title = `${secondsAt(motion, start).toFixed(2)} to ${secondsAt(motion, end).toFixed(2)} s: ${text}`;
    button.style.left = `${(100 * from) / long}%`;
    button.style.width = `${(100 * (clamp(end, [0, long]) - from)) / long}%`;
    button.addEventListener("click", () => seek(start));
    return button;
  });
  strip.replaceChildren(...made);
  strip.hidden = element("saying").hidden = made.length === 0;
  element("words").hidden = made.length > 0 && motion.words.length === 0;
}

/** Marks the segment of the current frame and tells its caption. */
function showSegment() {
  const { motion, frame } = state;
  const number = motion.segments.findIndex(([start, end]) => frame >= Math.max(start, 0) && frame < end);
  [...element("segments").children].forEach((button, place) => {
    button.classList.toggle("playing", place === number);
    if (place === number) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  });
  const text = number < 0 ? "" : motion.segments[number][2];
  if (element("saying").textContent !== text) element("saying").textContent = text;
}

function markMotionWords() {
  const over = new Set(motionWords(state.motion, state.threshold));
  buttons().forEach((button, number) => {
    const { text, gate } = state.motion.words[number];
    button.classList.toggle("motion", over.has(number));
    button.setAttribute("aria-label", `${text}, ${over.has(number) ? "motion word, " : ""}gate ${gate.toFixed(2)}`);
  });
  element("least").textContent = state.threshold.toFixed(2);
}

function open(motion) {
  state.motion = motion;
  state.frame = 0;
  showWords();
  showSegments();
  pick(null);
  element("name").textContent = motion.name;
  element("reference").hidden = !motion.reference;
  element("reference").textContent = motion.reference ? `reference: ${motion.reference}` : "";
  element("doubts").hidden = motion.doubts.length === 0;
  element("doubts").textContent = `\u26a0 Not to be trusted: ${motion.doubts.join("; ")}.`;
  element("notes").hidden = !motion.notes;
  element("notes").textContent = motion.notes ? `file: ${motion.notes}` : "";
  element("score").textContent = motion.score === null ? "" : `score ${motion.score.toFixed(2)}`;
  element("others").hidden = motion.others.length === 0;
  const others = motion.others.map(([text, score]) => make("li", { textContent: `${text} (${score.toFixed(2)})` }));
  element("others").querySelector("ol").replaceChildren(...others);
  element("link").href = linkTo(motion);
  element("link").hidden = motions.length === 1;
  const scrub = element("scrub");
  scrub.max = String(motion.frames - 1);
  scrub.disabled = element("play").disabled = motion.frames < 2;
  play(state.playing);
  gallery?.select(motion);
}

/** The page's address ends in the number and the name of the motion, so that it can be sent. */
const linkTo = (motion) => `#${motion.number + 1}-${encodeURIComponent(motion.name.replace(/[\uD800-\uDFFF]/gu, ""))}`;

/** The motion of the page's address: the one of its name, or the one of its number; else null. */
function linked() {
  const found = /^#(\d+)-(.*)$/.exec(location.hash);
  if (!found) return null;
  const wanted = motions[Number(found[1]) - 1];
  return wanted && linkTo(wanted) === location.hash ? wanted : motions.find((m) => linkTo(m).endsWith(`-${found[2]}`)) || null;
}

/** Picture of the body, the caption and the time line as a PNG file. */
function savePicture() {
  const views = [element("view"), element("windows")];
  const scale = views[0].width / views[0].clientWidth;
  const width = Math.max(views[0].width, views[1].width);
  const band = Math.round(44 * scale);
  const picture = make("canvas", { width, height: views[0].height + views[1].height + band });
  const context = picture.getContext("2d");
  context.fillStyle = state.colours.stage;
  context.fillRect(0, 0, picture.width, picture.height);
  context.drawImage(views[0], 0, 0);
  context.drawImage(views[1], 0, views[0].height + band);
  context.fillStyle = state.colours.text;
  context.font = `600 ${Math.round(20 * scale)}px system-ui, sans-serif`;
  context.textAlign = "center";
  context.fillText(state.motion.caption, width / 2, views[0].height + band * 0.65, width - 20 * scale);
  const name = state.motion.name.replace(/[^\w.-]+/g, "_").slice(-60) || "motion";
  const link = make("a", { download: `${name}-${secondsAt(state.motion, state.frame).toFixed(2)}s.png` });
  link.href = picture.toDataURL("image/png");
  link.click();
}

function readColours() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  for (const name of ["stage", "text", "muted", "grid", "path", "bone", "shadow", "gold", "track"]) {
    state.colours[name] = colour(name);
  }
  state.colours.parts = state.parts.map((_, part) => colour(`part${part}`));
  state.theme += 1;
  gallery?.redraw();
  redraw();
}

/** Space plays, arrows scrub, escape lets the word go; a text field, a slider and a card keep their own keys. */
function onKey(event) {
  const at = event.target;
  const onWord = at.classList?.contains("word");
  const step = event.shiftKey ? state.motion.fps : 1;
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.key === "Escape") pick(null);
  else if (at.matches("input[type=search], select, #threshold")) return;
  else if (event.key === " " && (onWord || !at.matches("button"))) play(!state.playing);
  else if (at.id === "view" && event.key.startsWith("Arrow")) {
    const turns = { ArrowLeft: [0.15, 0], ArrowRight: [-0.15, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] };
    stage.turn(...turns[event.key]);
  } else if (event.key === "ArrowLeft") seek(Math.ceil(state.frame - 1e-6) - step);
  else if (event.key === "ArrowRight") seek(Math.floor(state.frame + 1e-6) + step);
  else if (event.key === "Home") seek(0);
  else if (event.key === "End") seek(state.motion.frames - 1);
  else return;
  event.preventDefault();
}

function start() {
  state.parts.forEach((name, part) => {
    const row = make("dd");
    const bar = make("span", { className: "bar" });
    bar.append(make("span", { className: "fill" }), make("span", { className: "now" }));
    row.append(bar, make("span", { className: "value" }));
    row.style.setProperty("--colour", `var(--part${part})`);
    element("parts").append(make("dt", { textContent: name }), row);
  });
  element("layout").hidden = false;
  readColours();
  state.threshold = Number(element("threshold").value);
  if (motions.length > 1) gallery = new Gallery(motions, state, openFromGallery);
  element("play").addEventListener("click", () => play(!state.playing));
  element("scrub").addEventListener("input", (event) => seek(Number(event.target.value)));
  element("speed").addEventListener("change", (event) => (state.speed = Number(event.target.value)));
  element("threshold").addEventListener("input", (event) => {
    state.threshold = Number(event.target.value);
    markMotionWords();
    gallery?.makeChips();
    redraw();
  });
  element("nearer").addEventListener("click", () => stage.zoom(1.2));
  element("farther").addEventListener("click", () => stage.zoom(1 / 1.2));
  element("reset").addEventListener("click", () => stage.reset());
  element("save").addEventListener("click", savePicture);
  addEventListener("hashchange", () => {
    const motion = linked();
    if (motion && motion !== state.motion) open(motion);
  });
  document.addEventListener("keydown", onKey);
  // A button takes space as a click when the key comes up; on a word it has already played or paused.
  document.addEventListener("keyup", (event) => {
    if (event.key === " " && event.target.classList?.contains("word")) event.preventDefault();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", readColours);
  new ResizeObserver(redraw).observe(element("stage"));
  open(linked() || motions[0]);
  if (!matchMedia("(prefers-reduced-motion: reduce)").matches) play(true);
}

/** `onward`: the focus goes to the stage, behind the list. */
function openFromGallery(motion, onward) {
  open(motion);
  if (onward) element("view").focus();
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  if (element("stage").getBoundingClientRect().top < 0 || innerWidth < 900) {
    element("stage").scrollIntoView({ behavior: still ? "auto" : "smooth", block: "start" });
  }
}

start();
