// The time line: every motion word's Gaussian window, the picked word's attention over parts and frames, a playhead.
const AXIS = 26;
const ROW_GAP = 2;

class Timeline {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.still = document.createElement("canvas"); // what does not move: redrawn only when it changes
    this.key = "";
  }

  /** Place of a frame on the canvas: the first and last frame at the ends of the plot. */
  layout(motion, width, height) {
    const gutter = parseFloat(getComputedStyle(this.canvas).getPropertyValue("--gutter")) || 0;
    const right = 8;
    const row = Math.max(7, Math.min(15, (height - AXIS) * 0.085));
    const heat = height - AXIS - PARTS * row - 4;
    const span = width - gutter - right;
    const x = (frame) => gutter + (motion.frames > 1 ? (frame / (motion.frames - 1)) * span : span / 2);
    return { gutter, span, row, heat, x };
  }

  draw(motion, frame, word, state, colours) {
    const { context, canvas } = this;
    const { width, height } = fitCanvas(canvas, context);
    if (width === 0) return;
    const plot = this.layout(motion, width, height);
    const number = word ? motion.words.indexOf(word) : -1;
    const key = [motion.number, number, state.threshold, state.theme, canvas.width, canvas.height, width].join();
    if (key !== this.key) {
      this.key = key;
      this.drawStill(motion, word, state, colours, plot, width, height);
    }
    context.clearRect(0, 0, width, height);
    context.drawImage(this.still, 0, 0, width, height);
    const x = plot.x(frame);
    context.fillStyle = colours.text;
    context.fillRect(x - 1, 20, 2, height - AXIS - 20);
    context.beginPath();
    context.moveTo(x, height - AXIS - 3);
    context.lineTo(x - 7, height - AXIS + 7);
    context.lineTo(x + 7, height - AXIS + 7);
    context.fill();
    if (word) {
      const value = between(word.window, 1, frame, [0])[0];
      context.beginPath();
      context.arc(x, this.level(value, plot), 5, 0, 2 * Math.PI);
      context.fillStyle = colours.gold;
      context.fill();
      context.lineWidth = 2;
      context.strokeStyle = colours.text;
      context.stroke();
    }
  }

  level(value, plot) {
    return plot.heat - 4 - value * (plot.heat - 26);
  }

  drawStill(motion, word, state, colours, plot, width, height) {
    Object.assign(this.still, { width: this.canvas.width, height: this.canvas.height });
    const context = this.still.getContext("2d");
    context.setTransform(this.still.width / width, 0, 0, this.still.height / height, 0, 0);
    this.drawAxis(context, motion, colours, plot, height);
    for (const number of motionWords(motion, state.threshold)) {
      const other = motion.words[number];
      if (other !== word) this.drawWindow(context, motion, other, plot, colours.muted, word ? 0.3 : 0.6);
    }
    this.drawParts(context, motion, word, colours, plot);
    if (!word) return;
    this.drawWindow(context, motion, word, plot, colours.gold, 1, 0.28);
    const [least, mean, most] = [word.mean - word.std, word.mean, word.mean + word.std].map((frame) =>
      plot.x(clamp(frame, [0, motion.frames - 1])),
    );
    context.fillStyle = colours.gold;
    context.fillRect(least, plot.heat - 4, Math.max(most - least, 2), 3);
    context.fillStyle = colours.text;
    context.font = "600 13px system-ui, sans-serif";
    const half = context.measureText(word.text).width / 2;
    context.textAlign = "center";
    context.fillText(word.text, clamp(mean, [plot.gutter + half, width - half - 2]), 15);
  }

  /** One Gaussian window; a pixel at a time where frames are closer than that. */
  drawWindow(context, motion, word, plot, colour, alpha, fill = 0) {
    context.beginPath();
    const steps = Math.max(1, Math.min(Math.round(plot.span), (motion.frames - 1) * 4));
    for (let step = 0; step <= steps; step++) {
      const frame = (step / steps) * (motion.frames - 1);
      const x = motion.frames > 1 ? plot.x(frame) : plot.gutter + (step / steps) * plot.span;
      context[step ? "lineTo" : "moveTo"](x, this.level(between(word.window, 1, frame, [0])[0], plot));
    }
    context.strokeStyle = context.fillStyle = colour;
    context.lineWidth = fill ? 2.5 : 1.25;
    context.globalAlpha = alpha;
    context.stroke();
    if (fill) {
      context.lineTo(plot.gutter + plot.span, plot.heat - 4);
      context.lineTo(plot.gutter, plot.heat - 4);
      context.globalAlpha = fill;
      context.fill();
    }
    context.globalAlpha = 1;
  }

  /** Window times weight of each part, frame by frame: the map of the paper's figure 7. */
  drawParts(context, motion, word, colours, plot) {
    const pixel = plot.span / Math.max(motion.frames, 1);
    const columns = pixel < 1 ? Math.round(plot.span) : motion.frames;
    for (let part = 0; part < PARTS; part++) {
      const y = plot.heat + part * plot.row;
      context.fillStyle = colours.track;
      context.fillRect(plot.gutter, y, plot.span, plot.row - ROW_GAP);
      context.fillStyle = colours.parts[part];
      for (let column = 0; word && column < columns; column++) {
        const frame = columns > 1 ? Math.round((column / (columns - 1)) * (motion.frames - 1)) : 0;
        context.globalAlpha = Math.min(1, ease(word.window[frame] * word.spatial[frame * PARTS + part]));
        // Whole pixels: where the edges of two see-through cells overlapped, there would be a line.
        const left = Math.round(Math.max(plot.gutter, plot.x(frame - 0.5)));
        const right = Math.round(Math.min(plot.gutter + plot.span, plot.x(frame + 0.5)));
        if (motion.frames > 1) context.fillRect(left, y, Math.max(right - left, 1), plot.row - ROW_GAP);
        else context.fillRect(plot.gutter, y, plot.span, plot.row - ROW_GAP);
      }
      context.globalAlpha = 1;
      if (plot.gutter > 20) {
        context.fillStyle = colours.muted;
        context.font = `${Math.min(11.5, plot.row - 1)}px system-ui, sans-serif`;
        context.textAlign = "right";
        context.fillText(state.parts[part], plot.gutter - 7, y + plot.row - ROW_GAP - 2);
      }
    }
  }

  drawAxis(context, motion, colours, plot, height) {
    const first = secondsAt(motion, 0);
    const last = secondsAt(motion, motion.frames - 1);
    const wished = Math.max(last - first, 0.1) / Math.max(2, plot.span / 80);
    const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 120, 300, 600].find((size) => size >= wished) || 1800;
    context.font = "11.5px system-ui, sans-serif";
    context.textAlign = "center";
    for (let time = Math.ceil(first / step - 1e-6) * step; time <= last + 1e-6; time += step) {
      const x = plot.x((time - motion.start) * motion.fps);
      context.fillStyle = colours.grid;
      context.fillRect(x, 20, 1, height - AXIS - 20);
      context.fillStyle = colours.muted;
      context.fillText(`${Number(time.toFixed(1))} s`, clamp(x, [14, plot.gutter + plot.span - 8]), height - 3);
    }
  }
}
