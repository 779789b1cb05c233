"""The trained parser: a tiny seeded network from safetensors, and how score maps become labels."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file

from config.errors import ParsingError, WeightsMissingError
from config.settings import settings
from tests.support.samples import VITON, needs_samples
from worker.images.maps import Body25, Part, Pose
from worker.lab.parser_training import validate
from worker.lab.parser_training.convert import convert
from worker.parsing import tone, trained
from worker.parsing.classes import TITLES, Class
from worker.parsing.files import digest, files
from worker.parsing.network import ParserNetwork, build
from worker.stages import table

MODEL = Path(trained.__file__).with_name("model")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A network of the shipped layout with fewer channels and seeded random weights."""
    folder = tmp_path_factory.mktemp("parser")
    layout = yaml.safe_load((MODEL / "parser.yaml").read_text())
    layout["scales"] = {"n": [0.33, 0.0625, 1024]}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(layout))
    torch.manual_seed(0)
    network = build(folder / "tiny.yaml")
    save_file(
        {key: value.contiguous() for key, value in network.state_dict().items()}, folder / "tiny.safetensors"
    )
    return folder / "tiny.safetensors"


def test_scores_are_confidences_of_every_class(tiny):
    network = ParserNetwork(tiny, tiny.with_suffix(".yaml"), size=96)
    image = np.random.default_rng(0).integers(0, 255, (1024, 768, 3), np.uint8)
    scores = network.scores(image)
    assert scores.shape == (256, 192, len(Class))
    assert scores.dtype == np.float32
    assert scores.min() >= 0
    assert scores.max() <= 1


def test_a_mirrored_picture_has_mirrored_scores(tiny):
    network = ParserNetwork(tiny, tiny.with_suffix(".yaml"), size=96)
    image = np.random.default_rng(0).integers(0, 255, (1024, 768, 3), np.uint8)
    scores = network.scores(image)
    mirrored = network.scores(np.ascontiguousarray(image[:, ::-1]))
    assert np.abs(scores - mirrored[:, ::-1]).max() < 1e-4


def test_weights_in_half_precision_are_loaded_as_float32(tiny, tmp_path):
    network = build(tiny.with_suffix(".yaml"))
    half = {
        key: (value.half() if value.is_floating_point() else value).contiguous()
        for key, value in network.state_dict().items()
    }
    save_file(half, tmp_path / "half.safetensors")
    loaded = ParserNetwork(tmp_path / "half.safetensors", tiny.with_suffix(".yaml"), size=96)
    assert all(parameter.dtype is torch.float32 for parameter in loaded.model.parameters())


@pytest.mark.parametrize("damage", ["truncated", "other", "text"])
def test_invalid_weights_are_refused(tiny, tmp_path, damage):
    file = tmp_path / "parser.safetensors"
    if damage == "truncated":
        file.write_bytes(tiny.read_bytes()[:-1000])
    elif damage == "other":
        save_file({"a": torch.zeros(3)}, file)
    else:
        file.write_text("no tensors")
    with pytest.raises(WeightsMissingError, match=r"parser\.safetensors"):
        ParserNetwork(file, tiny.with_suffix(".yaml"))


def test_a_layout_of_other_classes_is_refused(tiny, tmp_path):
    layout = yaml.safe_load(tiny.with_suffix(".yaml").read_text())
    layout["names"] = {0: "cat"}
    (tmp_path / "parser.yaml").write_text(yaml.safe_dump(layout))
    with pytest.raises(WeightsMissingError, match="cat"):
        ParserNetwork(tiny, tmp_path / "parser.yaml")
    with pytest.raises(WeightsMissingError, match="is missing"):
        ParserNetwork(tiny, tmp_path / "none.yaml")


