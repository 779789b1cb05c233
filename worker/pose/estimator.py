"""One person's joints, hands and outline, by MediaPipe's landmarkers."""

import atexit
import math
import weakref
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import cv2
import mediapipe as mp
import numpy as np
from mediapipe.tasks.python import BaseOptions, vision

from config.errors import MultiplePeopleError, NoPersonError, PoseError
from worker import weights
from worker.images.frame import FILL, HEIGHT, WIDTH, Frame
from worker.images.maps import Pose
from worker.pose.bundles import hand_bundle, pose_bundle
from worker.pose.framing import person_frame, search_windows
from worker.pose.hands import find_hand
from worker.pose.joints import MIRROR, Landmark
from worker.pose.landmarks import MIN_VISIBILITY, to_body25
from worker.pose.outline import refine
from worker.pose.quiet import quiet

MAX_PEOPLE = 5
DOMINANCE = 0.5
"""The largest person is taken when the next largest covers less than this much of its area."""
SAME_PERSON = 0.25
"""Two finds are one person when their torsos' corners are nearer, on average, than this (of the torso)."""
NEAR = 0.6
"""A person found again on another picture of the same canvas is nearer than this (of the torso)."""
DISAGREEMENT = 0.1
"""The picture and its mirror image disagree on the torso when its corners differ more than this (of it)."""
BLUR = 6.0
"""Standard deviation of the blur that takes away texture, canvas pixels."""
MIN_TORSO_SHOWN = 0.25
"""How much of the way from shoulders to hips the photograph must show."""
UPRIGHT = 0.5
"""Cosine of the largest angle between the torso and the vertical: 60 degrees."""
FROM_BEHIND = 0.2
"""The right shoulder lies this far (of the torso) to the right of the left one: the back is to the camera."""
NARROW, TURNED = 0.46, 70.0
"""The shoulders are turned too far when they appear narrower than this (of the torso; from the front they are
0.6 to 0.8 of it) and lie more than this many degrees out of the picture's plane, by the model's depth. Both:
the depth is exaggerated, and some people are narrow. On street photographs, three-quarter views have widths
from 0.47 up or angles below 70, views from the side widths below 0.44 and angles above 71."""

_TORSO = [Landmark.R_SHOULDER, Landmark.L_SHOULDER, Landmark.R_HIP, Landmark.L_HIP]


@dataclass(frozen=True)
class PersonPose:
    """What the pose stage knows of a person.

    Attributes:
        frame: how the photograph lies on the canvas.
        pose: Body25 joints and hands, canvas pixels. The hips may lie outside the canvas.
        landmarks: float32 (33, 4), MediaPipe's own: x, y, z in canvas pixels, visibility 0..1.
        mask: uint8 (1024, 768), 0..255: how much of each canvas pixel is the person.
    """

    frame: Frame
    pose: Pose
    landmarks: np.ndarray
    mask: np.ndarray


@dataclass(frozen=True)
class _Find:
    landmarks: np.ndarray
    mask: np.ndarray


