"""Animations of arms, legs and trunk on the spot: waving, punching, kicking, bowing, picking up and the like."""

from __future__ import annotations

import numpy as np

from m2t_fast.data.synthetic.track import Track


def wave(track: Track) -> None:
    """Raise one hand, or both, beside the head and swing the forearm from side to side."""
    weight = track.envelope()
    swing = np.sin(track.cycle(1.5))
    for limb in track.sides:
        track.add(
            f"{limb}_arm",
            abduct=weight * 1.6 * (0.9 + 0.1 * track.step.amplitude),
            twist=1.5 * weight,
            elbow=weight * (1.0 + 0.5 * track.step.amplitude * swing),
        )


def punch(track: Track) -> None:
    """Raise the fists and thrust one straight out in front, the shoulder turning with it."""
    guard = track.hold(0.3, 0.3)
    thrust = track.keys((0.3, 0.48, 0.56, 0.75), (0.0, 1.0, 1.0, 0.0))
    arm = f"{track.step.variant}_arm"
    track.add(arm, flex=0.5 * guard + 1.0 * thrust * track.step.amplitude, elbow=1.7 * guard - 1.85 * thrust)
    track.add(f"{track.other}_arm", flex=0.3 * guard, elbow=1.4 * guard)
    track.add("spine", twist=track.side * (0.2 * guard - 0.65 * thrust), pitch=0.1 * thrust)


def box(track: Track) -> None:
    """Punch with both fists in turn."""
    weight = track.envelope()
    beat = np.sin(track.cycle(1.1))
    for limb, sign in (("left", 1.0), ("right", -1.0)):
        thrust = weight * np.maximum(sign * beat, 0.0) ** 1.5
        track.add(f"{limb}_arm", flex=0.5 * weight + thrust * track.step.amplitude, elbow=1.7 * weight - 1.8 * thrust)
    track.add("spine", twist=-0.4 * weight * beat)


def throw(track: Track) -> None:
    """Draw one arm back beside the head and fling it over the shoulder to the front."""
    back = track.keys((0.36, 0.6), (1.0, 0.0))
    fling = track.keys((0.36, 0.62, 0.68), (0.0, 1.0, 1.0))
    size = track.step.amplitude
    track.add(
        f"{track.step.variant}_arm",
        abduct=1.45 * back + 0.15 * fling,
        twist=1.7 * back,
        elbow=1.5 * back + 0.1 * fling,
        flex=-0.2 * back + 1.35 * size * fling,
    )
    track.add(f"{track.other}_arm", flex=0.5 * back - 0.2 * fling, abduct=0.2 * back)
    track.add("spine", twist=track.side * (0.55 * back - 0.55 * fling), pitch=0.3 * fling - 0.15 * back)
    track.add(f"{track.other}_leg", flex=0.25 * fling, knee=0.3 * fling)


def lift_arm(track: Track) -> None:
    """Raise one arm, or both, over the head, hold it there and lower it."""
    rise = track.hold(0.38, 0.35)
    for limb in track.sides:
        track.add(f"{limb}_arm", flex=(2.6 + 0.25 * track.step.amplitude) * rise, elbow=-0.1 * rise)


def clap(track: Track) -> None:
    """Bring the hands together in front of the chest again and again."""
    weight = track.envelope()
    beat = 0.5 + 0.5 * np.sin(track.cycle(1.6))
    for limb in ("left", "right"):
        twist = 0.1 - (0.2 + 0.72 * beat) * (0.95 + 0.05 * track.step.amplitude)
        track.add(f"{limb}_arm", flex=0.75 * weight, elbow=1.15 * weight, twist=weight * twist, abduct=-0.1 * weight)


def wipe(track: Track) -> None:
    """Sweep one hand from side to side at chest height, as over a table or a window."""
    weight = track.envelope()
    sweep = np.sin(track.cycle(0.95))
    arm = f"{track.step.variant}_arm"
    track.add(arm, flex=0.95 * weight, elbow=1.15 * weight, twist=weight * (0.8 * track.step.amplitude * sweep - 0.2))
    track.add("spine", twist=0.12 * track.side * weight * sweep, pitch=0.1 * weight)


def pick(track: Track) -> None:
    """Bend down on both legs, reach to the floor with one hand and stand up again with the forearm raised."""
    down = track.keys((0.36, 0.5, 0.85), (1.0, 1.0, 0.0))
    carry = track.keys((0.5, 0.75, 0.85), (0.0, 1.0, 1.0))
    for limb in ("left", "right"):
        track.add(f"{limb}_leg", flex=1.2 * down, knee=2.1 * down)
    track.add("pelvis", pitch=0.45 * down)
    track.add("spine", pitch=0.75 * down)
    track.add("head", pitch=-0.3 * down)
    track.add(f"{track.step.variant}_arm", flex=1.3 * down * track.step.amplitude**0.3, elbow=1.3 * carry - 0.2 * down)
    track.add(f"{track.other}_arm", flex=0.7 * down, elbow=0.8 * down, abduct=0.1 * down)
    track.add("spine", twist=-0.2 * track.side * down)