def hostile(change):
    """The shipped layout with a change."""
    layout = yaml.safe_load((MODEL / "parser.yaml").read_text())
    change(layout)
    return layout


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(activation="torch.__import__('os').mkdir('@')"), "the key 'activation'"),
        (lambda d: d["backbone"].append([-1, 1, "os.mkdir", ["@"]]), "the module 'os.mkdir'"),
        (lambda d: d["backbone"].append([-1, 1, "nn.Module", [1]]), "the module 'nn.Module'"),
        (lambda d: d["backbone"].append([-1, 1, "Conv", ["__import__('os').mkdir('@')"]]), "the argument"),
        (lambda d: d["backbone"].append([-1, 1, "Conv", [[["deep"]]]]), "the argument"),
        (lambda d: d["backbone"].append([-1, "__import__('os').mkdir('@')", "Conv", [1]]), "is repeated"),
        (lambda d: d["backbone"].append([-1, 10**9, "Conv", [64, 3]]), "is repeated"),
        (lambda d: d["backbone"].append([-1, 1, "Conv", [10**9, 3]]), "the argument"),
        (lambda d: d["backbone"].append([99, 1, "Conv", [64, 3]]), "no layer before it"),
        (lambda d: d["backbone"].append("Conv"), "is not \\[from"),
        (lambda d: d["backbone"].extend([[-1, 1, "Conv", [64, 3]]] * 300), "not a list of at most 200"),
        (lambda d: d["scales"].update(n=[1e9, 1, 1024]), "the scale 'n'"),
        (lambda d: d.update(scale="z"), "the scale 'z'"),
        (lambda d: d.update(nc=10**9), "classes"),
        (lambda d: d.update(head=[]), "must be Segment"),
        (lambda d: d["head"].insert(0, [-1, 1, "Concat", ["nearest"]]), "cannot be built"),
        (lambda d: d.update(backbone=None), "not a list"),
    ],
)
def test_a_hostile_layout_is_refused_before_ultralytics_evaluates_it(change, message, tmp_path):
    canary = tmp_path / "was-run"
    (tmp_path / "parser.yaml").write_text(yaml.safe_dump(hostile(change)).replace("@", str(canary)))
    with pytest.raises(WeightsMissingError, match=message):
        build(tmp_path / "parser.yaml")
    assert not canary.exists()


@pytest.mark.parametrize(
    "text", ["!!python/object/apply:os.getcwd []", "[" * 20_000, "a: &a [1]\n" * 20_000, "{", "", "7", "\x00"]
)
def test_a_file_that_is_no_layout_is_refused(text, tmp_path):
    (tmp_path / "parser.yaml").write_text(text)
    with pytest.raises(WeightsMissingError, match="is not a layout of the parser"):
        build(tmp_path / "parser.yaml")


@pytest.mark.parametrize("name", ["yolov8n-seg.yaml", "yolo11n-seg.yaml"])
def test_the_layouts_of_ultralytics_are_accepted(name, tmp_path):
    from worker.parsing.quiet import ultralytics

    (source,) = Path(ultralytics().__file__).parent.glob(f"cfg/models/*/{name.replace('n-', '-')}")
    layout = yaml.safe_load(source.read_text()) | {"nc": len(TITLES), "names": dict(enumerate(TITLES))}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(layout | {"scale": "n"}))
    assert sum(value.numel() for value in build(tmp_path / "own.yaml").parameters()) > 1_000_000


def test_own_weights_need_a_layout_and_both_have_one_digest(tiny, tmp_path):
    assert files(tmp_path, tiny) == (tiny, tiny.with_suffix(".yaml"))
    first = digest(tiny)
    other = tmp_path / "own.safetensors"
    other.write_bytes(tiny.read_bytes())
    with pytest.raises(WeightsMissingError, match=r"own\.yaml"):
        digest(other)
    other.with_suffix(".yaml").write_text(tiny.with_suffix(".yaml").read_text() + "# changed\n")
    assert digest(other) != first
    with pytest.raises(WeightsMissingError, match="tryon parser convert"):
        files(tmp_path, tmp_path / "parser.pt")


def test_a_checkpoint_is_converted(tiny, tmp_path):
    network = build(tiny.with_suffix(".yaml"))
    network.names = dict(enumerate(TITLES))
    torch.save({"model": network, "ema": None}, tmp_path / "best.pt")

    converted = convert(tmp_path / "best.pt", tmp_path / "parser.safetensors")

    loaded = ParserNetwork(converted, converted.with_suffix(".yaml"), size=96)
    assert loaded.model.yaml["nc"] == len(Class)
    assert converted.stat().st_size < 0.7 * (tmp_path / "best.pt").stat().st_size


