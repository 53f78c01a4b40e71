"""Skeletons of every naming scheme on bodies of random proportions, with a forward kinematics of their own.

A scheme lists its joints as ``parent > name @ place``: ``place`` is a point of the body, and ``?`` in a name or a place
stands for the side. Extra joints (fingers, twists, faces) have places of their own near the joint they hang on.
"""

# ruff: noqa: E501

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

# Sides as a scheme writes them.
LONG, SHORT, UPPER, DOT, LOW = ("Left", "Right"), ("l", "r"), ("L", "R"), (".L", ".R"), ("_l", "_r")

HUMANIK_ARMS = """
{top} > ?Shoulder @ collar; ?Shoulder > ?Arm @ shoulder; ?Arm > ?ForeArm @ elbow; ?ForeArm > ?Hand @ wrist
?Hand > ?HandThumb1 @ thumb; ?Hand > ?HandIndex1 @ knuckle; ?HandIndex1 > ?HandIndex2 @ fingertip
"""
HUMANIK_LEGS = "Hips > ?UpLeg @ hip; ?UpLeg > ?Leg @ knee; ?Leg > ?Foot @ ankle; ?Foot > ?{toe} @ ball"
JOINT_ARMS = (
    "{top} > ?Collar @ collar; ?Collar > ?Shoulder @ shoulder; ?Shoulder > ?Elbow @ elbow; ?Elbow > ?Wrist @ wrist"
)
JOINT_LEGS = "Hips > ?Hip @ hip; ?Hip > ?Knee @ knee; ?Knee > ?Ankle @ ankle; ?Ankle > ?Toe @ ball"


def _chain(*names: str) -> str:
    """``a@x``, ``b@y``: each hangs on the one before."""
    pairs = [name.split("@") for name in names]
    return ";".join(f"{a} > {b} @ {place}" for (a, _), (b, place) in zip(pairs[:-1], pairs[1:], strict=True))