def kick(track: Track) -> None:
    """Swing one leg back and then forward and up, the arms out for balance."""
    swing = track.keys((0.28, 0.54, 0.6, 0.92), (-0.35, 1.3 * track.step.amplitude, 1.25 * track.step.amplitude, 0.0))
    knee = track.keys((0.3, 0.44, 0.56, 0.62, 0.78), (0.9, 0.6, 0.1, 0.1, 0.6))
    track.add(f"{track.step.variant}_leg", flex=swing, knee=knee, toe=0.3 * swing)
    stance = track.hold(0.3, 0.3)
    track.add("spine", pitch=-0.15 * stance)
    for limb in ("left", "right"):
        track.add(f"{limb}_arm", abduct=0.4 * stance, elbow=0.3 * stance)
    track.add(f"{track.other}_arm", flex=0.35 * swing)


def stomp(track: Track) -> None:
    """Lift one foot high and drive it into the floor."""
    lift = track.keys((0.42, 0.5, 0.64), (1.0, 1.0, 0.0))
    track.add(f"{track.step.variant}_leg", flex=1.05 * lift * track.step.amplitude, knee=1.6 * lift)
    dip = track.keys((0.62, 0.72), (0.0, 1.0))
    for limb in ("left", "right"):
        track.add(f"{limb}_leg", flex=0.12 * dip, knee=0.24 * dip)
        track.add(f"{limb}_arm", abduct=0.15 * lift, elbow=0.4 * lift)
    track.add("spine", pitch=0.15 * dip)


def squat(track: Track) -> None:
    """Lower the hips between the knees with the arms out in front, and come up again."""
    down = track.hold(0.42, 0.42) * (0.7 + 0.3 * track.step.amplitude)
    for limb in ("left", "right"):
        track.add(f"{limb}_leg", flex=1.3 * down, knee=2.35 * down, abduct=0.12 * down)
        track.add(f"{limb}_arm", flex=1.9 * down)
    track.add("pelvis", pitch=0.3 * down)
    track.add("spine", pitch=0.3 * down)
    track.add("head", pitch=-0.4 * down)


def kneel(track: Track) -> None:
    """Go down on one knee, the other foot in front, stay there and stand up."""
    down = track.hold(0.32, 0.32)
    track.add(f"{track.step.variant}_leg", flex=-0.1 * down, knee=1.45 * down, toe=1.5 * down)
    track.add(f"{track.other}_leg", flex=1.65 * down, knee=1.65 * down)
    track.add("spine", pitch=0.12 * down * track.step.amplitude)
    track.add(f"{track.other}_arm", flex=0.5 * down, elbow=0.7 * down)


def lift_leg(track: Track) -> None:
    """Stand on one leg with the knee of the other raised in front."""
    lift = track.hold(0.3, 0.3)
    track.add(f"{track.step.variant}_leg", flex=1.35 * lift * track.step.amplitude, knee=1.45 * lift)
    for limb in ("left", "right"):
        track.add(f"{limb}_arm", abduct=0.35 * lift, elbow=0.2 * lift)
    track.add("pelvis", roll=0.05 * track.side * lift)


def bow(track: Track) -> None:
    """Bend the trunk forward from the hips and straighten up."""
    down = track.hold(0.4, 0.4) * track.step.amplitude
    track.add("pelvis", pitch=0.55 * down)
    track.add("spine", pitch=0.55 * down)
    track.add("head", pitch=0.15 * down)
    for limb in ("left", "right"):
        track.add(f"{limb}_arm", flex=0.75 * down)
        track.add(f"{limb}_leg", flex=0.1 * down)


def bend(track: Track) -> None:
    """Bend the trunk to one side and straighten up."""
    lean = track.hold(0.4, 0.4) * track.step.amplitude * -track.side
    track.add("pelvis", roll=0.12 * lean)
    track.add("spine", roll=0.6 * lean)
    track.add("head", twist=-0.1 * lean)
    track.add(f"{track.other}_arm", abduct=0.25 * np.abs(lean))


def spread(track: Track) -> None:
    """Open both arms wide to the sides and close them."""
    rise = track.hold(0.38, 0.38)
    for limb in ("left", "right"):
        track.add(f"{limb}_arm", abduct=1.4 * rise * track.step.amplitude**0.5, elbow=-0.15 * rise)
    track.add("spine", pitch=-0.1 * rise)


def drink(track: Track) -> None:
    """Bring one hand to the mouth, tip the head back and put the hand down."""
    rise = track.hold(0.35, 0.35)
    track.add(f"{track.step.variant}_arm", flex=0.75 * rise, elbow=2.05 * rise, twist=-0.55 * rise, abduct=0.15 * rise)
    track.add("head", pitch=-0.3 * track.keys((0.35, 0.5, 0.65), (0.0, 1.0, 0.0)) * track.step.amplitude)


def catch(track: Track) -> None:
    """Reach out with both hands at chest height and draw them in to the body."""
    reach = track.keys((0.35, 0.45, 0.65), (1.0, 1.0, 0.0))
    hold = track.keys((0.4, 0.65, 0.75), (0.0, 1.0, 1.0))
    for limb in ("left", "right"):
        track.add(
            f"{limb}_arm",
            flex=1.45 * reach * track.step.amplitude**0.5 + 0.2 * hold,
            elbow=0.05 * reach + 1.7 * hold,
            twist=-0.15 * reach - 0.6 * hold,
        )
    track.add("spine", pitch=0.15 * reach)