class PoseEstimator:
    """MediaPipe's pose and hand landmarkers and its segmenter, loaded; safe to share between threads.

    Make one in the process that uses it: a landmarker that was made before a fork hangs in the child.
    Raises WeightsMissingError when a model file is not there.
    """

    def __init__(self, models_dir: Path) -> None:
        with quiet():
            self._pose = vision.PoseLandmarker.create_from_options(
                vision.PoseLandmarkerOptions(
                    base_options=BaseOptions(model_asset_buffer=pose_bundle(models_dir)),
                    num_poses=MAX_PEOPLE,
                    output_segmentation_masks=True,
                )
            )
            self._hands = vision.HandLandmarker.create_from_options(
                vision.HandLandmarkerOptions(
                    base_options=BaseOptions(model_asset_buffer=hand_bundle(models_dir)),
                    num_hands=2,
                    min_hand_detection_confidence=0.3,
                )
            )
            self._segmenter = vision.ImageSegmenter.create_from_options(
                vision.ImageSegmenterOptions(
                    base_options=BaseOptions(
                        model_asset_buffer=weights.path("selfie_segmentation", models_dir).read_bytes()
                    )
                )
            )
        self._found_before = False
        _open.add(self)

    def close(self) -> None:
        """Free the landmarkers."""
        _open.discard(self)
        self._pose.close()
        self._hands.close()
        self._segmenter.close()

    def estimate(self, photo: np.ndarray) -> PersonPose:
        """Return the pose of the person in a photograph, RGB uint8 (h, w, 3).

        The person is found on the whole photograph, framed from head to knees, and measured there.

        Raises NoPersonError; MultiplePeopleError when the largest person does not dominate (the torso of the
        next largest covers half its area or more); PoseError saying what is wrong when a shoulder is not to
        be seen, the photograph ends above the chest, or the person lies, is seen from behind or is turned to
        the side.
        """
        height, width = photo.shape[:2]
        whole = Frame.letterbox(width, height)
        finds = self._find(whole.to_canvas(photo, fill=FILL)) or self._search(photo, whole)
        found = _choose(finds, whole)
        frame = person_frame(found.landmarks, found.mask, whole)
        canvas = frame.to_canvas(photo, fill=FILL)
        if frame != whole:
            found = self._closer(canvas, _moved(found, whole, frame))
        found = self._settled(canvas, found)
        _check_shown(found.landmarks, frame)
        # Two masks of the one person and one of any person.
        likely = (2 * found.mask + self._silhouette(canvas)) / 3
        mask = refine(likely, canvas, frame, found.landmarks)
        pose = Pose(
            to_body25(found.landmarks, mask),
            find_hand(self._hands, canvas, found.landmarks, "left"),
            find_hand(self._hands, canvas, found.landmarks, "right"),
        )
        return PersonPose(frame, pose, found.landmarks, mask)

    def _find(self, canvas: np.ndarray) -> list[_Find]:
        # Only canvases are given to MediaPipe: the masks of some other widths make it abort the process.
        image = mp.Image(mp.ImageFormat.SRGB, np.ascontiguousarray(canvas))
        # The first person whom it finds makes the model say something of its own set-up.
        with nullcontext() if self._found_before else quiet():
            result = self._pose.detect(image)
        self._found_before |= bool(result.pose_landmarks)
        finds = []
        for landmarks, mask in zip(result.pose_landmarks, result.segmentation_masks or [], strict=True):
            values = [(point.x, point.y, point.z, point.visibility) for point in landmarks]
            # z is in the same unit as x: of the width.
            scaled = np.array(values, np.float32) * np.array([WIDTH, HEIGHT, WIDTH, 1], np.float32)
            finds.append(_Find(scaled, mask.numpy_view().reshape(HEIGHT, WIDTH).copy()))
        return finds

    def _closer(self, canvas: np.ndarray, expected: _Find) -> _Find:
        """Return the find on the framed canvas that is the expected person.

        A covered face makes the model take a front for a back when it looks closely. A blurred canvas decides
        when it says the other of what the whole photograph said.
        """
        near = [find for find in self._find(canvas) if _distance(find.landmarks, expected.landmarks) < NEAR]
        if not near:
            return expected  # The closer look found only other people: the first look stands.
        closer = min(near, key=lambda find: _distance(find.landmarks, expected.landmarks))
        if not _turned_over(closer.landmarks, expected.landmarks):
            return closer
        blurred = self._look(cv2.GaussianBlur(canvas, (0, 0), BLUR), expected.landmarks)
        return _Find(blurred.landmarks, closer.mask) if blurred else closer

    def _settled(self, canvas: np.ndarray, found: _Find) -> _Find:
        """Return the find averaged over the canvas and its mirror image.

        Texture can mislead the model: a collar ring is taken for the shoulders. The mirrored picture then
        gives another answer, and a blurred one, which shows shape without texture, a better one. Masks are
        averaged over the sharp pictures only.
        """
        mirrored = self._look(canvas, found.landmarks, mirror=True)
        if mirrored is None:
            return found
        mask = (found.mask + mirrored.mask) / 2
        if _distance(found.landmarks, mirrored.landmarks) <= DISAGREEMENT:
            return _Find((found.landmarks + mirrored.landmarks) / 2, mask)
        blurred = cv2.GaussianBlur(canvas, (0, 0), BLUR)
        plain = self._look(blurred, found.landmarks)
        mirrored = self._look(blurred, found.landmarks, mirror=True)
        if plain and mirrored and _distance(plain.landmarks, mirrored.landmarks) <= DISAGREEMENT:
            return _Find((plain.landmarks + mirrored.landmarks) / 2, mask)
        return _Find(found.landmarks, mask)

    def _look(self, canvas: np.ndarray, expected: np.ndarray, *, mirror: bool = False) -> _Find | None:
        """Return the expected person as found in a changed canvas, if there again and facing the same way."""
        finds = self._find(canvas[:, ::-1] if mirror else canvas)
        finds = [_mirrored(find) if mirror else find for find in finds]
        near = [
            find
            for find in finds
            if _distance(find.landmarks, expected) < NEAR and not _turned_over(find.landmarks, expected)
        ]
        return min(near, key=lambda find: _distance(find.landmarks, expected), default=None)

    def _silhouette(self, canvas: np.ndarray) -> np.ndarray:
        """Return how likely each pixel is any person, float32 (1024, 768) 0..1."""
        result = self._segmenter.segment(mp.Image(mp.ImageFormat.SRGB, np.ascontiguousarray(canvas)))
        return result.confidence_masks[-1].numpy_view().reshape(HEIGHT, WIDTH).copy()

    def _search(self, photo: np.ndarray, whole: Frame) -> list[_Find]:
        """Return who is found in parts of a photograph whose people are too small to be found on the whole.

        In small windows things are taken for people: one counts only when the mirrored window shows the same.
        """
        for windows in search_windows(whole.photo_width, whole.photo_height):
            finds = []
            for window in windows:
                canvas = window.to_canvas(photo, fill=FILL)
                for find in self._find(canvas):
                    again = self._look(canvas, find.landmarks, mirror=True)
                    if again and _distance(again.landmarks, find.landmarks) < 2 * DISAGREEMENT:
                        finds.append(_moved(find, window, whole))
            if finds:
                return finds
        return []


