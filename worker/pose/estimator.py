"""Estimates one person's joints, hands and outline with MediaPipe's models."""

import atexit
import math
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import cv2
import mediapipe as mp
import numpy as np
from mediapipe.tasks.python import BaseOptions, vision
from numpy.typing import NDArray

from config.errors import MultiplePeopleError, NoPersonError, PoseError
from worker import weights
from worker.images.arrays import Canvas, Flags, Floats, Image, Mask, Points
from worker.images.frame import FILL, HEIGHT, WIDTH, Frame
from worker.images.maps import Pose
from worker.pose.bundles import hand_bundle, pose_bundle
from worker.pose.framing import person_frame, search_windows
from worker.pose.hands import find_hand
from worker.pose.joints import HIPS, MIRROR, SHOULDERS, Landmark, torso_length
from worker.pose.landmarks import MIN_VISIBILITY, to_body25
from worker.pose.outline import refine
from worker.pose.quiet import quiet

MAX_PEOPLE = 5
"""People that the landmarker detects at most in one picture."""

MIN_HAND_CONFIDENCE = 0.3
"""Lower than MediaPipe's default: the crop is around a wrist and normally shows a hand."""

MAX_SECOND_AREA = 0.5
"""The largest person is selected if the second largest covers less than this share of its area."""

SAME_PERSON_DISTANCE = 0.25
"""Two detections are one person if their torso corners are nearer, on average (torso lengths)."""

REDETECTION_DISTANCE = 0.6
"""A detection on a changed picture of the same canvas is the expected person if it is nearer (torso
lengths)."""

MAX_DISAGREEMENT = 0.1
"""The results for a picture and its mirror image agree if their torso corners are nearer (torso lengths)."""

BLUR_SIGMA = 6.0
"""Standard deviation of the blur that removes texture, canvas pixels."""

MIN_VISIBLE_TORSO = 0.25
"""Share of the way from shoulders to hips that the photograph must show."""

MIN_UPRIGHT_COSINE = 0.5
"""Cosine of the largest angle between the torso and the vertical: 60 degrees."""

FROM_BEHIND = 0.2
"""The person is seen from behind if the right shoulder is this far right of the left one (torso lengths)."""

SIDE_WIDTH, SIDE_ANGLE = 0.46, 70.0
"""The person is turned to the side if the shoulders appear narrower than the first (torso lengths; from the
front they are 0.6 to 0.8) and are turned out of the picture plane by more than the second (degrees, by the
model's depth). Both are needed: the depth is exaggerated, and some people are narrow. On street photographs,
three-quarter views have widths from 0.47 up or angles below 70, side views have widths below 0.44 and angles
above 71."""

EDGE_TOLERANCE = 0.02 * HEIGHT
"""A shoulder may be this far outside the photograph, canvas pixels."""

_TORSO = [*SHOULDERS, *HIPS]


@dataclass(frozen=True)
class PersonPose:
    """The result of the pose stage for one person.

    Attributes:
        frame: the position of the photograph on the canvas.
        pose: Body25 joints and hands, canvas pixels. The hips may be outside the canvas.
        landmarks: float32 (33, 4), MediaPipe's own: x, y, z in canvas pixels, visibility 0..1. Those outside
            of the canvas are as seen on the whole photograph.
        mask: uint8 (1024, 768), 0..255: how much of each canvas pixel is the person.
    """

    frame: Frame
    pose: Pose
    landmarks: Floats
    mask: Mask


@dataclass(frozen=True)
class _Detection:
    """One detected person on a canvas: landmarks as in PersonPose, mask float32 (1024, 768) 0..1."""

    landmarks: Floats
    mask: NDArray[np.float32]


