// The gallery: a card a motion with a strip of its poses, a filter by word, and the most frequent motion words.
const POSES = 6;
const CHIPS = 10;

/** Focus by arrows inside a group that is one stop of the tab key; calls back for what gets the focus. */
function rove(group, items, vertical) {
  const stop = (wanted) => items().forEach((item) => (item.tabIndex = item === wanted ? 0 : -1));
  group.addEventListener("keydown", (event) => {
    const shown = items().filter((item) => item.offsetParent !== null);
    const at = shown.indexOf(document.activeElement);
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10 };
    const ends = { Home: 0, End: shown.length - 1 };
    if (at < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
    if (!vertical && event.key.startsWith("Page")) return;
    const to = event.key in ends ? ends[event.key] : event.key in steps ? at + steps[event.key] : null;
    if (to === null) return;
    shown[clamp(to, [0, shown.length - 1])].focus();
    event.preventDefault();
    event.stopPropagation();
  });
  group.addEventListener("focusin", (event) => items().includes(event.target) && stop(event.target));
  return stop;
}

class Gallery {
  constructor(motions, state, open) {
    this.motions = motions;
    this.state = state;
    this.open = open;
    this.filter = element("filter");
    this.filter.addEventListener("input", () => this.apply());
    element("clear").addEventListener("click", () => this.search(""));
    this.filter.addEventListener("keydown", (event) => {
      const first = this.cards.find((card) => !card.parentElement.hidden);
      if (event.key === "Enter" && first) first.click();
    });
    this.seen = new IntersectionObserver((entries) => {
      for (const { isIntersecting, target } of entries) if (isIntersecting) this.drawCard(target);
    });
    this.cards = motions.map((motion) => this.card(motion));
    this.stop = rove(element("cards"), () => this.cards, true);
    this.stopChip = rove(element("chips"), () => [...element("chips").children], false);
    this.makeChips();
    this.apply();
    element("gallery").hidden = false;
    element("layout").classList.add("many");
  }

  card(motion) {
    const card = make("button", { type: "button", className: "card" });
    const poses = make("canvas", { className: "poses" });
    poses.setAttribute("aria-hidden", "true");
    const text = make("span", { className: "text" });
    motion.words.forEach((word) => text.append(make("span", { textContent: word.text }), " "));
    if (motion.words.length === 0) text.append(make("em", { textContent: "(empty caption)" }));
    card.append(poses, text, make("span", { className: "file", textContent: motion.name }));
    // A click without a pointer is the enter key or space: whoever has no mouse goes on at the stage.
    card.addEventListener("click", (event) => this.open(motion, event.detail === 0 && event.isTrusted));
    const item = make("li");
    item.append(card);
    element("cards").append(item);
    this.seen.observe(poses);
    poses.motion = motion;
    return card;
  }

  /** The words that most motions share, as buttons. */
  makeChips() {
    const counts = new Map();
    for (const motion of this.motions) {
      const words = motionWords(motion, this.state.threshold).map((number) => motion.words[number].text);
      for (const word of new Set(words)) if (!this.state.functionWords.has(word.toLowerCase())) counts.set(word, (counts.get(word) || 0) + 1);
    }
    const frequent = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).slice(0, CHIPS);
    element("chips").replaceChildren(
      ...frequent.map(([word, count]) => {
        const chip = make("button", { type: "button", className: "chip", textContent: word });
        chip.append(make("small", { textContent: ` ${count}` }));
        chip.dataset.word = word;
        chip.addEventListener("click", () => {
          this.filter.value = this.filter.value === word ? "" : word;
          this.apply();
        });
        return chip;
      }),
    );
    // An example that finds something here.
    this.filter.placeholder = frequent.slice(0, 2).map(([word]) => word).join(", ");
    this.stopChip(element("chips").firstElementChild);
    this.mark();
  }

  search(text) {
    this.filter.value = text;
    this.filter.focus();
    this.apply();
  }

  mark() {
    for (const chip of element("chips").children) {
      chip.setAttribute("aria-pressed", String(chip.dataset.word === this.filter.value));
    }
  }

  /** Shows the motions that fit one of the alternatives between commas: for each of its words the caption has a word
   * that begins with it, or the name of the file holds it. */
  apply() {
    const alternatives = this.filter.value
      .toLowerCase()
      .split(",")
      .map((text) => text.split(/\s+/).filter(Boolean))
      .filter((wanted) => wanted.length > 0);
    const wanted = alternatives.flat();
    let shown = 0;
    this.motions.forEach((motion, number) => {
      const words = motion.words.map((word) => word.text.toLowerCase());
      const name = motion.name.toLowerCase();
      const has = (begin) => words.some((word) => word.startsWith(begin)) || name.includes(begin);
      const fits = alternatives.length === 0 || alternatives.some((words) => words.every(has));
      this.cards[number].parentElement.hidden = !fits;
      shown += fits;
      words.forEach((word, place) => {
        const hit = wanted.some((begin) => word.startsWith(begin));
        this.cards[number].querySelector(".text").children[place].classList.toggle("hit", hit);
      });
    });
    const all = this.motions.length;
    element("count").textContent = wanted.length ? `${shown} of ${all} motions` : `${all} motions`;
    element("nothing").textContent = shown ? "" : "Nothing found.";
    element("clear").hidden = this.filter.value === "";
    this.keepStop();
    this.mark();
  }

  /** The list stays one stop of the tab key: the card that is open, or the first one in sight. */
  keepStop() {
    const shown = this.cards.filter((card) => !card.parentElement.hidden);
    this.stop(shown.find((card) => card.getAttribute("aria-current") === "true") || shown[0]);
  }

  select(motion) {
    this.cards.forEach((card, number) => card.setAttribute("aria-current", String(this.motions[number] === motion)));
    this.keepStop();
  }

  /** The theme changed: draw the strips again when they are next seen. */
  redraw() {
    for (const card of this.cards) {
      const poses = card.querySelector("canvas");
      this.seen.unobserve(poses);
      this.seen.observe(poses);
    }
  }

  /** Poses side by side, from the first frame to the last, fainter the earlier. */
  drawCard(canvas) {
    const { motion } = canvas;
    const { colours } = this.state;
    const context = canvas.getContext("2d");
    const { width, height } = fitCanvas(canvas, context);
    context.clearRect(0, 0, width, height);
    const { bones, joints: count, partOf } = motion.skeleton;
    const scale = (height - 8) / (motion.height * 1.08);
    const turn = motion.facing + 0.6;
    const pose = new Float32Array(count * 3);
    for (let number = 0; number < POSES; number++) {
      poseAt(motion, (number / (POSES - 1)) * (motion.frames - 1), pose);
      const centre = (width * (number + 0.5)) / POSES;
      const place = (joint) => {
        const [dx, dz] = [pose[joint * 3] - pose[0], pose[joint * 3 + 2] - pose[2]];
        const right = dx * Math.cos(turn) - dz * Math.sin(turn);
        return [centre + right * scale, height - 4 - (pose[joint * 3 + 1] - motion.floor) * scale];
      };
      context.globalAlpha = 0.35 + (0.65 * number) / (POSES - 1);
      context.lineWidth = 2;
      context.lineCap = "round";
      for (const [a, b] of bones) {
        context.strokeStyle = mixColours(colours.bone, colours.parts[partOf[b]], 0.6);
        context.beginPath();
        context.moveTo(...place(a));
        context.lineTo(...place(b));
        context.stroke();
      }
    }
    context.globalAlpha = 1;
  }
}
