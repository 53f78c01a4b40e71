// The page's data: motions decoded from JSON, poses and weights between frames, and the word that is current.
const PARTS = 6;

/** The inverse of page.py: positions in metres, attention as fractions. */
function decodeMotion(raw, skeleton, number) {
  const joints = Float32Array.from(raw.joints, (value) => value / 1000);
  const frames = joints.length / (3 * skeleton.joints);
  const words = raw.words.map((word) => {
    const window = Float32Array.from(word.window, (value) => value / 1000);
    const spatial = Float32Array.from(word.spatial, (value) => value / 1000);
    return { ...word, window, spatial, parts: averageParts(window, spatial) };
  });
  const motion = { ...raw, number, skeleton, joints, frames, words, caption: raw.words.map((w) => w.text).join(" ") };
  return Object.assign(motion, measure(motion));
}

/** Weight of every part, averaged over the frames with the window's weights. */
function averageParts(window, spatial) {
  const sums = new Array(PARTS).fill(0);
  let total = 0;
  window.forEach((weight, frame) => {
    total += weight;
    for (let part = 0; part < PARTS; part++) sums[part] += weight * spatial[frame * PARTS + part];
  });
  return sums.map((sum) => (total > 0 ? sum / total : 0));
}

/** What the camera needs: the floor, the body's height, the smoothed path of the root, and where the body faces. */
function measure(motion) {
  const { joints, frames, skeleton } = motion;
  const count = skeleton.joints;
  let floor = Infinity;
  let reach = 0.1; // farthest joint from the root: also of a body that lies down
  let top = 0;
  for (let frame = 0; frame < frames; frame++) {
    const root = frame * count * 3;
    for (let joint = 0; joint < count; joint++) {
      const at = root + joint * 3;
      floor = Math.min(floor, joints[at + 1]);
      top = joint === 0 && frame === 0 ? joints[at + 1] : Math.max(top, joints[at + 1]);
      reach = Math.max(reach, Math.hypot(joints[at] - joints[root], joints[at + 2] - joints[root + 2]));
    }
  }
  const path = new Float32Array(frames * 2);
  const half = Math.round(motion.fps * 0.6);
  for (let frame = 0; frame < frames; frame++) {
    let weights = 0;
    for (let near = Math.max(0, frame - half); near <= Math.min(frames - 1, frame + half); near++) {
      const weight = 1 + half - Math.abs(near - frame);
      path[frame * 2] += weight * joints[near * count * 3];
      path[frame * 2 + 1] += weight * joints[near * count * 3 + 2];
      weights += weight;
    }
    path[frame * 2] /= weights;
    path[frame * 2 + 1] /= weights;
  }
  const [left, right] = skeleton.hips;
  const across = [joints[left * 3] - joints[right * 3], joints[left * 3 + 2] - joints[right * 3 + 2]];
  const facing = Math.hypot(...across) > 1e-6 ? Math.atan2(-across[1], across[0]) : 0;
  return { floor, height: Math.max(top - floor, reach, 0.5), path, facing };
}

/** Values of one frame, straight between its neighbours; `frame` may be fractional. */
function between(values, stride, frame, out) {
  const last = values.length / stride - 1;
  const low = Math.min(Math.floor(frame), last);
  const high = Math.min(low + 1, last);
  const part = frame - low;
  for (let i = 0; i < stride; i++) {
    out[i] = values[low * stride + i] * (1 - part) + values[high * stride + i] * part;
  }
  return out;
}

/** The pose between two frames on a smooth curve through four (Catmull-Rom), so that 10 frames a second look fluid. */
function poseAt(motion, frame, out) {
  const { joints, frames } = motion;
  const stride = motion.skeleton.joints * 3;
  const low = Math.min(Math.floor(frame), frames - 1);
  const t = frame - low;
  const at = (offset) => Math.max(0, Math.min(frames - 1, low + offset)) * stride;
  const [a, b, c, d] = [at(-1), at(0), at(1), at(2)];
  for (let i = 0; i < stride; i++) {
    const [p, q, r, s] = [joints[a + i], joints[b + i], joints[c + i], joints[d + i]];
    out[i] = q + 0.5 * t * (r - p + t * (2 * p - 5 * q + 4 * r - s + t * (3 * (q - r) + s - p)));
  }
  return out;
}

/** Numbers of the words over the threshold. */
function motionWords(motion, threshold) {
  return motion.words.flatMap((word, number) => (word.gate >= threshold ? [number] : []));
}

/** The motion word whose window, times its gate, is highest at a frame; null where each is below 5 %. */
function currentWord(motion, frame, threshold) {
  const at = Math.round(frame);
  let best = null;
  let highest = -1;
  for (const number of motionWords(motion, threshold)) {
    const word = motion.words[number];
    const strength = word.gate * word.window[at];
    if (strength > highest) [best, highest] = [number, strength];
  }
  return best !== null && motion.words[best].window[at] >= 0.05 ? best : null;
}

/** How strongly a weight is coloured: small ones are still seen. */
const ease = (weight) => Math.max(0, weight) ** 0.7;

/** Seconds of the file at a kept frame. */
const secondsAt = (motion, frame) => motion.start + frame / motion.fps;
