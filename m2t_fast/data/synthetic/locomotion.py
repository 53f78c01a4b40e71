"""Animations that move the whole body: walking, running, turning, stepping, jumping, standing."""

from __future__ import annotations

import numpy as np

from m2t_fast.data.synthetic.track import Track, smooth

_WALK_STANCE, _RUN_STANCE = 0.6, 0.36  # the part of a cycle in which a foot is on the floor


def _stride(track: Track, phase: np.ndarray, hip: float, knee: float, stance: float, weight: np.ndarray) -> None:
    """Swing both legs half a cycle apart, each furthest forward at phase 0.

    A leg sweeps back at an even speed for the part ``stance`` of the cycle, so that its foot stays where it is on the
    floor while the body travels; then it swings forward with a bent knee, without a jerk at either end.
    """
    for side, offset in (("left", 0.0), ("right", 0.5)):
        part = (phase / (2 * np.pi) + offset) % 1.0
        q = np.maximum(part - stance, 0.0) / (1.0 - stance)
        slope = 2.0 * (1.0 - stance) / stance
        forward = 2.0 * q * q * (3.0 - 2.0 * q) - 1.0 - slope * q * (2.0 * q - 1.0) * (q - 1.0)
        sweep = np.where(part < stance, 1.0 - 2.0 * part / stance, forward)
        bend = knee * np.sin(np.pi * q) ** 2
        track.add(f"{side}_leg", flex=weight * (hip * sweep + 0.35 * bend), knee=weight * bend)


def _swing_arms(track: Track, phase: np.ndarray, amount: float, elbow: float, weight: np.ndarray) -> None:
    """Swing each arm against the leg of its side."""
    for side, offset in (("left", np.pi), ("right", 0.0)):
        swing = np.cos(phase + offset)
        track.add(f"{side}_arm", flex=weight * amount * swing, elbow=weight * (elbow + 0.3 * amount * swing))


def _gait(track: Track, hertz: float, hip: float, knee: float, stance: float, direction: float = 1.0) -> np.ndarray:
    """Stride at a frequency and hip angle, and travel what the standing legs sweep. Returns the (n,) weight of it."""
    weight = track.envelope()
    phase = direction * track.cycle(hertz)
    _stride(track, phase, hip, knee, stance, weight)
    speed = 2.0 * hertz * track.step.tempo * track.leg * np.sin(hip) / stance
    track.move(forward=direction * weight * speed, planted=-weight)
    track.add("pelvis", twist=-0.1 * weight * np.cos(phase))
    track.add("spine", twist=0.2 * weight * np.cos(phase))
    return weight


def walk(track: Track) -> None:
    """Walk forward or backward; the pace changes the cadence, and slightly the stride."""
    direction = -1.0 if track.step.variant == "backward" else 1.0
    hip = 0.42 * track.step.amplitude * (0.8 + 0.2 * track.step.tempo) * (0.8 if direction < 0 else 1.0)
    weight = _gait(track, 0.95, hip, 0.95, _WALK_STANCE, direction)
    _swing_arms(track, direction * track.cycle(0.95), 0.4 * track.step.amplitude, 0.1, weight)


def run(track: Track) -> None:
    """Run forward with bent elbows and both feet off the floor between steps."""
    hertz = 1.35 / track.step.tempo**0.5  # the tempo itself comes back in the cycle: cadence grows with its root
    hip = 0.5 * track.step.amplitude * track.step.tempo**0.25
    weight = _gait(track, hertz, hip, 1.7, _RUN_STANCE)
    phase = track.cycle(hertz)
    _swing_arms(track, phase, 0.7 * track.step.amplitude, 1.3, weight)
    track.add("spine", pitch=0.2 * weight)
    flight = np.maximum(phase / np.pi % 1.0 - 2 * _RUN_STANCE, 0.0) / (1.0 - 2 * _RUN_STANCE)
    track.move(air=0.07 * weight * np.sin(np.pi * flight) ** 2)


def circle(track: Track) -> None:
    """Walk once around a circle, clockwise (to the right, seen from above) or counterclockwise."""
    direction = -1.0 if track.step.variant == "clockwise" else 1.0
    hip = 0.42 * track.step.amplitude
    weight = _gait(track, 0.95, hip, 0.95, _WALK_STANCE)
    _swing_arms(track, track.cycle(0.95), 0.35 * track.step.amplitude, 0.1, weight)
    track.move(turn=direction * weight * (2 * np.pi * 0.97 / (weight.mean() * track.duration)))
    track.add("pelvis", roll=-0.06 * direction * weight)


def turn(track: Track) -> None:
    """Turn on the spot with small steps: a quarter to one side, or half way around."""
    if track.step.variant == "around":
        angle = np.pi * np.sign(np.pi - track.step.phase)
    else:
        angle = track.side * 0.5 * np.pi * track.step.amplitude
    rate = 6.0 * track.u * (1.0 - track.u)
    track.move(turn=angle * rate / track.duration)
    steps = 4 if track.step.variant == "around" else 2
    weight = track.hold(0.2, 0.2)
    for limb, offset in (("left", 0.0), ("right", np.pi)):
        lift = weight * np.maximum(np.sin(np.pi * steps * track.u + offset), 0.0) ** 2
        track.add(f"{limb}_leg", flex=0.4 * lift, knee=0.8 * lift)
    lead = 0.2 * np.sign(angle) * track.hold(0.3, 0.5)
    track.add("head", twist=1.5 * lead)
    track.add("spine", twist=lead)