_open: "weakref.WeakSet[PoseEstimator]" = weakref.WeakSet()


@atexit.register
def _leave_to_the_system() -> None:
    # The thread that MediaPipe closes its landmarkers on is gone by now: closing would only raise.
    for estimator in _open:
        for task in (estimator._pose, estimator._hands, estimator._segmenter):
            task._handle = None


def _choose(finds: list[_Find], frame: Frame) -> _Find:
    people: list[_Find] = []
    for find in finds:
        if all(_distance(find.landmarks, other.landmarks) > SAME_PERSON for other in people):
            people.append(find)
    if not people:
        raise NoPersonError(
            "No person was found. Give a photograph that shows one person from the front, head to hips."
        )
    people.sort(key=lambda find: _area(find.landmarks, frame), reverse=True)
    if len(people) > 1 and _area(people[1].landmarks, frame) >= DOMINANCE * _area(people[0].landmarks, frame):
        raise MultiplePeopleError(
            f"{len(people)} people were found and none of them dominates the photograph. "
            "Give a photograph of one person, or crop it to the one that is meant."
        )
    return people[0]


def _moved(find: _Find, old: Frame, new: Frame) -> _Find:
    """Return the find as it lies on another frame's canvas."""
    landmarks = find.landmarks.copy()
    landmarks[:, :2] = new.points_to_canvas(old.points_to_photo(find.landmarks[:, :2]))
    landmarks[:, 2] *= new.scale / old.scale
    return _Find(landmarks, new.to_canvas(old.to_photo(find.mask, interpolation=cv2.INTER_LINEAR)))