SCHEMES: dict[str, tuple[tuple[str, str], str, str]] = {
    "Mixamo": (
        LONG,
        "mixamorig:Hips",
        _chain("Hips@pelvis", "Spine@s20", "Spine1@s43", "Spine2@s69", "Neck@neck", "Head@head", "HeadTop_End@crown")
        + HUMANIK_ARMS.format(top="Spine2")
        + HUMANIK_LEGS.format(toe="ToeBase")
        + "; ?ToeBase > ?Toe_End @ tip; Head > ?Eye @ eye",
    ),
    "LaFAN1": (
        LONG,
        "Hips",
        HUMANIK_LEGS.format(toe="Toe")
        + ";" + _chain("Hips@pelvis", "Spine@s15", "Spine1@s40", "Spine2@s60", "Neck@neck", "Head@head")
        + HUMANIK_ARMS.format(top="Spine2"),
    ),
    "CMU, MotionBuilder-friendly": (
        LONG,
        "Hips",
        "Hips > LHipJoint @ pelvis; LHipJoint > LeftUpLeg @ Lhip; Hips > RHipJoint @ pelvis; RHipJoint > RightUpLeg @ Rhip;"
        "?UpLeg > ?Leg @ knee; ?Leg > ?Foot @ ankle; ?Foot > ?ToeBase @ ball;"
        + _chain("Hips@pelvis", "LowerBack@pelvis", "Spine@s25", "Spine1@s50", "Neck@s75", "Neck1@neck", "Head@head")
        + "; Spine1 > ?Shoulder @ s75; ?Shoulder > ?Arm @ shoulder; ?Arm > ?ForeArm @ elbow; ?ForeArm > ?Hand @ wrist;"
        "?Hand > ?FingerBase @ wrist; ?FingerBase > ?HandIndex1 @ fingertip; ?Hand > ?Thumb @ wrist",
    ),
    "CMU, Daz-friendly": (
        SHORT,
        "hip",
        "hip > ?Buttock @ pelvis; ?Buttock > ?Thigh @ hip; ?Thigh > ?Shin @ knee; ?Shin > ?Foot @ ankle; ?Foot > ?Toe @ ball;"
        + _chain("hip@pelvis", "abdomen@s25", "chest@s60", "neck@neck", "head@head")
        + "; head > leftEye @ Leye; head > rightEye @ Reye; chest > ?Collar @ collar; ?Collar > ?Shldr @ shoulder;"
        "?Shldr > ?ForeArm @ elbow; ?ForeArm > ?Hand @ wrist; ?Hand > ?Thumb1 @ thumb; ?Hand > ?Index1 @ knuckle",
    ),
    "CMU, 3dsMax-friendly": (
        LONG,
        "Hips",
        JOINT_LEGS + ";" + _chain("Hips@pelvis", "Chest@s30", "Chest2@s55", "Neck@neck", "Head@head") + ";"
        + JOINT_ARMS.format(top="Chest2"),
    ),
    "Bandai-Namco": (
        ("_L", "_R"),
        "joint_Root",
        "joint_Root > Hips @ pelvis;" + _chain("Hips@pelvis", "Spine@s24", "Chest@s50", "Neck@neck", "Head@head")
        + "; Chest > Shoulder? @ collar; Shoulder? > UpperArm? @ shoulder; UpperArm? > LowerArm? @ elbow;"
        "LowerArm? > Hand? @ wrist; Hips > UpperLeg? @ hip; UpperLeg? > LowerLeg? @ knee; LowerLeg? > Foot? @ ankle;"
        "Foot? > Toes? @ ball",
    ),
    "Xsens": (
        LONG,
        "Hips",
        _chain("Hips@pelvis", "Chest@s20", "Chest2@s40", "Chest3@s55", "Chest4@s70", "Neck@neck", "Head@head")
        + ";" + JOINT_ARMS.format(top="Chest4") + ";" + JOINT_LEGS,
    ),
    "Xsens MVN": (
        LONG,
        "Pelvis",
        _chain("Pelvis@pelvis", "L5@s15", "L3@s35", "T12@s50", "T8@s70", "Neck@neck", "Head@head")
        + "; T8 > ?Shoulder @ collar; ?Shoulder > ?UpperArm @ shoulder; ?UpperArm > ?ForeArm @ elbow; ?ForeArm > ?Hand @ wrist;"
        "Pelvis > ?UpperLeg @ hip; ?UpperLeg > ?LowerLeg @ knee; ?LowerLeg > ?Foot @ ankle; ?Foot > ?Toe @ ball",
    ),
    "Perception Neuron": (
        LONG,
        "Hips",
        "Hips > ?UpLeg @ hip; ?UpLeg > ?Leg @ knee; ?Leg > ?Foot @ ankle;"
        + _chain("Hips@pelvis", "Spine@s15", "Spine1@s35", "Spine2@s50", "Spine3@s70", "Neck@neck", "Head@head")
        + "; Spine3 > ?Shoulder @ collar; ?Shoulder > ?Arm @ shoulder; ?Arm > ?ForeArm @ elbow; ?ForeArm > ?Hand @ wrist;"
        "?Hand > ?HandThumb1 @ thumb; ?Hand > ?InHandIndex @ knuckle; ?InHandIndex > ?HandIndex1 @ fingertip;"
        "?Hand > ?InHandMiddle @ knuckle2; ?InHandMiddle > ?HandMiddle1 @ fingertip2",
    ),
    "Axis": (
        LONG,
        "Hips",
        "Hips > ?UpLeg @ hip; ?UpLeg > ?Leg @ knee; ?Leg > ?Foot @ ankle;"
        + _chain("Hips@pelvis", "Spine@s20", "Spine1@s45", "Spine2@s65", "Neck@neck", "Neck1@s105", "Head@head")
        + "; Spine2 > ?Shoulder @ collar; ?Shoulder > ?Arm @ shoulder; ?Arm > ?ForeArm @ elbow; ?ForeArm > ?Hand @ wrist",
    ),
    "Rokoko": (
        LONG,
        "Hips",
        _chain("Hips@pelvis", "Spine1@s15", "Spine2@s35", "Spine3@s50", "Spine4@s70", "Neck@neck", "Head@head")
        + HUMANIK_ARMS.format(top="Spine4")
        + "; Hips > ?Thigh @ hip; ?Thigh > ?Shin @ knee; ?Shin > ?Foot @ ankle; ?Foot > ?Toe @ ball",
    ),
    "DAZ Genesis": (
        SHORT,
        "hip",
        "hip > pelvis @ pelvis; pelvis > ?ThighBend @ hip; ?ThighBend > ?ThighTwist @ midthigh; ?ThighTwist > ?Shin @ knee;"
        "?Shin > ?Foot @ ankle; ?Foot > ?Metatarsals @ instep; ?Metatarsals > ?Toe @ ball; ?Toe > ?BigToe @ tip;"
        + _chain("hip@pelvis", "abdomenLower@s10", "abdomenUpper@s30", "chestLower@s45", "chestUpper@s65", "neckLower@neck")
        + ";" + _chain("neckLower@neck", "neckUpper@s105", "head@head") + "; head > lowerJaw @ jaw;"
        "chestLower > ?Pectoral @ breast; chestUpper > ?Collar @ collar; ?Collar > ?ShldrBend @ shoulder;"
        "?ShldrBend > ?ShldrTwist @ midarm; ?ShldrTwist > ?ForearmBend @ elbow; ?ForearmBend > ?ForearmTwist @ midforearm;"
        "?ForearmTwist > ?Hand @ wrist; ?Hand > ?Thumb1 @ thumb; ?Hand > ?Carpal1 @ knuckle",
    ),
    "Poser": (
        SHORT,
        "hip",
        "hip > ?Thigh @ hip; ?Thigh > ?Shin @ knee; ?Shin > ?Foot @ ankle; ?Foot > ?Toe @ ball;"
        + _chain("hip@pelvis", "abdomen@s20", "chest@s50", "neck@neck", "head@head") + "; chest > ?Collar @ collar;"
        "?Collar > ?Shldr @ shoulder; ?Shldr > ?ForeArm @ elbow; ?ForeArm > ?Hand @ wrist",
    ),
    "MakeHuman": (
        DOT,
        "root",
        "root > pelvis? @ hipside; pelvis? > upperleg01? @ hip; upperleg01? > upperleg02? @ midthigh;"
        "upperleg02? > lowerleg01? @ knee; lowerleg01? > lowerleg02? @ midshin; lowerleg02? > foot? @ ankle;"
        "foot? > toe1-1? @ ball1; foot? > toe2-1? @ ball2; foot? > toe3-1? @ ball; foot? > toe4-1? @ ball4; foot? > toe5-1? @ ball5;"
        + _chain("root@pelvis", "spine05@s10", "spine04@s25", "spine03@s40", "spine02@s60", "spine01@s75", "neck01@neck")
        + ";" + _chain("neck01@neck", "neck02@s103", "neck03@s106", "head@head") + "; head > jaw @ jaw; spine02 > breast? @ breast;"
        "spine01 > clavicle? @ collar; clavicle? > shoulder01? @ midcollar; shoulder01? > upperarm01? @ shoulder;"
        "upperarm01? > upperarm02? @ midarm; upperarm02? > lowerarm01? @ elbow; lowerarm01? > lowerarm02? @ midforearm;"
        "lowerarm02? > wrist? @ wrist; wrist? > finger1-1? @ thumb; wrist? > metacarpal1? @ knuckle; metacarpal1? > finger2-1? @ fingertip",
    ),
    "3ds Max Biped": (
        UPPER,
        "Bip01",
        "Bip01 > Bip01 Pelvis @ pelvis;"
        + _chain("Bip01 Pelvis@pelvis", "Bip01 Spine@s15", "Bip01 Spine1@s40", "Bip01 Spine2@s65", "Bip01 Neck@neck", "Bip01 Head@head")
        + "; Bip01 Spine > Bip01 ? Thigh @ hip; Bip01 ? Thigh > Bip01 ? Calf @ knee; Bip01 ? Calf > Bip01 ? Foot @ ankle;"
        "Bip01 ? Foot > Bip01 ? Toe0 @ ball; Bip01 Neck > Bip01 ? Clavicle @ collar; Bip01 ? Clavicle > Bip01 ? UpperArm @ shoulder;"
        "Bip01 ? UpperArm > Bip01 ? Forearm @ elbow; Bip01 ? Forearm > Bip01 ? Hand @ wrist; Bip01 ? Hand > Bip01 ? Finger0 @ thumb;"
        "Bip01 Spine > Bip01 Tail @ tail",
    ),
    "Unreal": (
        LOW,
        "root",
        "root > pelvis @ pelvis;" + _chain("pelvis@pelvis", "spine_01@s15", "spine_02@s40", "spine_03@s65", "neck_01@neck", "head@head")
        + "; spine_03 > clavicle? @ collar; clavicle? > upperarm? @ shoulder; upperarm? > lowerarm? @ elbow; upperarm? > upperarm_twist_01? @ midarm;"
        "lowerarm? > hand? @ wrist; lowerarm? > lowerarm_twist_01? @ midforearm; hand? > thumb_01? @ thumb; hand? > index_01? @ knuckle;"
        "pelvis > thigh? @ hip; thigh? > calf? @ knee; thigh? > thigh_twist_01? @ midthigh; calf? > calf_twist_01? @ midshin;"
        "calf? > foot? @ ankle; foot? > ball? @ ball; root > ik_foot_root @ floor; ik_foot_root > ik_foot? @ ankle;"
        "root > ik_hand_root @ floor; ik_hand_root > ik_hand_gun @ Rwrist",
    ),
    "VRM": (
        UPPER,
        "Root",
        "Root > J_Bip_C_Hips @ pelvis;"
        + _chain("J_Bip_C_Hips@pelvis", "J_Bip_C_Spine@s15", "J_Bip_C_Chest@s40", "J_Bip_C_UpperChest@s65", "J_Bip_C_Neck@neck", "J_Bip_C_Head@head")
        + "; J_Bip_C_UpperChest > J_Bip_?_Shoulder @ collar; J_Bip_?_Shoulder > J_Bip_?_UpperArm @ shoulder;"
        "J_Bip_?_UpperArm > J_Bip_?_LowerArm @ elbow; J_Bip_?_LowerArm > J_Bip_?_Hand @ wrist; J_Bip_?_Hand > J_Bip_?_Thumb1 @ thumb;"
        "J_Bip_C_Hips > J_Bip_?_UpperLeg @ hip; J_Bip_?_UpperLeg > J_Bip_?_LowerLeg @ knee; J_Bip_?_LowerLeg > J_Bip_?_Foot @ ankle;"
        "J_Bip_?_Foot > J_Bip_?_ToeBase @ ball; J_Bip_C_Head > J_Sec_Hair1 @ crown; J_Bip_C_UpperChest > J_Sec_?_Bust1 @ breast",
    ),
    "100STYLE": (
        LONG,
        "Hips",
        _chain("Hips@pelvis", "Chest@s20", "Chest2@s40", "Chest3@s55", "Chest4@s70", "Neck@neck", "Head@head")
        + ";" + JOINT_ARMS.format(top="Chest4") + ";" + JOINT_LEGS,
    ),
    "SMPL": (
        ("L_", "R_"),
        "m_avg_root",
        "m_avg_root > m_avg_Pelvis @ pelvis; m_avg_Pelvis > m_avg_?Hip @ hip; m_avg_?Hip > m_avg_?Knee @ knee;"
        "m_avg_?Knee > m_avg_?Ankle @ ankle; m_avg_?Ankle > m_avg_?Foot @ ball;"
        + _chain("m_avg_Pelvis@pelvis", "m_avg_Spine1@s24", "m_avg_Spine2@s50", "m_avg_Spine3@s60", "m_avg_Neck@neck", "m_avg_Head@head")
        + "; m_avg_Spine3 > m_avg_?Collar @ collar; m_avg_?Collar > m_avg_?Shoulder @ shoulder; m_avg_?Shoulder > m_avg_?Elbow @ elbow;"
        "m_avg_?Elbow > m_avg_?Wrist @ wrist; m_avg_?Wrist > m_avg_?Hand @ knuckle",
    ),
    "BEAT and ZEGGS": (  # LeftForeFoot is the middle of the foot
        LONG,
        "Hips",
        _chain("Hips@pelvis", "Spine@s12", "Spine1@s30", "Spine2@s50", "Spine3@s72", "Neck@neck", "Neck1@s105", "Head@head")
        + HUMANIK_ARMS.format(top="Spine3")
        + "Hips > ?UpLeg @ hip; ?UpLeg > ?Leg @ knee; ?Leg > ?Foot @ ankle; ?Foot > ?ForeFoot @ instep;"
        "?ForeFoot > ?ToeBase @ ball; ?ToeBase > ?ToeBaseEnd @ tip",
    ),
    "Second Life": (  # spine1 to spine4 are folded away, foot and toe are ball and tip
        LONG,
        "mPelvis",
        _chain("mPelvis@pelvis", "mSpine1@pelvis", "mSpine2@pelvis", "mTorso@s20", "mSpine3@s20", "mSpine4@s20", "mChest@s55")
        + ";" + _chain("mChest@s55", "mNeck@neck", "mHead@head", "mFaceJaw@jaw")
        + "; mChest > mCollar? @ collar; mCollar? > mShoulder? @ shoulder; mShoulder? > mElbow? @ elbow; mElbow? > mWrist? @ wrist;"
        "mWrist? > mHandThumb1? @ thumb; mPelvis > mHip? @ hip; mHip? > mKnee? @ knee; mKnee? > mAnkle? @ ankle;"
        "mAnkle? > mFoot? @ ball; mFoot? > mToe? @ tip; mPelvis > mTail1 @ tail",
    ),
    "Kinect": (  # the shoulders meet at the lower end of the neck, and there are no collars
        LONG,
        "HipCenter",
        "HipCenter > Spine @ s25; Spine > ShoulderCenter @ neck; ShoulderCenter > Head @ head; ShoulderCenter > Shoulder? @ shoulder;"
        "Shoulder? > Elbow? @ elbow; Elbow? > Wrist? @ wrist; Wrist? > Hand? @ knuckle; HipCenter > Hip? @ hip; Hip? > Knee? @ knee;"
        "Knee? > Ankle? @ ankle; Ankle? > Foot? @ ball",
    ),
    "3ds Max Biped with nubs": (
        UPPER,
        "Bip001",
        "Bip001 > Bip001 Pelvis @ pelvis;"
        + _chain("Bip001 Pelvis@pelvis", "Bip001 Spine@s15", "Bip001 Spine1@s60", "Bip001 Neck@neck", "Bip001 Head@head", "Bip001 HeadNub@crown")
        + "; Bip001 Pelvis > Bip001 ? Thigh @ hip; Bip001 ? Thigh > Bip001 ? Calf @ knee; Bip001 ? Calf > Bip001 ? Foot @ ankle;"
        "Bip001 ? Foot > Bip001 ? Toe0 @ ball; Bip001 ? Toe0 > Bip001 ? Toe0Nub @ tip; Bip001 Neck > Bip001 ? Clavicle @ collar;"
        "Bip001 ? Clavicle > Bip001 ? UpperArm @ shoulder; Bip001 ? UpperArm > Bip001 ? Forearm @ elbow; Bip001 ? Forearm > Bip001 ? Hand @ wrist",
    ),
    "Cesium's man": (  # two neck joints and no head
        UPPER,
        "Skeleton_torso_joint_1",
        _chain("Skeleton_torso_joint_1@pelvis", "Skeleton_torso_joint_2@s30", "torso_joint_3@s70", "Skeleton_neck_joint_1@neck")
        + "; Skeleton_neck_joint_1 > Skeleton_neck_joint_2 @ head; Skeleton_torso_joint_1 > leg_joint_?_1 @ hip; leg_joint_?_1 > leg_joint_?_2 @ knee;"
        "leg_joint_?_2 > leg_joint_?_3 @ ankle; leg_joint_?_3 > leg_joint_?_5 @ ball; torso_joint_3 > Skeleton_arm_joint_?__4_ @ shoulder;"
        "Skeleton_arm_joint_?__4_ > Skeleton_arm_joint_?__3_ @ elbow; Skeleton_arm_joint_?__3_ > Skeleton_arm_joint_?__2_ @ wrist",
    ),
    "Auto-Rig Pro controls": (  # every limb begins with its twist; fk says nothing
        (".l", ".r"),
        "c_traj",
        "c_traj > c_root.x @ pelvis;" + _chain("c_root.x@pelvis", "c_spine_01.x@s18", "c_spine_02.x@s48", "c_neck.x@neck", "c_head.x@head")
        + "; c_root.x > c_thigh_fk? @ hip; c_thigh_fk? > c_leg_fk? @ knee; c_leg_fk? > c_foot_fk? @ ankle; c_foot_fk? > c_toes_fk? @ ball;"
        "c_spine_02.x > c_shoulder? @ collar; c_shoulder? > arm_twist? @ shoulder; arm_twist? > arm_stretch? @ midarm;"
        "arm_stretch? > forearm_stretch? @ elbow; forearm_stretch? > forearm_twist? @ midforearm; forearm_twist? > hand? @ wrist",
    ),
    "Meta": (  # two words for the ends of limbs, and twists between
        LONG,
        "FullBody_Root",
        "FullBody_Root > FullBody_Hips @ pelvis;"
        + _chain("FullBody_Hips@pelvis", "FullBody_SpineLower@s12", "FullBody_SpineMiddle@s32", "FullBody_SpineUpper@s55")
        + ";" + _chain("FullBody_SpineUpper@s55", "FullBody_Chest@s75", "FullBody_Neck@neck", "FullBody_Head@head")
        + "; FullBody_Chest > FullBody_?Shoulder @ collar; FullBody_?Shoulder > FullBody_?Scapula @ midcollar;"
        "FullBody_?Scapula > FullBody_?ArmUpper @ shoulder; FullBody_?ArmUpper > FullBody_?ArmLower @ elbow;"
        "FullBody_?ArmLower > FullBody_?HandWristTwist @ midforearm; FullBody_?HandWristTwist > FullBody_?HandWrist @ wrist;"
        "FullBody_?HandWrist > FullBody_?HandMiddleProximal @ knuckle; FullBody_Hips > FullBody_?UpperLeg @ hip;"
        "FullBody_?UpperLeg > FullBody_?LowerLeg @ knee; FullBody_?LowerLeg > FullBody_?FootAnkleTwist @ midshin;"
        "FullBody_?FootAnkleTwist > FullBody_?FootAnkle @ ankle; FullBody_?FootAnkle > FullBody_?FootTransverse @ instep;"
        "FullBody_?FootTransverse > FullBody_?FootBall @ ball",
    ),
    "Roblox": (  # no neck: what is called head turns at its lower end
        LONG,
        "HumanoidRootPart",
        "HumanoidRootPart > LowerTorso @ pelvis; LowerTorso > UpperTorso @ s20; UpperTorso > Head @ neck;"
        "LowerTorso > ?UpperLeg @ hip; ?UpperLeg > ?LowerLeg @ knee; ?LowerLeg > ?Foot @ ankle;"
        "UpperTorso > ?UpperArm @ shoulder; ?UpperArm > ?LowerArm @ elbow; ?LowerArm > ?Hand @ wrist",
    ),
    "Maya": (
        ("lf_", "rt_"),
        "ct_cog_jnt",
        _chain("ct_cog_jnt@pelvis", "ct_spineA_jnt@s20", "ct_spineB_jnt@s42", "ct_chest_jnt@s64", "ct_neck_jnt@neck", "ct_head_jnt@head")
        + "; ct_cog_jnt > ?upLeg_jnt @ hip; ?upLeg_jnt > ?loLeg_jnt @ knee; ?loLeg_jnt > ?foot_jnt @ ankle; ?foot_jnt > ?ball_jnt @ ball;"
        "ct_chest_jnt > ?clavicle_jnt @ collar; ?clavicle_jnt > ?upArm_jnt @ shoulder; ?upArm_jnt > ?loArm_jnt @ elbow;"
        "?loArm_jnt > ?hand_jnt @ wrist",
    ),
    "VideoPose": (  # keypoints of Human3.6M: the thorax is the neck, what is called neck lies in the head
        LONG,
        "Hip",
        _chain("Hip@pelvis", "Spine@s48", "Thorax@neck", "Neck@head")
        + "; Hip > ?Hip @ hip; ?Hip > ?Knee @ knee; ?Knee > ?Ankle @ ankle;"
        "Thorax > ?Shoulder @ shoulder; ?Shoulder > ?Elbow @ elbow; ?Elbow > ?Wrist @ wrist",
    ),
    "no neck": (
        LONG,
        "Hips",
        "Hips > Spine @ s45; Spine > Head @ head;" + HUMANIK_ARMS.format(top="Spine") + HUMANIK_LEGS.format(toe="ToeBase"),
    ),
}  # fmt: skip
NOT_DIRECT = {"no neck": {"neck"}}