def test_a_checkpoint_of_other_classes_is_refused(tiny, tmp_path):
    network = build(tiny.with_suffix(".yaml"))
    network.names = {0: "cat"}
    torch.save({"model": network}, tmp_path / "cat.pt")
    with pytest.raises(WeightsMissingError, match="cat"):
        convert(tmp_path / "cat.pt", tmp_path / "parser.safetensors")
    (tmp_path / "text.pt").write_text("no checkpoint")
    with pytest.raises(WeightsMissingError, match=r"text\.pt"):
        convert(tmp_path / "text.pt", tmp_path / "parser.safetensors")


def test_the_training_log_is_summarised(tmp_path):
    header = "epoch,metrics/mAP50(B),metrics/mAP50-95(B),metrics/mAP50(M),metrics/mAP50-95(M)"
    header += ",val/box_loss,val/seg_loss,val/cls_loss,val/dfl_loss"
    rows = [
        "1,.1,.1,.1,.1,3,3,3,3",
        "2,.3,.3,.3,.3,1,1,1,1",
        "3,.4,.4,.4,.4,2,2,2,2",
        "4,.2,.2,.2,.2,3,3,3,3",
    ]
    (tmp_path / "results.csv").write_text("\n".join([header, *rows]) + "\n")
    assert validate.training_summary(tmp_path / "results.csv") == {
        "epochs": 4,
        "best epoch": 3,
        "lowest validation loss at epoch": 2,
        "overfitting from epoch": 3,
    }


class _FixedScores:
    """Replaces the network by fixed score maps."""

    def __init__(self, scores):
        self._scores = scores

    def scores(self, image):
        return self._scores


def _published(person):
    from PIL import Image

    image = np.array(Image.open(VITON / "image" / f"{person}.jpg").convert("RGB"))
    truth = np.array(Image.open(VITON / "image-parse" / f"{person}.png"))
    annotation = json.loads((VITON / "openpose-json" / f"{person}_keypoints.json").read_text())["people"][0]
    pose = Pose(
        *(
            np.array(annotation[f"{name}_keypoints_2d"], np.float32).reshape(-1, 3)
            for name in ("pose", "hand_left", "hand_right")
        )
    )
    return image, truth, pose


_CLASS_OF = {
    Part.HAIR: Class.HAIR, Part.FACE: Class.FACE, Part.NECK: Class.NECK, Part.UPPER_CLOTHES: Class.COAT,
    Part.PANTS: Class.SKIRT, Part.LEFT_ARM: Class.ARM, Part.RIGHT_ARM: Class.ARM,
}  # fmt: skip


def _scores_of(truth):
    """Return the scores of a network that agrees with a published parse."""
    scores = np.zeros((256, 192, len(Class)), np.float32)
    small = truth[2::4, 2::4]
    for part, kind in _CLASS_OF.items():
        scores[..., kind][small == part] = 0.9
    return scores


@needs_samples
def test_the_network_gives_the_class_and_the_pose_the_side():
    image, truth, pose = _published("03615_00")
    labels = trained.parse(
        image, pose, np.where(truth > 0, 255, 0).astype(np.uint8), _FixedScores(_scores_of(truth))
    )

    assert not labels[truth == 0].any()
    # The class is the network's (coat, skirt), whatever the colours are.
    for part, name in ((Part.UPPER_CLOTHES, Part.COAT), (Part.PANTS, Part.SKIRT), (Part.HAIR, Part.HAIR)):
        inside = truth == part
        assert (labels[inside] == name).mean() > 0.9, part
    for side in (Part.LEFT_ARM, Part.RIGHT_ARM):
        inside = truth == side
        assert (labels[inside] == side).mean() > 0.8