class PoseEstimator:
    """MediaPipe's pose and hand landmarkers and its segmenter, loaded; safe to share between threads.

    Create it in the process that uses it: a landmarker from before a fork hangs in the child process. Close
    it after use: it is never garbage-collected, because MediaPipe's destructors block the collector.
    Raises WeightsMissingError when a model file is missing.
    """

    def __init__(self, models_dir: Path) -> None:
        pose_model, hand_model = pose_bundle(models_dir), hand_bundle(models_dir)
        segmentation_model = weights.path("selfie_segmentation", models_dir).read_bytes()
        with quiet():
            self._pose = vision.PoseLandmarker.create_from_options(
                vision.PoseLandmarkerOptions(
                    base_options=BaseOptions(model_asset_buffer=pose_model),
                    num_poses=MAX_PEOPLE,
                    output_segmentation_masks=True,
                )
            )
            self._hands = vision.HandLandmarker.create_from_options(
                vision.HandLandmarkerOptions(
                    base_options=BaseOptions(model_asset_buffer=hand_model),
                    num_hands=2,
                    min_hand_detection_confidence=MIN_HAND_CONFIDENCE,
                )
            )
            self._segmenter = vision.ImageSegmenter.create_from_options(
                vision.ImageSegmenterOptions(base_options=BaseOptions(model_asset_buffer=segmentation_model))
            )
        self._has_detected = False
        _open_estimators.add(self)

    def close(self) -> None:
        """Release the landmarkers."""
        _open_estimators.discard(self)
        self._pose.close()
        self._hands.close()
        self._segmenter.close()

    def estimate(self, photo: Image) -> PersonPose:
        """Return the pose of the person in a photograph, RGB uint8 (h, w, 3).

        The person is detected on the whole photograph, framed from head to knees, and measured there.

        Raises NoPersonError; MultiplePeopleError when the torso of the second largest person covers at least
        half the area of the largest; PoseError with the reason when a shoulder is not visible, the
        photograph ends above the chest, or the person lies, is seen from behind or is turned to the side.
        """
        height, width = photo.shape[:2]
        whole = Frame.letterbox(width, height)
        canvas = whole.to_canvas(photo, fill=FILL)
        detections = self._detect(canvas) or self._detect_small(photo, whole)
        person = _select(detections, whole)
        frame = person_frame(person.landmarks, person.mask, whole)
        first = person
        if frame != whole:
            canvas, first = frame.to_canvas(photo, fill=FILL), _moved(person, whole, frame)
            person = self._measured_on_frame(canvas, first)
        person = self._averaged_with_mirror(canvas, person)
        _require_usable(person.landmarks, frame)
        # Two masks of the one person and one of any person.
        coarse = (2 * person.mask + self._silhouette(canvas)) / 3
        mask = refine(coarse, canvas, frame, person.landmarks)
        pose = Pose(
            to_body25(person.landmarks, mask),
            find_hand(self._hands, canvas, person.landmarks, "left"),
            find_hand(self._hands, canvas, person.landmarks, "right"),
        )
        return PersonPose(frame, pose, _with_outside(person.landmarks, first.landmarks), mask)

    def _detect(self, canvas: Canvas) -> list[_Detection]:
        # MediaPipe gets canvases only: the masks of some other widths make it abort the process.
        image = mp.Image(mp.ImageFormat.SRGB, np.ascontiguousarray(canvas))
        # The first detected person makes the model write a message about its set-up.
        with nullcontext() if self._has_detected else quiet():
            result = self._pose.detect(image)
        self._has_detected |= bool(result.pose_landmarks)
        detections = []
        for landmarks, mask in zip(result.pose_landmarks, result.segmentation_masks or [], strict=True):
            values = [(point.x, point.y, point.z, point.visibility) for point in landmarks]
            # z has the unit of x: the width.
            scaled = np.array(values, np.float32) * np.array([WIDTH, HEIGHT, WIDTH, 1], np.float32)
            detections.append(_Detection(scaled, mask.numpy_view().reshape(HEIGHT, WIDTH).copy()))
        return detections

    def _measured_on_frame(self, canvas: Canvas, expected: _Detection) -> _Detection:
        """Return the detection of the expected person on the framed canvas.

        A covered face can make the model take a front for a back on the framed canvas. If the framed canvas
        and the whole photograph contradict each other, a blurred canvas decides.
        """
        near = [
            detection
            for detection in self._detect(canvas)
            if _distance(detection.landmarks, expected.landmarks) < REDETECTION_DISTANCE
        ]
        if not near:
            return expected  # Only other people were detected: the first result stays.
        nearest = min(near, key=lambda detection: _distance(detection.landmarks, expected.landmarks))
        if not _is_reversed(nearest.landmarks, expected.landmarks):
            return nearest
        blurred = self._detect_again(_blurred(canvas), expected.landmarks)
        return _Detection(blurred.landmarks, nearest.mask) if blurred else nearest

    def _averaged_with_mirror(self, canvas: Canvas, person: _Detection) -> _Detection:
        """Return the detection averaged over the canvas and its mirror image.

        Texture can mislead the model: it may take the ring of a collar for the shoulders. Then the mirror
        image gives another result, and a blurred picture, which shows shape without texture, a better one.
        Masks are averaged over the sharp pictures only.
        """
        mirrored = self._detect_again(canvas, person.landmarks, mirror=True)
        if mirrored is None:
            return person
        mask = np.asarray((person.mask + mirrored.mask) / 2, np.float32)
        if _distance(person.landmarks, mirrored.landmarks) <= MAX_DISAGREEMENT:
            return _Detection((person.landmarks + mirrored.landmarks) / 2, mask)
        blurred = _blurred(canvas)
        plain = self._detect_again(blurred, person.landmarks)
        mirrored = self._detect_again(blurred, person.landmarks, mirror=True)
        if plain and mirrored and _distance(plain.landmarks, mirrored.landmarks) <= MAX_DISAGREEMENT:
            return _Detection((plain.landmarks + mirrored.landmarks) / 2, mask)
        return _Detection(person.landmarks, mask)

    def _detect_again(self, canvas: Canvas, expected: Floats, *, mirror: bool = False) -> _Detection | None:
        """Return the expected person on a changed canvas, if it is detected and faces the same way."""
        detections = self._detect(canvas[:, ::-1] if mirror else canvas)
        detections = [_mirrored(detection) if mirror else detection for detection in detections]
        near = [
            detection
            for detection in detections
            if _distance(detection.landmarks, expected) < REDETECTION_DISTANCE
            and not _is_reversed(detection.landmarks, expected)
        ]
        return min(near, key=lambda detection: _distance(detection.landmarks, expected), default=None)

    def _silhouette(self, canvas: Canvas) -> NDArray[np.float32]:
        """Return the probability that each pixel is any person, float32 (1024, 768)."""
        result = self._segmenter.segment(mp.Image(mp.ImageFormat.SRGB, np.ascontiguousarray(canvas)))
        return np.array(result.confidence_masks[-1].numpy_view().reshape(HEIGHT, WIDTH), np.float32)

    def _detect_small(self, photo: Image, whole: Frame) -> list[_Detection]:
        """Return people who are too small to be detected on the whole photograph, from windows of it.

        Objects in small windows are taken for people: a detection counts only if the mirrored window gives
        the same.
        """
        for windows in search_windows(whole.photo_width, whole.photo_height):
            detections = []
            for window in windows:
                canvas = window.to_canvas(photo, fill=FILL)
                for detection in self._detect(canvas):
                    mirrored = self._detect_again(canvas, detection.landmarks, mirror=True)
                    if mirrored and _distance(mirrored.landmarks, detection.landmarks) < 2 * MAX_DISAGREEMENT:
                        detections.append(_moved(detection, window, whole))
            if detections:
                return detections
        return []