class Joint(NamedTuple):
    """A joint of a skeleton: ``place`` names a point of the body, with the side ("Lhip")."""

    name: str
    parent: str
    place: str


def joints_of(scheme: str) -> list[Joint]:
    """The joints of a scheme, parents first."""
    sides, root, text = SCHEMES[scheme]
    prefix = "mixamorig:" if scheme == "Mixamo" else ""
    joints = [Joint(root, "", "pelvis" if root.removeprefix(prefix) in _pelvis_names(text) else "floor")]
    todo = [rule.strip() for rule in text.replace("\n", ";").split(";") if rule.strip()]
    pairs: list[Joint] = []
    for rule in todo:
        parent, rest = rule.split(" > ")
        name, place = rest.split(" @ ")
        if "?" in name:
            for side, letter in zip(sides, "LR", strict=True):
                central = place.startswith("s") and place[1:].isdigit() or place in ("pelvis", "floor")
                spot = place if central else letter + place
                pairs.append(Joint(prefix + name.replace("?", side), prefix + parent.replace("?", side), spot))
        else:
            for which, side in enumerate(sides):
                if "?" in parent and place[0] != "LR"[which]:
                    continue
                pairs.append(Joint(prefix + name, prefix + parent.replace("?", side), place))
                break
    known = {joints[0].name}
    while pairs:
        ready = [joint for joint in pairs if joint.parent in known]
        assert ready, pairs
        joints += ready
        known |= {joint.name for joint in ready}
        pairs = [joint for joint in pairs if joint.name not in known]
    return joints