def sidestep(track: Track) -> None:
    """Step sideways: one leg opens, the other closes; the standing foot carries the body along."""
    cycles = max(1, round(0.9 * track.step.tempo * track.duration))
    phase = np.pi * cycles * track.u
    spread = 0.3 * track.step.amplitude * np.sin(phase) ** 2
    opening = np.sin(2 * phase)
    lead, trail = track.step.variant, track.other
    for limb, lift in ((lead, np.maximum(opening, 0.0)), (trail, np.maximum(-opening, 0.0))):
        track.add(f"{limb}_leg", abduct=spread, flex=0.3 * lift, knee=0.6 * lift)
        track.add(f"{limb}_arm", abduct=0.4 * spread)


def stumble(track: Track) -> None:
    """Stagger forward or backward with quick short steps while the trunk sways and the arms catch the balance."""
    direction = -1.0 if track.step.variant == "backward" else 1.0
    weight = _gait(track, 1.6, 0.24 * track.step.amplitude, 0.7, _WALK_STANCE, direction)
    sway = np.sin(2 * np.pi * 1.1 * track.t + track.step.phase)
    track.add("spine", pitch=weight * (0.45 * direction + 0.15 * sway), roll=0.2 * weight * sway)
    for limb, sign in (("left", 1.0), ("right", -1.0)):
        track.add(f"{limb}_arm", abduct=weight * (0.8 + 0.35 * sign * sway), flex=0.4 * weight, elbow=0.4 * weight)


def _leap(track: Track, height: float, crouch: float, arms: float) -> np.ndarray:
    """Crouch, fly and land in each repetition. Returns the (n,) weight that is 1 in the air."""
    flight = np.minimum(np.maximum((track.u - 0.4) / 0.3, 0.0), 1.0)
    bend = track.keys((0.3, 0.42, 0.68, 0.8), (crouch, 0.0, 0.0, 0.7 * crouch))
    for limb in ("left", "right"):
        track.add(f"{limb}_leg", flex=0.75 * bend, knee=1.4 * bend)
        swing = track.keys((0.24, 0.56, 0.86), (-0.5, arms, 0.1))
        track.add(f"{limb}_arm", flex=swing, elbow=0.2 * np.abs(swing), abduct=0.1 * np.abs(swing))
    track.add("spine", pitch=0.5 * bend)
    track.move(air=height * 4 * flight * (1 - flight))
    return smooth((track.u - 0.38) / 0.06) * smooth((0.72 - track.u) / 0.06)


def jump(track: Track) -> None:
    """Jump up on the spot, or forward, or several times up and down."""
    amplitude = track.step.amplitude
    if track.step.variant == "repeated":
        track.u = track.t * (max(3, round(track.duration / 0.85)) / track.duration) % 1.0
        _leap(track, 0.16 * amplitude, 0.7, 0.5)
    elif track.step.variant == "forward":
        flying = _leap(track, 0.25 * amplitude, 1.0, 1.5)
        track.move(forward=flying * 0.95 * amplitude * track.step.times / (flying.mean() * track.duration))
    else:
        _leap(track, 0.36 * amplitude, 1.0, 2.1)


def hop(track: Track) -> None:
    """Hop on one leg, the other bent behind."""
    weight = track.envelope(0.45)
    hops = max(2, round(track.duration / 0.6))
    beat = np.sin(np.pi * hops * track.u) ** 2
    track.add(f"{track.step.variant}_leg", flex=0.5 * weight * (1 - beat), knee=weight * (1 - beat))
    track.add(f"{track.other}_leg", flex=0.25 * weight, knee=1.5 * weight)
    track.move(air=0.13 * track.step.amplitude * weight * np.maximum(1.5 * beat - 0.5, 0.0))
    for limb in ("left", "right"):
        track.add(f"{limb}_arm", abduct=0.5 * weight + 0.15 * weight * beat, elbow=0.5 * weight)
    track.add("pelvis", roll=-0.05 * track.side * weight)


def march(track: Track) -> None:
    """March on the spot with high knees."""
    weight = track.envelope()
    phase = track.cycle(0.9)
    for limb, offset in (("left", 0.0), ("right", np.pi)):
        lift = weight * np.maximum(np.sin(phase + offset), 0.0) ** 1.5 * track.step.amplitude
        track.add(f"{limb}_leg", flex=1.15 * lift, knee=1.5 * lift)
        track.add(f"{limb}_arm", flex=-0.5 * weight * np.sin(phase + offset), elbow=0.7 * weight)


def stand(track: Track) -> None:
    """Stand still: shift the weight a little and look around."""
    weight = track.envelope()
    sway = np.sin(2 * np.pi * 0.25 * track.t + track.step.phase)
    track.add("spine", roll=0.02 * weight * sway)
    track.add("head", twist=0.15 * weight * sway)
