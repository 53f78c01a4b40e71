"""What an action may be called, depending on its measurements.

The template language is that of the synthetic captions: ``*verb`` takes the form that the sentence needs, ``*verb+`` is
always the -ing form, ``word~TAG`` overrides a part of speech. ``!`` ends the word that names the action; ``{the}`` is a
possessive, ``{side}`` the side that acts.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from m2t_fast.data.synthetic.words import LEXICON
from m2t_fast.preparation.bandai_namco.contents import Action
from m2t_fast.preparation.bandai_namco.measures import Arm

Weighted = tuple[int, str]
"""How often a template is taken among those that fit, and the template."""

WORDS = LEXICON.extended(
    {
        "DET": "an this another some",
        "PRON": "it them they he",
        "NUM": "three four five ninety",
        "NOUN": "head shoulder chest ear mouth waist side way manner pace speed energy child kid mood lady giant thug "
        "gangster actor stage musical music degree height goodbye farewell response stance pride confidence swagger "
        "sword front body dance kick punch turn bow quarter lot level reverse routine person",
        "ADJ": "slow quick steady full deep slight happy cheerful sad angry proud timid manly masculine tough feminine "
        "little old elderly tired exhausted active young youthful lively high upper few spinning big fighting several",
        "ADV": "forwards briskly then first again repeatedly diagonally deeply slightly upright upward downward there "
        "out happily cheerfully joyfully sadly gloomily angrily furiously aggressively proudly confidently timidly "
        "hesitantly nervously shyly gracefully elegantly childishly playfully wearily tiredly energetically "
        "vigorously rhythmically heavily roughly rudely youthfully once",
        "ADP": "at over above of for like by without",
        "SCONJ": "while as if",
        "PART": "",
    },
    plurals={
        **{"shoulders": "shoulder", "circles": "circle", "degrees": "degree", "punches": "punch", "kicks": "kick"},
        **{"feet": "foot"},
    },
    ing={
        **{"stride": "striding", "dance": "dancing", "bring": "bringing", "cup": "cupping", "swing": "swinging"},
        **{"put": "putting", "spin": "spinning", "use": "using", "shake": "shaking", "gesture": "gesturing"},
        **{"guide": "guiding", "continue": "continuing", "strike": "striking", "cut": "cutting", "lie": "lying"},
        **{"pace": "pacing", "jab": "jabbing"},
    },
    third={
        **{"dash": "dashes", "rush": "rushes", "stretch": "stretches", "slash": "slashes", "reach": "reaches"},
        **{"finish": "finishes", "say": "says"},
    },
)
"""The words of the captions."""

STYLES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "normal": ((), ()),
    "happy": (("happily", "cheerfully", "joyfully"), ("in a happy mood", "in a cheerful way")),
    "sad": (("sadly", "gloomily"), ("in a sad mood", "in a sad way")),
    "angry": (("angrily", "furiously", "aggressively"), ("in an angry manner", "in an angry mood")),
    "proud": (("proudly", "confidently"), ("with pride", "in a proud manner")),
    "not-confident": (("timidly", "hesitantly", "nervously", "shyly"), ("without confidence", "in a timid way")),
    "masculine": ((), ("in a manly way", "in a masculine manner", "like a tough man")),
    "feminine": (("gracefully", "elegantly"), ("in a feminine way", "in a feminine manner", "like a lady")),
    "childish": (("childishly", "playfully"), ("like a child", "like a little kid")),
    "elderly": ((), ("like an old person", "like an elderly person")),
    "tired": (("tiredly", "wearily"), ("as if tired", "in a tired manner")),
    "exhausted": (("wearily", "tiredly"), ("as if exhausted", "with little energy")),
    "active": (("energetically", "vigorously"), ("with a lot of energy", "in an active manner")),
    "musical": (("rhythmically",), ("as if in a musical", "like an actor on a stage")),
    "giant": (("heavily",), ("like a giant", "like a big giant")),
    "chimpira": (("roughly", "rudely"), ("like a thug", "like a gangster", "with swagger")),
    "youthful": (("youthfully",), ("like a young person", "in a youthful way", "in a lively manner")),
}
STYLES |= {"masculinity": STYLES["masculine"], "old": STYLES["elderly"]}
"""Style label -> adverbs, and phrases that follow the rest."""

_SPEEDS: dict[str, tuple[float, float]] = {
    **{"walk": (0.8, 1.4), "aside": (0.8, 1.4), "turn": (0.8, 1.4), "back": (0.62, 1.05), "run": (1.75, 2.9)}
}
"""Metres per second below which a kind is slow and above which it is fast."""


def pace_of(action: Action) -> str:
    """ "slow", "fast" or ""."""
    slow, fast = _SPEEDS.get(action.kind, (0.0, float("inf")))
    speed = action.measures.speed
    return "slow" if speed < slow else "fast" if speed > fast else ""


def paces(action: Action) -> tuple[str, ...]:
    """Words for how fast an action is; () where that is not worth saying."""
    pace = pace_of(action)
    if action.kind in _SPEEDS:
        if action.kind == "walk" and pace == "fast":
            return "quickly", "fast~ADV", "briskly", "at a fast~ADJ pace"
        if action.kind == "run" and action.measures.speed > 3.2:
            return "fast~ADV", "at full speed", "quickly"
        return {"slow": ("slowly", "at a slow pace"), "fast": ("quickly", "fast~ADV", "at a fast~ADJ pace")}.get(
            pace, ()
        )
    arm = _lead(action)
    if action.kind == "raise":
        return ("quickly",) if arm.fastest > 3.2 else ("slowly",) if arm.fastest < 1.5 else ()
    if action.kind in ("wave", "bye"):
        return ("quickly",) if arm.rate > 1.6 else ("slowly",) if arm.rate < 0.8 else ()
    return ()


def templates(action: Action, dice: random.Random) -> list[Weighted]:
    """The templates that fit an action; some parts of them are drawn."""
    return list(_OF_KIND[action.kind](action, dice))


def _side(action: Action) -> str:
    return "left" if action.content.endswith("left") else "right"


def _lead(action: Action) -> Arm:
    """The acting arm; of two the lower one, so that the phrase is true of both."""
    return min((action.measures.arms[side] for side in action.hands), key=lambda arm: arm.top)


def _hands(action: Action, dice: random.Random) -> str:
    hands = action.hands
    if len(hands) == 2:
        return dice.choice(("both hands", "both arms", "both of {the} hands", "both {the} arms"))
    return dice.choice(("{the} {side} hand", "{the} {side} hand", "{the} {side} arm")).replace("{side}", hands[0])


def _steps(action: Action) -> str:
    return "a few" if action.measures.steps <= 4 else "several"


def _walk(action: Action, dice: random.Random) -> Iterator[Weighted]:
    measures, pace = action.measures, pace_of(action)
    straight = measures.straight > 0.96 and abs(measures.turn) < 15
    ahead = dice.choice(
        ("forward", "forward", "forward", "forwards", "ahead", *(["straight ahead"] if straight else []))
    )
    line = " in a straight~ADJ line" if straight and ahead.startswith("forward") and dice.random() < 0.25 else ""
    yield 8, f"*walk! {ahead}{line}"
    if measures.steps >= 3:
        yield 2, f"*walk! {_steps(action)} steps {ahead}"
        yield 2, f"*take {_steps(action)} steps! {ahead}"
    if pace:
        yield 1, f"{'*stroll!' if pace == 'slow' else '*stride!'} {ahead}"


def _run(action: Action, dice: random.Random) -> Iterator[Weighted]:
    speed, ahead = action.measures.speed, dice.choice(("forward", "forward", "forwards", "ahead", "straight ahead"))
    yield 7, f"*run! {ahead}"
    if action.content == "dash":
        yield 3, f"*dash! {ahead}"
    if speed > 3.0:
        yield 3, f"*sprint! {ahead}"
    if speed < 2.5:
        yield 4, f"*jog! {ahead}"


def _back(action: Action, dice: random.Random) -> Iterator[Weighted]:
    back = dice.choice(("backward", "backwards"))
    yield 5, f"*walk! {back}"
    yield 2, f"*step! {back}"
    yield 1, f"*move! {back}"
    yield 1, "*walk! in reverse"
    if action.measures.steps >= 3:
        yield 2, f"*take {_steps(action)} steps! {back}"


def _aside(action: Action, dice: random.Random) -> Iterator[Weighted]:
    side, measures = _side(action), action.measures
    if abs(measures.leftward) < 1.2 * measures.forward:  # less than 50 degrees from straight ahead
        yield 3, f"*walk! diagonally forward to the {side}~NOUN"
        yield 3, f"*walk! forward and to the {side}~NOUN"
        yield 2, f"*move! diagonally to the {side}~NOUN"
    yield 2, f"*walk! to the {side}~NOUN"
    if abs(measures.leftward) > 1.7 * measures.forward:
        yield 2, f"*walk! sideways to the {side}~NOUN"


def _turn(action: Action, dice: random.Random) -> Iterator[Weighted]:
    side = _side(action)
    yield 3, f"*turn! {side}~ADV"
    yield 4, f"*turn! to the {side}~NOUN"
    yield 2, f"*make a {side} turn!~NOUN"
    if 72 < abs(action.measures.turn) < 108:
        yield 2, f"*turn! ninety degrees to the {side}~NOUN"


def _raise(action: Action, dice: random.Random) -> Iterator[Weighted]:
    arm, hands = _lead(action), _hands(action, dice)
    it = "them" if len(action.hands) == 2 else "it"
    heights = {
        "above": ("above {the} head", "over {the} head", "high~ADV up", "high~ADV in the air"),
        "head": ("to head height", "up to {the} head", "up to the level of {the} head"),
        "shoulder": ("to shoulder height", f"up to {{the}} shoulder{'s' if it == 'them' else ''}"),
    }.get(arm.level, ("to chest height", "up to {the} chest"))
    high = " " + dice.choice(heights) if dice.random() < 0.6 else dice.choice(("", " up"))
    then = ""
    if arm.lowers and dice.random() < 0.5:
        then = dice.choice((f" and then *lower {it}", f" and *lower {it} again", f" and *bring {it} back down"))
    elif arm.held > 1.0 and dice.random() < 0.3:
        then = f" and *hold {it} there"
    yield 6, f"*raise! {hands}{high}{then}"
    yield 3, f"*lift! {hands}{high}{then}"
    yield 1, f"*put! {hands} up{then}"


def _respond(action: Action, dice: random.Random) -> Iterator[Weighted]:
    hand = f"{{the}} {action.parts[0].removesuffix('_arm')} hand"
    yield 2, f"*raise! {hand} above {{the}} head in response"
    yield 2, f"*raise! {hand} high~ADV up to~PART *answer someone"
    yield 1, f"*respond! by *raise+ {hand}"


def _wave(action: Action, dice: random.Random) -> Iterator[Weighted]:
    arm, hands = _lead(action), _hands(action, dice)
    it = "them" if len(action.hands) == 2 else "it"
    over = dice.choice((" above {the} head", " over {the} head", "", "")) if arm.level == "above" else ""
    often = max(action.measures.arms[side].cycles for side in action.hands) >= 4
    again = dice.choice((" several times", " repeatedly", "", "")) if often else ""
    if action.kind == "bye":
        yield 5, f"*wave! goodbye with {hands}{again}"
        yield 3, f"*wave! {hands}{over} to~PART *say goodbye"
        yield 1, f"*wave! farewell with {hands}"
    else:
        yield 5, f"*wave! {hands}{over}{again}"
        yield 3, f"*wave! with {hands}{again}"
        yield 1, f"*wave! to someone with {hands}"
        if arm.swing > 0.08:
            yield 2, f"*swing! {hands} from side to side{over}"
    if arm.rises:
        yield 3, f"*raise {hands}{over} and *wave! {it}{again}"


def _bow(action: Action, dice: random.Random) -> Iterator[Weighted]:
    trunk = action.measures.trunk
    how, deep = (" deeply", "deep ") if trunk > 60 else (" slightly", "slight ") if trunk < 32 else ("", "")
    ends = (" and then *stand back up", " and *straighten up", " and then *stand upright again")
    up = dice.choice(ends) if action.measures.upright_end and dice.random() < 0.45 else ""
    yield 4, f"*bow!{how}{up}"
    yield 2, f"*bow! forward{how}{up}"
    yield 2, f"*take a {deep}bow!~NOUN{up}"
    yield 2, f"*bend! forward{how} at the waist{up}"


def _guide(action: Action, dice: random.Random) -> Iterator[Weighted]:
    hands, arm = _hands(action, dice), min((action.measures.arms[s] for s in action.hands), key=lambda arm: arm.ahead)
    where = " forward" if arm.ahead > 0.22 else ""
    if not where and arm.outwards > 0.25 and len(action.hands) == 1:
        where = f" to the {action.hands[0]}~NOUN"
    yield 3, f"*gesture!{where} with {hands}"
    yield 2, f"*point!{where} with {hands}"
    yield 2, f"*show! the way with {hands}"
    yield 2, f"*guide! someone with {hands}"
    yield 2, f"*raise {hands} to~PART *show! the way"


def _call(action: Action, dice: random.Random) -> Iterator[Weighted]:
    if action.take.endswith("001"):  # the two takes differ: a hand at the ear, or both at the mouth
        tops = {side: arm.top for side, arm in action.measures.arms.items()}
        ear = f"{{the}} {max(tops, key=lambda side: tops[side])} hand"
        yield 1, f"*call! out to someone while *lean+ forward and then *lift {ear} to {{the}} ear"
        yield 1, f"*lean forward as if *call+! someone and then *raise {ear} to {{the}} ear"
    else:
        yield 2, "*call! out with both hands around~ADP {the} mouth"
        yield 1, "*cup {the} hands around~ADP {the} mouth and *shout!"


def _punch(action: Action, dice: random.Random) -> Iterator[Weighted]:
    count, side = len(action.strokes), action.strokes[0] if action.strokes else "right"
    times = {0: "", 1: "", 2: " twice", 3: " three times"}.get(count, " several times")
    number = {2: "two", 3: "three", 4: "four", 5: "five"}.get(count, "several")
    several = "a punch!~NOUN" if count <= 1 else f"{number} punches!"
    yield 3, f"*punch!{times} with {{the}} {side} hand"
    yield 3, f"*throw {several} with {{the}} {side} hand"
    yield 2, f"*punch! forward{times} with {{the}} {side} fist"
    yield 1, f"*stand in a fighting stance and *throw {several} with {{the}} {side} arm"


def _kick(action: Action, dice: random.Random) -> Iterator[Weighted]:
    side = action.strokes[0]
    yield 3, f"*spin around and *kick! with {{the}} {side} leg"
    yield 3, f"*kick! high~ADV with {{the}} {side} leg while *spin+ around"
    yield 3, f"*do a spinning kick!~NOUN with {{the}} {side} leg"
    yield 2, f"*turn in a full circle and *kick! with {{the}} {side} foot"


def _slash(action: Action, dice: random.Random) -> Iterator[Weighted]:
    way = "upward" if action.take.endswith("002") else "downward"  # the two takes differ
    yield 3, f"*swing! both hands {way} as if *hold+ a sword"
    yield 3, f"*slash! {way} as if *use+ a sword"
    yield 2, f"*step forward and *slash! {way} with both hands"


def _dance(action: Action, dice: random.Random) -> Iterator[Weighted]:
    yield 2, "*dance!"
    yield 2, "*dance! around"
    yield 1, "*dance! to music"
    yield 1, "*do a dance!~NOUN routine"
    if action.measures.spin > 300:
        yield 6, "*dance! while *spin+ in circles"
    elif action.measures.spin > 150:
        yield 3, "*dance! and *turn around"


_OF_KIND: dict[str, Callable[[Action, random.Random], Iterator[Weighted]]] = {
    **{"walk": _walk, "run": _run, "back": _back, "aside": _aside, "turn": _turn, "raise": _raise, "bow": _bow},
    **{"respond": _respond, "wave": _wave, "bye": _wave, "guide": _guide, "call": _call, "punch": _punch},
    **{"kick": _kick, "slash": _slash, "dance": _dance},
}