@needs_samples
def test_a_neck_in_deep_shade_is_not_labelled_as_garment():
    image, truth, pose = _published("03615_00")
    neck = truth == Part.NECK
    image[neck] = image[neck] // 3
    labels = trained.parse(
        image, pose, np.where(truth > 0, 255, 0).astype(np.uint8), _FixedScores(_scores_of(truth))
    )
    assert (labels[neck] == Part.NECK).mean() > 0.85


@needs_samples
def test_a_lace_sleeve_is_not_labelled_as_bag():
    image, truth, pose = _published("03615_00")
    y, x = np.mgrid[0:1024, 0:768]
    shoulder = pose.body[Body25.R_SHOULDER, :2]
    sleeve = (truth == Part.UPPER_CLOTHES) & (np.hypot(x - shoulder[0], y - shoulder[1]) < 60)
    scores = _scores_of(truth)
    scores[..., Class.COAT][sleeve[2::4, 2::4]] = 0.3
    scores[..., Class.BAG][sleeve[2::4, 2::4]] = 0.5
    labels = trained.parse(image, pose, np.where(truth > 0, 255, 0).astype(np.uint8), _FixedScores(scores))
    assert (labels[sleeve] != Part.BACKGROUND).mean() > 0.95


def _posed(nose=(50, 40), shoulders=((20, 70), (80, 70))):
    pose = Pose(np.zeros((25, 3), np.float32), np.zeros((21, 3), np.float32), np.zeros((21, 3), np.float32))
    for joint, point in zip(
        (Body25.NOSE, Body25.R_SHOULDER, Body25.L_SHOULDER), (nose, *shoulders), strict=True
    ):
        pose.body[joint] = (*point, 1)
    return pose


def test_a_grey_photograph_gets_skin_colour_where_it_is_as_light_as_the_face():
    grey = np.full((100, 100, 3), 20, np.uint8)
    grey[:60] = 170
    toned = tone.with_skin_tone(grey, _posed()).astype(int)
    assert np.ptp(toned[30, 50]) > 20
    assert toned[30, 50, 0] > toned[30, 50, 1] > toned[30, 50, 2]
    assert np.ptp(toned[90, 50]) < 5
    light = cv2.cvtColor(toned.astype(np.uint8), cv2.COLOR_RGB2LAB)[..., 0].astype(int)
    assert np.abs(light - cv2.cvtColor(grey, cv2.COLOR_RGB2LAB)[..., 0]).max() < 4


def test_a_colour_photograph_is_unchanged():
    colour = np.full((100, 100, 3), 120, np.uint8)
    colour[:10] = (200, 40, 40)
    assert tone.with_skin_tone(colour, _posed()) is colour


@needs_samples
def test_a_person_without_an_upper_garment_is_refused():
    image, truth, pose = _published("03615_00")
    scores = np.zeros((256, 192, len(Class)), np.float32)
    scores[..., Class.BAG] = 1
    with pytest.raises(ParsingError, match="No upper garment"):
        trained.parse(image, pose, np.where(truth > 0, 255, 0).astype(np.uint8), _FixedScores(scores))


def test_own_weights_are_identified_by_their_content(tiny, tmp_path, monkeypatch):
    own = tmp_path / "own.safetensors"
    own.write_bytes(tiny.read_bytes())
    own.with_suffix(".yaml").write_bytes(tiny.with_suffix(".yaml").read_bytes())
    monkeypatch.setenv("TRYON_PARSER_WEIGHTS", str(own))
    settings.cache_clear()
    try:
        first = table.selected(table.stage("parse"), {})
        own.write_bytes(own.read_bytes()[:-4] + b"\0\0\0\0")
        second = table.selected(table.stage("parse"), {})
    finally:
        monkeypatch.undo()
        settings.cache_clear()
    assert first["parser"] == "trained"
    assert first["weights"] != second["weights"]


def test_the_landmark_parser_needs_no_network(monkeypatch):
    monkeypatch.setenv("TRYON_PARSER", "landmark")
    settings.cache_clear()
    try:
        assert table.method(table.stage("parse")).name == "landmark"
        assert table.method(table.stage("parse")).digests() == {}
    finally:
        monkeypatch.undo()
        settings.cache_clear()
    assert table.method(table.stage("parse")).name == "trained"