_open_estimators: set[PoseEstimator] = set()
"""Strong references. The destructor of a MediaPipe task waits for MediaPipe's thread, and that thread ends as
soon as the task becomes garbage: the collector would wait for ever."""


@atexit.register
def _drop_handles() -> None:
    # MediaPipe's thread for closing has ended by now: a close would only raise. The system frees the memory.
    for estimator in _open_estimators:
        for task in (estimator._pose, estimator._hands, estimator._segmenter):
            task._handle = None


def _select(detections: list[_Detection], frame: Frame) -> _Detection:
    """Return the person who dominates the photograph. Raises NoPersonError, MultiplePeopleError."""
    people: list[_Detection] = []
    for detection in detections:
        if all(_distance(detection.landmarks, other.landmarks) > SAME_PERSON_DISTANCE for other in people):
            people.append(detection)
    if not people:
        raise NoPersonError(
            "No person was found. Use a photograph that shows one person from the front, head to hips."
        )
    people.sort(key=lambda person: _area(person.landmarks, frame), reverse=True)
    areas = [_area(person.landmarks, frame) for person in people]
    if len(people) > 1 and areas[1] >= MAX_SECOND_AREA * areas[0]:
        raise MultiplePeopleError(
            f"{len(people)} people were found and none of them dominates the photograph. "
            "Use a photograph of one person, or crop it to the person."
        )
    return people[0]


def _with_outside(measured: Floats, first: Floats) -> Floats:
    """Return the landmarks measured on the canvas, those outside of it as seen on the whole photograph.

    Where the two disagree about whether a landmark is outside, the measured one stays.

    measured, first: float32 (33, 4), both in canvas pixels.
    """
    outside = ~(_on_canvas(measured) | _on_canvas(first))
    return np.where(outside[:, None], first, measured).astype(np.float32)


def _on_canvas(landmarks: Floats) -> Flags:
    """Return which landmarks (33, 4) are on the canvas, bool (33,)."""
    points = landmarks[:, :2]
    return np.asarray(((points >= 0) & (points < np.array([WIDTH, HEIGHT]))).all(axis=1))


