// The stage: a small 3D renderer on a 2D canvas. The camera turns around the body and follows it along its path.
const VIEW = { yaw: 0.6, pitch: 0.22, zoom: 1 };
const LIMITS = { pitch: [-0.1, 1.45], zoom: [0.4, 3] };
const GLOW = 0.15; // of the body's height, at full weight
const clamp = (value, [least, most]) => Math.max(least, Math.min(most, value));

class Stage {
  constructor(canvas, changed) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.changed = changed;
    this.camera = { ...VIEW };
    this.pose = new Float32Array(3 * 64);
    this.target = new Float32Array(2);
    this.weights = new Float32Array(PARTS);
    this.pointers = new Map();
    for (const type of ["pointerdown", "pointermove", "pointerup", "pointercancel"]) {
      canvas.addEventListener(type, (event) => this.onPointer(event));
    }
    canvas.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
  }

  reset() {
    Object.assign(this.camera, VIEW);
    this.changed();
  }

  turn(yaw, pitch) {
    this.camera.yaw += yaw;
    this.camera.pitch = clamp(this.camera.pitch + pitch, LIMITS.pitch);
    this.changed();
  }

  zoom(factor) {
    this.camera.zoom = clamp(this.camera.zoom * factor, LIMITS.zoom);
    this.changed();
  }

  /** One pointer turns, two pinch. */
  onPointer(event) {
    const before = this.pointers.get(event.pointerId);
    if (event.type === "pointerdown") {
      this.canvas.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
    } else if (event.type === "pointermove" && before) {
      const spread = this.spread();
      this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
      if (this.pointers.size === 1) {
        this.turn((before[0] - event.clientX) * 0.008, (event.clientY - before[1]) * 0.006);
      } else if (spread > 0 && this.spread() > 0) {
        this.zoom(this.spread() / spread);
      }
    } else if (event.type !== "pointermove") {
      this.pointers.delete(event.pointerId);
    }
  }

  spread() {
    const [a, b] = this.pointers.values();
    return b ? Math.hypot(a[0] - b[0], a[1] - b[1]) : 0;
  }

  /** Only with ctrl, as a pinch on a touch pad sends it: the plain wheel scrolls the page. */
  onWheel(event) {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    this.zoom(Math.exp(-event.deltaY * 0.005));
  }

  /** Where points (x, y, z) in metres land on the canvas; fills `this.out` with x, y, pixels a metre. */
  lookAt(motion, frame, width, height) {
    between(motion.path, 2, frame, this.target);
    const yaw = motion.facing + this.camera.yaw;
    const [sinYaw, cosYaw] = [Math.sin(yaw), Math.cos(yaw)];
    const [sinPitch, cosPitch] = [Math.sin(this.camera.pitch), Math.cos(this.camera.pitch)];
    const focal = 2.1 * Math.min(height, width * 1.25);
    const distance = (2.1 * motion.height * 1.36) / this.camera.zoom;
    const middle = motion.floor + motion.height * 0.5;
    const [targetX, targetZ] = this.target;
    return (x, y, z) => {
      const [dx, dy, dz] = [x - targetX, y - middle, z - targetZ];
      const depth = distance - (dx * sinYaw * cosPitch + dy * sinPitch + dz * cosYaw * cosPitch);
      const scale = focal / Math.max(depth, 0.05);
      const right = dx * cosYaw - dz * sinYaw;
      const up = -dx * sinYaw * sinPitch + dy * cosPitch - dz * cosYaw * sinPitch;
      return [width / 2 + scale * right, height * 0.5 - scale * up, depth > 0.05 ? scale : 0, depth];
    };
  }

  /** Draws a frame (may be fractional); `word` is the word to explain, or null. */
  draw(motion, frame, word, colours) {
    const { context } = this;
    const { width, height } = fitCanvas(this.canvas, context);
    context.clearRect(0, 0, width, height);
    const project = this.lookAt(motion, frame, width, height);
    const joints = poseAt(motion, frame, this.pose);
    const window = word ? between(word.window, 1, frame, [0])[0] : 0;
    if (word) between(word.spatial, PARTS, frame, this.weights);
    const strength = Array.from(this.weights, (weight) => (word ? weight * window : 0));
    const points = [];
    for (let joint = 0; joint < motion.skeleton.joints; joint++) {
      points.push(project(joints[joint * 3], joints[joint * 3 + 1], joints[joint * 3 + 2]));
    }
    this.drawFloor(motion, project, colours);
    this.drawPath(motion, project, frame, colours, strength[0]);
    this.drawShadow(motion, project, joints, colours);
    if (window > 0.01) this.drawBox(points, window, colours);
    this.drawBody(motion, points, strength, colours);
  }

  drawFloor(motion, project, colours) {
    const { context } = this;
    const step = motion.height * 0.3;
    const reach = 9;
    const centre = Array.from(this.target, (value) => Math.round(value / step));
    context.strokeStyle = colours.grid;
    context.lineWidth = 1;
    for (let i = -reach; i <= reach; i++) {
      for (let j = -reach; j < reach; j++) {
        for (const swap of [false, true]) {
          const [x1, z1, x2, z2] = swap ? [j, i, j + 1, i] : [i, j, i, j + 1];
          const [x, z] = [(centre[0] + (x1 + x2) / 2) * step, (centre[1] + (z1 + z2) / 2) * step];
          const fade = 1 - Math.hypot(x - this.target[0], z - this.target[1]) / (reach * step * 0.95);
          if (fade <= 0) continue;
          const from = project((centre[0] + x1) * step, motion.floor, (centre[1] + z1) * step);
          const to = project((centre[0] + x2) * step, motion.floor, (centre[1] + z2) * step);
          if (!from[2] || !to[2]) continue;
          context.globalAlpha = fade;
          context.beginPath();
          context.moveTo(from[0], from[1]);
          context.lineTo(to[0], to[1]);
          context.stroke();
        }
      }
    }
    context.globalAlpha = 1;
  }

  /** The root's way on the floor: what is behind it solid, what is to come dotted; it glows with the root's weight. */
  drawPath(motion, project, frame, colours, strength) {
    const { context } = this;
    const stride = motion.skeleton.joints * 3;
    for (const behind of [false, true]) {
      context.beginPath();
      const [from, to] = behind ? [0, frame] : [frame, motion.frames - 1];
      let drawing = false;
      for (let at = from; ; at = Math.min(Math.floor(at) + 1, to)) {
        const low = Math.floor(at);
        const high = Math.min(low + 1, motion.frames - 1);
        const mix = (axis) =>
          motion.joints[low * stride + axis] * (1 - at + low) + motion.joints[high * stride + axis] * (at - low);
        const point = project(mix(0), motion.floor, mix(2));
        if (point[2]) context[drawing ? "lineTo" : "moveTo"](point[0], point[1]);
        drawing = Boolean(point[2]);
        if (at >= to) break;
      }
      context.lineCap = context.lineJoin = "round";
      context.setLineDash(behind ? [] : [1, 7]);
      context.lineWidth = behind ? 2.5 + 5 * strength : 2.5;
      context.strokeStyle = mixColours(colours.path, colours.parts[0], ease(strength));
      context.stroke();
    }
    context.setLineDash([]);
  }

  drawShadow(motion, project, joints, colours) {
    const { context } = this;
    context.beginPath();
    let scale = 0;
    for (const [a, b] of motion.skeleton.bones) {
      const from = project(joints[a * 3], motion.floor, joints[a * 3 + 2]);
      const to = project(joints[b * 3], motion.floor, joints[b * 3 + 2]);
      if (!from[2] || !to[2]) continue;
      scale = from[2];
      context.moveTo(from[0], from[1]);
      context.lineTo(to[0], to[1]);
    }
    context.lineCap = "round";
    context.lineWidth = Math.max(2, 0.03 * motion.height * scale);
    context.strokeStyle = colours.shadow;
    context.stroke();
  }

  /** The gold box: as opaque as the word's window is high. */
  drawBox(points, window, colours) {
    const { context } = this;
    const [xs, ys] = [points.map((p) => p[0]), points.map((p) => p[1])];
    const margin = 0.12 * Math.max(Math.max(...ys) - Math.min(...ys), 40);
    const [left, top] = [Math.min(...xs) - margin, Math.min(...ys) - margin];
    const [width, height] = [Math.max(...xs) + margin - left, Math.max(...ys) + margin - top];
    context.beginPath();
    context.roundRect(left, top, width, height, 14);
    context.globalAlpha = 0.16 * window;
    context.fillStyle = colours.gold;
    context.fill();
    context.globalAlpha = window;
    context.lineWidth = 3;
    context.strokeStyle = colours.gold;
    context.stroke();
    context.globalAlpha = 1;
  }

  /** Bones and joints from far to near; the disk of a joint grows and glows with its part's weight. */
  drawBody(motion, points, strength, colours) {
    const { context } = this;
    const { bones, partOf, head } = motion.skeleton;
    const size = motion.height;
    const shapes = bones.map(([a, b]) => ({ depth: (points[a][3] + points[b][3]) / 2 + 0.02, bone: [a, b] }));
    points.forEach((point, joint) => shapes.push({ depth: point[3], joint }));
    shapes.sort((a, b) => b.depth - a.depth);
    for (const { bone, joint } of shapes) {
      const [x, y, scale] = points[bone ? bone[0] : joint];
      const part = partOf[bone ? bone[1] : joint];
      const shown = ease(strength[part]);
      const colour = mixColours(colours.bone, colours.parts[part], shown);
      if (!scale) continue;
      if (bone) {
        const to = points[bone[1]];
        if (!to[2]) continue;
        context.beginPath();
        context.moveTo(x, y);
        context.lineTo(to[0], to[1]);
        context.lineCap = "round";
        for (const [extra, style] of [[2.5, colours.stage], [0, colour]]) {
          context.lineWidth = 0.025 * size * scale * (1 + 0.35 * shown) + extra;
          context.strokeStyle = style;
          context.stroke();
        }
        continue;
      }
      const radius = size * scale * (joint === head ? 0.05 : 0.016 + 0.035 * strength[part]);
      if (shown > 0.1) {
        const glow = context.createRadialGradient(x, y, 0, x, y, radius + size * scale * GLOW * shown);
        glow.addColorStop(0, withAlpha(colours.parts[part], 0.9 * shown));
        glow.addColorStop(1, withAlpha(colours.parts[part], 0));
        context.fillStyle = glow;
        context.beginPath();
        context.arc(x, y, radius + size * scale * GLOW * shown, 0, 2 * Math.PI);
        context.fill();
      }
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      context.fillStyle = colour;
      context.fill();
      context.lineWidth = 1.25;
      context.strokeStyle = colours.stage;
      context.stroke();
    }
  }
}

/** Makes the canvas as sharp as the screen; returns its size in CSS pixels. */
function fitCanvas(canvas, context) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const ratio = Math.min(globalThis.devicePixelRatio || 1, 3);
  const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== wide || canvas.height !== high) Object.assign(canvas, { width: wide, height: high });
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return { width, height };
}

const channels = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
const withAlpha = (hex, alpha) => `rgba(${channels(hex).join(",")},${alpha.toFixed(3)})`;

/** A colour between two #rrggbb ones. */
function mixColours(from, to, part) {
  const [a, b] = [channels(from), channels(to)];
  return `rgb(${a.map((value, i) => Math.round(value + (b[i] - value) * part)).join(",")})`;
}