def _mirrored(find: _Find) -> _Find:
    """Return what was found on a mirrored canvas as it is on the canvas: left and right exchanged."""
    landmarks = find.landmarks[MIRROR].copy()
    landmarks[:, 0] = WIDTH - landmarks[:, 0]
    return _Find(landmarks, find.mask[:, ::-1])


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    """Return the mean distance of the torsos' corners, in torso lengths of the second."""
    torso = float(np.linalg.norm(other[_TORSO[:2], :2].mean(0) - other[_TORSO[2:], :2].mean(0)))
    return float(np.linalg.norm(one[_TORSO, :2] - other[_TORSO, :2], axis=1).mean()) / max(torso, 1)


def _turned_over(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether one shows the front and the other the back: the shoulders lie the other way round, clearly."""
    ways = []
    for landmarks in (one, other):
        torso = float(np.linalg.norm(landmarks[_TORSO[:2], :2].mean(0) - landmarks[_TORSO[2:], :2].mean(0)))
        right, left = landmarks[Landmark.R_SHOULDER, 0], landmarks[Landmark.L_SHOULDER, 0]
        ways.append(float(left - right) / max(torso, 1))
    return min(ways) < -FROM_BEHIND and max(ways) > FROM_BEHIND


def _area(landmarks: np.ndarray, frame: Frame) -> float:
    """Return how much of the photograph the torso covers: its length times the shoulders' width.

    The limbs do not count: where people stand close the model gives one the other's legs.
    """
    low, high = _photo_edges(frame)
    right, left, *hips = np.clip(landmarks[_TORSO, :2], low, high)
    length = np.linalg.norm(np.mean(hips, 0) - (right + left) / 2)
    return float(length * np.linalg.norm(left - right))


def _check_shown(landmarks: np.ndarray, frame: Frame) -> None:
    """Raise PoseError unless shoulders and chest are in the photograph, upright and from the front."""
    low, high = _photo_edges(frame)
    names = {Landmark.L_SHOULDER: "left shoulder", Landmark.R_SHOULDER: "right shoulder"}
    slack = 0.02 * HEIGHT
    missing = [
        name
        for joint, name in names.items()
        if landmarks[joint, 3] <= MIN_VISIBILITY
        or (landmarks[joint, :2] < low - slack).any()
        or (landmarks[joint, :2] > high + slack).any()
    ]
    if missing:
        raise PoseError(
            f"The photograph does not show the person's {' and '.join(missing)}. "
            "Give a photograph that shows one person from the front, head to hips."
        )
    shoulders, hips = landmarks[_TORSO[:2], :2].mean(0), landmarks[_TORSO[2:], :2].mean(0)
    down = hips - shoulders
    if down[1] < UPRIGHT * float(np.linalg.norm(down)):
        raise PoseError(
            "The person is not upright in the photograph. Turn the photograph, or give one of a person who "
            "stands or sits."
        )
    right, left = landmarks[Landmark.R_SHOULDER, 0], landmarks[Landmark.L_SHOULDER, 0]
    if right - left > FROM_BEHIND * float(np.linalg.norm(down)):
        raise PoseError("The person is seen from behind. Give a photograph from the front.")
    apart = landmarks[Landmark.L_SHOULDER] - landmarks[Landmark.R_SHOULDER]
    angle = math.degrees(math.atan2(abs(float(apart[2])), max(float(apart[0]), 0.0)))
    if apart[0] < NARROW * float(np.linalg.norm(down)) and angle > TURNED:
        raise PoseError("The person is turned too far from the camera: use a photograph from the front.")
    if shoulders[1] + MIN_TORSO_SHOWN * down[1] > high[1]:
        raise PoseError(
            "The photograph ends above the person's chest. "
            "Give a photograph that shows one person from the front, head to hips."
        )


def _photo_edges(frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    """Return the corners of what the canvas shows of the photograph, canvas pixels."""
    corners = frame.points_to_canvas(np.array([[0, 0], [frame.photo_width, frame.photo_height]], np.float32))
    return np.maximum(corners[0], 0), np.minimum(corners[1], (WIDTH, HEIGHT))