def _moved(detection: _Detection, old: Frame, new: Frame) -> _Detection:
    """Return the detection in the coordinates of another frame's canvas."""
    landmarks = detection.landmarks.copy()
    landmarks[:, :2] = new.points_to_canvas(old.points_to_photo(detection.landmarks[:, :2]))
    landmarks[:, 2] *= new.scale / old.scale
    photo_mask = old.to_photo(detection.mask, interpolation=cv2.INTER_LINEAR)
    return _Detection(landmarks, new.to_canvas(photo_mask))


def _mirrored(detection: _Detection) -> _Detection:
    """Return a detection on a mirrored canvas in the coordinates of the canvas: left and right exchanged."""
    landmarks = detection.landmarks[MIRROR].copy()
    landmarks[:, 0] = WIDTH - landmarks[:, 0]
    return _Detection(landmarks, detection.mask[:, ::-1])


def _blurred(canvas: Canvas) -> Canvas:
    return np.asarray(cv2.GaussianBlur(canvas, (0, 0), BLUR_SIGMA), np.uint8)


def _distance(landmarks: Floats, reference: Floats) -> float:
    """Return the mean distance of the torso corners, torso lengths of the reference."""
    distances = np.linalg.norm(landmarks[_TORSO, :2] - reference[_TORSO, :2], axis=1)
    return float(distances.mean()) / max(torso_length(reference), 1)


def _is_reversed(one: Floats, other: Floats) -> bool:
    """Return whether one shows the front and the other the back: their shoulders are clearly exchanged."""
    widths = []
    for landmarks in (one, other):
        right, left = landmarks[Landmark.R_SHOULDER, 0], landmarks[Landmark.L_SHOULDER, 0]
        widths.append(float(left - right) / max(torso_length(landmarks), 1))
    return min(widths) < -FROM_BEHIND and max(widths) > FROM_BEHIND


def _area(landmarks: Floats, frame: Frame) -> float:
    """Return how much of the photograph the torso covers: its length times the shoulders' width.

    The limbs do not count: where people stand close together, the model may exchange their legs.
    """
    low, high = _photo_edges(frame)
    right, left, *hips = np.clip(landmarks[_TORSO, :2], low, high)
    length = np.linalg.norm(np.mean(hips, 0) - (right + left) / 2)
    return float(length * np.linalg.norm(left - right))


def _require_usable(landmarks: Floats, frame: Frame) -> None:
    """Raise PoseError unless shoulders and chest are in the photograph, upright and from the front."""
    low, high = _photo_edges(frame)
    names = {Landmark.L_SHOULDER: "left shoulder", Landmark.R_SHOULDER: "right shoulder"}
    missing = [
        name
        for joint, name in names.items()
        if landmarks[joint, 3] <= MIN_VISIBILITY
        or (landmarks[joint, :2] < low - EDGE_TOLERANCE).any()
        or (landmarks[joint, :2] > high + EDGE_TOLERANCE).any()
    ]
    if missing:
        raise PoseError(
            f"The photograph does not show the person's {' and '.join(missing)}. "
            "Use a photograph that shows one person from the front, head to hips."
        )
    shoulders, hips = landmarks[SHOULDERS, :2].mean(0), landmarks[HIPS, :2].mean(0)
    down = hips - shoulders
    torso = float(np.linalg.norm(down))
    if down[1] < MIN_UPRIGHT_COSINE * torso:
        raise PoseError(
            "The person is not upright in the photograph. Rotate the photograph, or use one of a person who "
            "stands or sits."
        )
    right, left = landmarks[Landmark.R_SHOULDER, 0], landmarks[Landmark.L_SHOULDER, 0]
    if right - left > FROM_BEHIND * torso:
        raise PoseError("The person is seen from behind. Use a photograph from the front.")
    across = landmarks[Landmark.L_SHOULDER] - landmarks[Landmark.R_SHOULDER]
    angle = math.degrees(math.atan2(abs(float(across[2])), max(float(across[0]), 0.0)))
    if across[0] < SIDE_WIDTH * torso and angle > SIDE_ANGLE:
        raise PoseError("The person is turned too far from the camera: use a photograph from the front.")
    if shoulders[1] + MIN_VISIBLE_TORSO * down[1] > high[1]:
        raise PoseError(
            "The photograph ends above the person's chest. "
            "Use a photograph that shows one person from the front, head to hips."
        )


def _photo_edges(frame: Frame) -> tuple[Points, Points]:
    """Return the top left and bottom right corner of the photograph on the canvas, canvas pixels."""
    corners = frame.points_to_canvas(np.array([[0, 0], [frame.photo_width, frame.photo_height]], np.float32))
    return np.maximum(corners[0], 0), np.minimum(corners[1], (WIDTH, HEIGHT))