def _pelvis_names(text: str) -> set[str]:
    """A root is at the pelvis unless some joint below it is there by name."""
    names = "Hips hip Pelvis root Bip01 Bip001 mPelvis HipCenter Skeleton_torso_joint_1 HumanoidRootPart ct_cog_jnt Hip"
    return set(names.split()) - ({"root"} if "root > pelvis @ pelvis" in text else set())


def places_of(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Points of a standing body of 1.45 to 1.95 m in metres: Y up, facing +Z, the left side at +X; arms sideways."""
    height = rng.uniform(1.45, 1.95)

    def share(low: float, high: float) -> float:
        return float(height * rng.uniform(low, high))

    leg, split = share(0.45, 0.51), rng.uniform(0.47, 0.53)
    foot, trunk, neck = share(0.07, 0.09), share(0.27, 0.32), share(0.05, 0.065)
    arm, fold = leg * rng.uniform(0.56, 0.69), rng.uniform(0.5, 0.56)
    hips, shoulders = share(0.045, 0.06), share(0.09, 0.12)
    ankle = share(0.035, 0.05)
    at: dict[str, np.ndarray] = {}
    pelvis = np.array([0.0, ankle + leg + share(0.03, 0.05), 0.0])
    top = pelvis + [0.0, trunk, share(-0.02, 0.0)]
    at |= {"pelvis": pelvis, "neck": top, "floor": np.zeros(3), "head": top + [0.0, neck, share(0.0, 0.01)]}
    at["crown"], at["jaw"], at["tail"] = (
        at["head"] + [0, 0.15, 0],
        at["head"] + [0, -0.02, 0.06],
        pelvis - [0, 0.05, 0.1],
    )
    for percent in range(5, 110):
        at[f"s{percent}"] = pelvis + (top - pelvis) * percent / 100
    collar_height = pelvis[1] + trunk * rng.uniform(0.8, 0.92)
    for side, sign in (("L", 1.0), ("R", -1.0)):
        out = np.array([sign, 0.0, 0.0])
        hip = np.array([sign * hips, ankle + leg, 0.0])
        knee = hip - [0.0, leg * split, -0.01]
        foot_at = np.array([knee[0], ankle, -0.02])
        ball = foot_at + [0.0, -0.6 * ankle, foot]
        shoulder = np.array([sign * shoulders, collar_height + 0.02, -0.01])
        elbow = shoulder + out * arm * fold + [0, 0, -0.005]
        wrist = shoulder + out * arm
        collar = np.array([sign * 0.28 * shoulders, collar_height, 0.0])
        spots = {
            "hip": hip, "knee": knee, "ankle": foot_at, "ball": ball, "tip": ball + [0, -0.01, 0.06],
            "shoulder": shoulder, "elbow": elbow, "wrist": wrist, "collar": collar,
            "thumb": wrist + out * 0.03 + [0, 0, 0.03], "knuckle": wrist + out * 0.09, "fingertip": wrist + out * 0.13,
            "knuckle2": wrist + out * 0.09 - [0, 0, 0.02], "fingertip2": wrist + out * 0.135 - [0, 0, 0.02],
            "eye": at["head"] + [sign * 0.03, 0.05, 0.09], "breast": pelvis + [sign * 0.08, 0.7 * trunk, 0.12],
            "hipside": pelvis + 0.5 * (hip - pelvis), "midthigh": 0.5 * (hip + knee), "midshin": 0.5 * (knee + foot_at),
            "midarm": 0.5 * (shoulder + elbow), "midforearm": 0.5 * (elbow + wrist), "instep": 0.5 * (foot_at + ball),
            "midcollar": 0.5 * (collar + shoulder),
            **{f"ball{n}": ball + [sign * 0.012 * (n - 3), 0, 0] for n in (1, 2, 4, 5)},
        }  # fmt: skip
        at |= {side + name: spot for name, spot in spots.items()}
    return at


class Drawn(NamedTuple):
    """A written .bvh file and where its joints are by the kinematics here: name -> (T, 3) in metres, Y up."""

    path: Path
    nodes: dict[str, np.ndarray]
    joints: list[Joint]


def turn(axis: np.ndarray, angle: np.ndarray | float) -> np.ndarray:
    """Rotation matrices by Rodrigues' formula."""
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.asarray(angle)[..., None, None]
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def _angles(matrices: np.ndarray, order: str) -> np.ndarray:
    """(T, 3) degrees of R = R_order[0] R_order[1] R_order[2], by solving for each in turn."""
    i, j, k = ("XYZ".index(axis) for axis in order)
    sign = 1.0 if (j - i) % 3 == 1 else -1.0
    middle = np.arcsin(np.clip(sign * matrices[:, i, k], -1, 1))
    first = np.arctan2(-sign * matrices[:, j, k], matrices[:, k, k])
    last = np.arctan2(-sign * matrices[:, i, j], matrices[:, i, i])
    return np.degrees(np.stack([first, middle, last], axis=1))


def draw(
    folder: Path,
    scheme: str,
    seed: int,
    frames: int = 24,
    unit: float = 0.01,
    up: str = "y",
    bone_axes: bool = False,
    rename: dict[str, str] | None = None,
) -> Drawn:
    """Somebody of random proportions who walks a little and swings all limbs, as a .bvh file.

    Args:
        unit: metres in a unit of the file. up: "y" or "z".
        bone_axes: joints have axes of their own, so that OFFSETs tell nothing about how the body stands.
        rename: other names of joints.
    """
    rng = np.random.default_rng(seed)
    places, joints = places_of(rng), joints_of(scheme)
    rename = rename or {}
    at = {joint.name: places[joint.place] for joint in joints}
    children: dict[str, list[Joint]] = {}
    for joint in joints:
        children.setdefault(joint.parent, []).append(joint)
    phase = np.arange(frames) / 8.0
    to_file = turn(np.array([1.0, 0, 0]), np.pi / 2) if up == "z" else np.eye(3)
    heading = turn(np.array([0.0, 1, 0]), rng.uniform(-3, 3))
    # World rotation of every joint: its parent's, turned further; limbs bend as limbs do.
    world: dict[str, np.ndarray] = {}
    where: dict[str, np.ndarray] = {}
    for joint in joints:
        if not joint.parent:
            sway = turn(np.array([0.0, 1, 0]), 0.2 * np.sin(phase))
            world[joint.name] = heading @ sway
            steps = np.stack([0.0 * phase, 0.02 * np.sin(2 * phase), 0.12 * phase], axis=1)
            where[joint.name] = (heading @ (at[joint.name] + steps)[..., None])[..., 0]
            continue
        above = world[joint.parent]
        where[joint.name] = where[joint.parent] + (above @ (at[joint.name] - at[joint.parent])[..., None])[..., 0]
        world[joint.name] = above @ turn(*_swing(joint.place, phase, rng))
    basis = {
        joint.name: turn(rng.normal(size=3), rng.uniform(-3, 3)) if bone_axes and joint.parent else np.eye(3)
        for joint in joints
    }
    lines, order_of, columns = ["HIERARCHY"], {}, []
    tip = {joint.name: _tip(joint, at) for joint in joints}

    def numbers(vector: np.ndarray) -> str:
        return " ".join(f"{value:.6f}" for value in vector / unit)

    def write(joint: Joint, depth: int) -> None:
        pad = "  " * depth
        order = "".join(rng.permutation(list("XYZ")))
        order_of[joint.name] = order
        columns.append(joint)
        frame = basis[joint.parent] if joint.parent else np.eye(3)
        offset = frame.T @ (at[joint.name] - at.get(joint.parent, np.zeros(3)))
        lines.append(f"{pad}{'JOINT' if joint.parent else 'ROOT'} {rename.get(joint.name, joint.name)}")
        lines.append(f"{pad}{{")
        lines.append(f"{pad}  OFFSET {numbers(offset if joint.parent else np.zeros(3))}")
        channels = "" if joint.parent else "Xposition Yposition Zposition "
        channels += " ".join(f"{axis}rotation" for axis in order)
        lines.append(f"{pad}  CHANNELS {len(channels.split())} {channels}")
        for child in children.get(joint.name, []):
            write(child, depth + 1)
        if joint.name not in children:
            lines.append(f"{pad}  End Site")
            lines.append(f"{pad}  {{\n{pad}    OFFSET {numbers(basis[joint.name].T @ tip[joint.name])}\n{pad}  }}")
        lines.append(f"{pad}}}")

    write(joints[0], 0)
    values = []
    for joint in columns:
        own = world[joint.name] @ basis[joint.name]
        if joint.parent:
            above = world[joint.parent] @ basis[joint.parent]
            local = above.transpose(0, 2, 1) @ own
        else:
            values.append(where[joint.name] @ to_file.T / unit)
            local = to_file @ own
        values.append(_angles(local, order_of[joint.name]))
    rows = np.concatenate(values, axis=1)
    lines += ["MOTION", f"Frames: {frames}", "Frame Time: 0.0333333"]
    lines += [" ".join(f"{value:.6f}" for value in row) for row in rows]
    path = folder / "drawn.bvh"
    path.write_text("\n".join(lines) + "\n")
    ends = {
        f"{joint.name}.end": where[joint.name] + (world[joint.name] @ tip[joint.name][..., None])[..., 0]
        for joint in joints
        if joint.name not in children
    }
    return Drawn(path, {**where, **ends}, joints)


def _swing(place: str, phase: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Axis and angles (T,) by which the joint at a place turns: knees bend back, elbows forward, the rest sways."""
    side = {"L": 1.0, "R": -1.0}.get(place[0], 0.0)
    spot = place[1:] if side else place
    beat = np.sin(phase + (0.0 if side > 0 else np.pi) + rng.uniform(-0.3, 0.3))
    if spot == "knee":
        return np.array([1.0, 0, 0]), 0.5 + 0.4 * beat
    if spot == "elbow":
        return np.array([0.0, -side, 0]), 0.6 + 0.4 * beat
    if spot == "hip":
        return np.array([1.0, 0, 0]), -0.3 + 0.3 * beat
    if spot == "shoulder":
        return np.array([0.2, 0.3, -side]), 0.9 + 0.3 * beat
    if spot.startswith("mid") or spot in ("hipside", "instep") or spot.startswith("ball"):
        return np.array([1.0, 0, 0]), 0.0 * beat
    return rng.normal(size=3), 0.06 * beat


def _tip(joint: Joint, at: dict[str, np.ndarray]) -> np.ndarray:
    """The End Site of a joint without children."""
    spot = joint.place[1:] if joint.place[0] in "LR" else joint.place
    if spot == "ankle":  # without a toe joint: the ball of the foot
        return np.array([0.0, -0.04, 0.13])
    return {"ball": np.array([0, -0.01, 0.06]), "head": np.array([0, 0.16, 0.02])}.get(
        spot, np.array([0.02, 0.0, 0.01])
    )
