"""Training of the cascade: losses against values by hand, input checks, learning, stopping and resuming."""

import json
import math
import shutil
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from config.errors import ImageLoadError, InputValidationError, WeightsMissingError
from worker.images.maps import Part
from worker.lab.cascade_training import checkpoints, curves, losses
from worker.lab.cascade_training.cutout import make_pairs
from worker.lab.cascade_training.data import Batch, Examples, PairFolder, batch_indices, open_folder
from worker.lab.cascade_training.discriminator import MultiScaleDiscriminator
from worker.lab.cascade_training.objectives import (
    DISCRIMINATOR,
    GENERATOR,
    Alias,
    Matching,
    Objective,
    Segmentation,
)
from worker.lab.cascade_training.perceptual import PerceptualLoss, check
from worker.lab.cascade_training.sizes import SIZES, Size
from worker.lab.cascade_training.train import CURVES, PLOT, SHEETS, Plan, train
from worker.weights.checkpoint import load_state_dict, shapes

TINY = Size(picture=(256, 128), network=(64, 64), channels=4, features=2, shared=4, judge=4)

JOINTS = {0: (384, 200), 1: (384, 300), 2: (300, 300), 3: (250, 430), 4: (240, 560)} | {
    5: (468, 300),
    6: (518, 430),
    7: (528, 560),
    8: (384, 620),
    9: (330, 620),
    12: (438, 620),
}


def draw_person(folder: Path, name: str, colour: tuple[int, int, int]) -> None:
    """Draw a person of boxes in a striped shirt, with the parse and the pose."""
    parse = np.zeros((1024, 768), np.uint8)
    parse[100:260, 320:448] = Part.FACE
    parse[260:640, 290:478] = Part.UPPER_CLOTHES
    parse[300:560, 478:540] = Part.LEFT_ARM
    parse[300:560, 230:290] = Part.RIGHT_ARM
    parse[640:1024, 300:468] = Part.PANTS
    photo = np.full((1024, 768, 3), 220, np.uint8)
    photo[np.isin(parse, (Part.FACE, Part.LEFT_ARM, Part.RIGHT_ARM))] = (210, 160, 130)
    photo[parse == Part.PANTS] = (30, 30, 60)
    photo[parse == Part.UPPER_CLOTHES] = colour
    photo[300:640:80][parse[300:640:80] == Part.UPPER_CLOTHES] = 255
    body = np.zeros((25, 3))
    for joint, position in JOINTS.items():
        body[joint] = (*position, 0.9)
    pose = np.zeros((1024, 768, 3), np.uint8)
    for x, y in JOINTS.values():
        pose[y - 10 : y + 10, x - 10 : x + 10] = (255, 0, 85)
    for part in ("image", "image-parse", "openpose-json", "openpose-img"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    Image.fromarray(photo).save(folder / "image" / f"{name}.jpg", quality=95)
    Image.fromarray(parse).save(folder / "image-parse" / f"{name}.png")
    Image.fromarray(pose).save(folder / "openpose-img" / f"{name}_rendered.png")
    write_joints(folder, name, body)


def write_joints(folder: Path, name: str, body: np.ndarray) -> None:
    document = {"people": [{"pose_keypoints_2d": body.ravel().tolist()}]}
    (folder / "openpose-json" / f"{name}_keypoints.json").write_text(json.dumps(document))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> PairFolder:
    folder = tmp_path_factory.mktemp("pairs")
    draw_person(folder / "people", "red", (180, 30, 40))
    draw_person(folder / "people", "green", (30, 140, 60))
    assert make_pairs(folder / "people", folder / "pairs") == 2
    return open_folder(folder / "pairs")


@pytest.fixture
def folder(pairs: PairFolder, tmp_path: Path) -> Path:
    """A copy of the pairs that a test may damage."""
    return Path(shutil.copytree(pairs.parts["image"].parent, tmp_path / "pairs"))


@pytest.fixture(scope="module")
def batch(pairs: PairFolder) -> Batch:
    examples = Examples(pairs, TINY)
    return Batch.of(torch.utils.data.default_collate([examples[0], examples[1]]), torch.device("cpu"))


class TestLosses:
    def test_cross_entropy_normalises_the_scores_by_their_sum(self) -> None:
        scores = torch.tensor(
            [[[[0.6, 0.1]], [[0.2, 0.3]]]]
        )  # one picture, two labels, one row of two pixels
        labels = torch.tensor([[[0, 1]]])
        by_hand = -(math.log(0.6 / 0.8) + math.log(0.3 / 0.4)) / 2
        assert losses.cross_entropy(scores, labels).item() == pytest.approx(by_hand)

    def test_cross_entropy_of_a_score_of_zero_is_finite(self) -> None:
        scores = torch.tensor([[[[0.0]], [[1.0]]]], requires_grad=True)
        loss = losses.cross_entropy(scores, torch.tensor([[[0]]]))
        loss.backward()
        assert loss.item() == pytest.approx(-math.log(1e-8), rel=1e-3)

    OUTPUT = ([torch.zeros(2), torch.tensor([0.5, 2.0])], [torch.zeros(2), torch.tensor([-1.0])])
    OTHER_OUTPUT = ([torch.tensor([1.0, 3.0]), torch.zeros(2)], [torch.tensor([4.0, 0.0]), torch.zeros(1)])

    def test_least_squares(self) -> None:
        assert losses.least_squares(self.OUTPUT, 1).item() == pytest.approx(((0.25 + 1) / 2 + 4) / 2)
        assert losses.least_squares(self.OUTPUT, 0).item() == pytest.approx(((0.25 + 4) / 2 + 1) / 2)

    def test_hinges(self) -> None:
        real, generated = (0.5 + 0) / 2 + 2, (1.5 + 3) / 2 + 0
        discriminator_loss = losses.hinge_discriminator(self.OUTPUT, self.OUTPUT).item()
        assert discriminator_loss == pytest.approx((real + generated) / 2)
        assert losses.hinge_generator(self.OUTPUT).item() == pytest.approx((-1.25 + 1) / 2)

    def test_feature_matching_leaves_out_the_scores(self) -> None:
        assert losses.feature_matching(self.OUTPUT, self.OTHER_OUTPUT).item() == pytest.approx((2 + 2) / 2)

    def test_warp_compares_the_masked_garments(self) -> None:
        warped, photo = torch.full((1, 3, 2, 2), 0.5), torch.full((1, 3, 2, 2), -0.5)
        mask = torch.tensor([[[[1.0, 0.5], [0.0, 0.0]]]])
        worn = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]]]])
        # By pixel: both; half of the warped one, none worn; neither; one worn, none warped.
        assert losses.warp(warped, mask, photo, worn).item() == pytest.approx((1 + 0.25 + 0 + 0.5) / 4)

    def test_second_order_of_a_similarity_is_zero(self) -> None:
        from worker.viton_hd.spline import control_points

        turn = torch.tensor([[0.5, 0.2], [-0.2, 0.5]], dtype=torch.float64)
        theta = (control_points() @ turn - control_points()).T.reshape(1, 50)
        assert losses.second_order(theta).item() == pytest.approx(0, abs=1e-9)

    def test_second_order_of_one_moved_corner(self) -> None:
        # Point 0 is a corner, 0.45 from its neighbours. It moves 0.45 outwards in x: the triple along x has
        # the steps 0.9 and 0.45 on one line, the triple along y the steps (0.45, 0.45) and (0, 0.45).
        theta = torch.zeros(1, 50)
        theta[0, 0] = -0.45
        along_x = 0.45
        along_y = 0.45 * math.sqrt(2) - 0.45 + 0.45 * 0.45
        assert losses.second_order(theta).item() == pytest.approx(along_x + along_y, rel=1e-5)

    def test_second_order_has_a_gradient_where_points_coincide(self) -> None:
        theta = torch.zeros(1, 50)
        theta[0, 0] = 0.45  # onto its neighbour in x
        theta.requires_grad_(True)
        losses.second_order(theta).backward()
        assert theta.grad is not None
        assert torch.isfinite(theta.grad).all()

    def test_perceptual_loss_sums_the_means_of_five_layers(self) -> None:
        # A network with the layout of VGG-19, in which every layer returns its input.
        features = nn.Sequential(*(nn.Identity() for _ in range(37)))
        network = nn.Module()
        network.features = features
        loss = PerceptualLoss(network)
        real, generated = torch.zeros(1, 3, 2, 2), torch.full((1, 3, 2, 2), 0.5)
        by_hand = 5 * np.mean([0.25 / std for std in (0.229, 0.224, 0.225)])
        assert loss(real, generated).item() == pytest.approx(by_hand, rel=1e-5)


def test_a_missing_perceptual_network_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissingError, match=r"tryon weights fetch vgg19.*--no-perceptual"):
        PerceptualLoss.load(tmp_path)


def test_another_file_is_not_accepted_as_vgg19(tmp_path: Path) -> None:
    file = tmp_path / "vgg19-dcbb9e9d.pth"
    torch.save({"features.0.weight": torch.zeros(1)}, file)
    with pytest.raises(WeightsMissingError, match="does not begin with dcbb9e9d"):
        check(file)


def test_the_discriminator_scores_two_scales() -> None:
    output = MultiScaleDiscriminator(5, 4)(torch.randn(2, 5, 64, 64))
    assert [len(scale) for scale in output] == [5, 5]
    assert output[0][-1].shape[:2] == (2, 1)
    assert output[0][-1].shape[2] > output[1][-1].shape[2]


class TestPairFolder:
    def test_pairs_of_equal_names(self, pairs: PairFolder) -> None:
        assert [(pair.person, pair.garment) for pair in pairs.pairs] == [("green", "green"), ("red", "red")]
        assert not pairs.left_out

    def test_pairs_by_a_list(self, folder: Path, tmp_path: Path) -> None:
        listed = tmp_path / "pairs.txt"
        listed.write_text("red.jpg green.jpg\n")
        (pair,) = open_folder(folder, listed).pairs
        assert (pair.person, pair.garment) == ("red", "green")

    def test_a_line_that_is_not_a_pair(self, folder: Path, tmp_path: Path) -> None:
        listed = tmp_path / "pairs.txt"
        listed.write_text("red.jpg green.jpg\n\nred.jpg\n")
        with pytest.raises(
            InputValidationError, match=r"Line 3 of .*pairs.txt is not a person's and a garment"
        ):
            open_folder(folder, listed)

    def test_a_missing_folder(self, folder: Path) -> None:
        (folder / "openpose-img").rename(folder / "poses")
        with pytest.raises(InputValidationError, match="has no folder openpose-img or openpose_img"):
            open_folder(folder)

    def test_the_folder_names_of_other_releases(self, folder: Path) -> None:
        (folder / "openpose-img").rename(folder / "openpose_img")
        (folder / "image-parse").rename(folder / "image-parse-v3")
        assert len(Examples(open_folder(folder), TINY)) == 2

    def test_a_missing_file(self, folder: Path) -> None:
        (folder / "cloth-mask" / "red.jpg").unlink()
        with pytest.raises(InputValidationError, match=r"lacks cloth-mask/red\.jpg\."):
            open_folder(folder)

    def test_no_person_has_a_garment(self, folder: Path) -> None:
        for name in ("red", "green"):
            (folder / "cloth" / f"{name}.jpg").rename(folder / "cloth" / f"{name}_garment.jpg")
        with pytest.raises(InputValidationError, match="names no pair"):
            open_folder(folder)

    def test_a_picture_of_another_size(self, folder: Path) -> None:
        Image.new("RGB", (384, 512)).save(folder / "cloth" / "red.jpg")
        with pytest.raises(InputValidationError, match="384×512 pixels, not 768×1024"):
            open_folder(folder)

    def test_a_file_that_is_not_a_picture(self, folder: Path) -> None:
        (folder / "image" / "red.jpg").write_bytes(b"nothing")
        with pytest.raises(ImageLoadError, match=r"red\.jpg cannot be read as an image"):
            open_folder(folder)

    def test_a_truncated_picture(self, folder: Path) -> None:
        file = folder / "image" / "green.jpg"
        file.write_bytes(file.read_bytes()[:5000])
        with pytest.raises(ImageLoadError, match=r"green\.jpg cannot be read"):
            Examples(open_folder(folder), TINY)[0]

    def test_a_colour_picture_as_parse(self, folder: Path) -> None:
        Image.new("RGB", (768, 1024)).save(folder / "image-parse" / "red.png")
        with pytest.raises(InputValidationError, match="is a colour picture"):
            open_folder(folder)

    def test_a_label_beyond_the_last(self, folder: Path) -> None:
        Image.new("L", (768, 1024), 20).save(folder / "image-parse" / "green.png")
        with pytest.raises(InputValidationError, match="contains the label 20"):
            Examples(open_folder(folder), TINY)[0]

    def test_a_pose_that_is_not_json(self, folder: Path) -> None:
        (folder / "openpose-json" / "red_keypoints.json").write_text("{")
        with pytest.raises(InputValidationError, match="is not JSON"):
            open_folder(folder)

    def test_people_without_hips_are_left_out_and_named(self, folder: Path) -> None:
        write_joints(folder, "red", np.zeros((25, 3)))
        opened = open_folder(folder)
        assert [pair.person for pair in opened.pairs] == ["green"]
        assert "hip" in opened.left_out["red"]

    def test_no_person_can_be_used(self, folder: Path) -> None:
        for name in ("red", "green"):
            write_joints(folder, name, np.zeros((25, 3)))
        with pytest.raises(InputValidationError, match="None of the 2 people"):
            open_folder(folder)


def test_examples_agree_with_the_drawn_person(batch: Batch) -> None:
    assert len(batch) == 2
    assert batch.photo.shape == (2, 3, 256, 128)
    rows, columns = slice(68, 156), slice(50, 78)  # the shirt is at 260..640, 290..478 of 1024×768
    assert batch.worn_mask[0, 0, rows, columns].all()
    assert not batch.worn_mask[0, 0, :, :40].any()
    garment = batch.maps.garment[1][:, 120, 64]  # "red" in the middle of its garment
    assert garment[0] > 0
    assert garment[1] < -0.5
    assert batch.maps.garment_mask[1, 0, 120, 64] == 1
    assert batch.maps.parse_agnostic[0, 3].sum() == 0


def test_every_epoch_has_every_pair_once_in_its_own_order() -> None:
    steps = list(batch_indices(6, 2, 0, 0, 9))
    epochs = [sorted(chain.from_iterable(steps[start : start + 3])) for start in (0, 3, 6)]
    assert epochs == [list(range(6))] * 3
    assert len({str(steps[start : start + 3]) for start in (0, 3, 6)}) > 1
    assert list(batch_indices(6, 2, 0, 4, 9)) == steps[4:]


def objective(name: str, precision: torch.dtype = torch.float32) -> Objective:
    torch.manual_seed(0)
    options = {"device": torch.device("cpu"), "precision": precision, "learning_rate": 3e-3}
    if name == "seg":
        return Segmentation(TINY, **options)
    if name == "gmm":
        return Matching(TINY, **options)
    return Alias(TINY, TINY.matcher(), None, **options)


class TestLearning:
    FALLING_LOSSES = (("seg", "cross_entropy", 0.95), ("alias", "difference", 0.8))

    @pytest.mark.parametrize(("name", "loss", "max_ratio"), FALLING_LOSSES)
    def test_steps_lower_the_loss(self, batch: Batch, name: str, loss: str, max_ratio: float) -> None:
        trained = objective(name)
        first, *_, last = (trained.step(batch, 0)[loss].item() for _ in range(8))
        assert last < max_ratio * first

    def test_matching_learns_the_garments_position(self, batch: Batch) -> None:
        trained = objective("gmm")
        values = [trained.step(batch, 0)["warp"].item() for _ in range(40)]
        assert np.mean(values[-5:]) < 0.85 * np.mean(values[:5])

    @pytest.mark.parametrize("name", ["seg", "gmm", "alias"])
    def test_mixed_precision_keeps_parameters_and_statistics(self, batch: Batch, name: str) -> None:
        trained = objective(name, torch.bfloat16)
        step_losses = trained.step(batch, 0)
        assert all(torch.isfinite(value) for value in step_losses.values())
        tensors = trained.generator.state_dict().values()
        assert {value.dtype for value in tensors if value.is_floating_point()} == {torch.float32}

    def test_the_learning_rates_fall_over_the_second_half(self) -> None:
        trained = objective("alias")
        ratios = []
        for progress in (0, 0.5, 0.75, 1):
            trained.set_learning_rates(progress)
            (generator,) = trained.optimisers[GENERATOR].param_groups
            (discriminator,) = trained.optimisers[DISCRIMINATOR].param_groups
            ratios.append(generator["lr"] / 3e-3)
            assert discriminator["lr"] == pytest.approx(4 * generator["lr"])
        assert ratios == pytest.approx([1, 1, 0.5, 0])

    def test_the_generators_step_does_not_change_the_discriminator(self, batch: Batch) -> None:
        trained = objective("seg")
        trained.optimisers[DISCRIMINATOR].param_groups[0]["lr"] = 0.0
        before = [value.clone() for value in trained.discriminator.parameters()]
        trained.step(batch, 0)
        assert all(torch.equal(a, b) for a, b in zip(before, trained.discriminator.parameters(), strict=True))
        assert all(value.requires_grad for value in trained.discriminator.parameters())


def plan(network: str, steps: int, **changes: object) -> Plan:
    options = {"batch": 1, "checkpoint_every": 2, "row_every": 1, "sheet_every": 100} | changes
    return Plan(network=network, size=TINY, steps=steps, **options)


class TestRuns:
    @pytest.mark.parametrize("network", ["seg", "alias"])
    def test_a_resumed_run_ends_with_the_weights_of_an_unbroken_one(
        self, pairs: PairFolder, tmp_path: Path, network: str
    ) -> None:
        matcher = tmp_path / "gmm.pth"
        checkpoints.save(TINY.matcher().state_dict(), matcher)
        options = {"matcher": matcher} if network == "alias" else {}
        unbroken = train(plan(network, 3), pairs, tmp_path / "unbroken", **options)
        train(plan(network, 1), pairs, tmp_path / "resumed", **options)
        resumed = train(plan(network, 3), pairs, tmp_path / "resumed", resume=True, **options)
        new = TINY.alias() if network == "alias" else TINY.segmenter()
        expected, actual = (load_state_dict(file, shapes(new)) for file in (unbroken, resumed))
        new.load_state_dict(expected, strict=True)
        assert all(torch.equal(expected[key], actual[key]) for key in expected)
        assert curves.rows(tmp_path / "unbroken" / CURVES) == curves.rows(tmp_path / "resumed" / CURVES)

    def test_the_files_of_a_run(self, pairs: PairFolder, tmp_path: Path) -> None:
        reported: list[int] = []
        options = {"report": lambda step, _: reported.append(step)}
        file = train(plan("gmm", 4, batch=2, sheet_every=2), pairs, tmp_path, **options)
        assert reported == [1, 2, 3, 4]
        assert [row["step"] for row in curves.rows(tmp_path / CURVES)] == reported
        with Image.open(tmp_path / PLOT) as picture:
            assert picture.size == (800, 300)  # two losses
        assert [sheet.name for sheet in sorted((tmp_path / SHEETS).iterdir())] == [
            "epoch_000002.png",
            "epoch_000004.png",
        ]
        assert not list(tmp_path.glob(".*"))
        assert set(torch.load(file, weights_only=True)) == set(TINY.matcher().state_dict())

    def test_rows_after_the_checkpoint_are_removed(self, pairs: PairFolder, tmp_path: Path) -> None:
        train(plan("gmm", 2, batch=2), pairs, tmp_path)
        with (tmp_path / CURVES).open("a") as rows:  # as after a run that was killed at step 3
            rows.write("3,9,9\n")
        train(plan("gmm", 3, batch=2), pairs, tmp_path, resume=True)
        assert [row["step"] for row in curves.rows(tmp_path / CURVES)] == [1, 2, 3]
        assert curves.rows(tmp_path / CURVES)[-1]["warp"] < 9

    def test_runs_that_cannot_be_started_or_resumed(self, pairs: PairFolder, tmp_path: Path) -> None:
        with pytest.raises(InputValidationError, match=r"contains no state\.pth to resume from"):
            train(plan("gmm", 1, batch=2), pairs, tmp_path, resume=True)
        train(plan("gmm", 1, batch=2), pairs, tmp_path)
        with pytest.raises(InputValidationError, match="contains a run already"):
            train(plan("gmm", 2, batch=2), pairs, tmp_path)
        with pytest.raises(InputValidationError, match="has finished its 1 steps"):
            train(plan("gmm", 1, batch=2), pairs, tmp_path, resume=True)
        with pytest.raises(InputValidationError, match="seed was 0, not 1"):
            train(plan("gmm", 2, batch=2, seed=1), pairs, tmp_path, resume=True)
        (tmp_path / checkpoints.STATE).write_bytes(b"PK\x03\x04 half of it")
        with pytest.raises(InputValidationError, match="cannot be read"):
            train(plan("gmm", 2, batch=2), pairs, tmp_path, resume=True)

    def test_alias_needs_matching_of_its_size(self, pairs: PairFolder, tmp_path: Path) -> None:
        with pytest.raises(InputValidationError, match="--matcher"):
            train(plan("alias", 1), pairs, tmp_path)
        matcher = tmp_path / "gmm.pth"
        checkpoints.save(SIZES["small"].matcher().state_dict(), matcher)
        with pytest.raises(WeightsMissingError, match="another network's"):
            train(plan("alias", 1), pairs, tmp_path, matcher=matcher)

    def test_a_run_starts_from_a_weight_file(self, pairs: PairFolder, tmp_path: Path) -> None:
        initial = tmp_path / "initial.pth"
        checkpoints.save(TINY.segmenter().state_dict(), initial)
        options = {"learning_rate": 1e-30}
        file = train(plan("seg", 1, **options), pairs, tmp_path / "run", start=initial)
        start, end = (torch.load(name, weights_only=True) for name in (initial, file))
        assert all(torch.allclose(start[key], end[key], atol=1e-7) for key in start)

    def test_a_loss_that_is_not_finite_stops_the_run(self, tmp_path: Path) -> None:
        table = curves.Curves(tmp_path / CURVES, 0)
        table.add({"warp": torch.tensor(math.nan)})
        with pytest.raises(InputValidationError, match="diverged before step 7: warp is not finite"):
            table.write_row(7)


def test_full_size_networks_have_the_published_shapes() -> None:
    vectors = Path(__file__).resolve().parents[1] / "vectors"
    published = json.loads((vectors / "state_dict_shapes.json").read_text())
    full = SIZES["full"]
    with torch.device("meta"):
        for name, network in {"seg": full.segmenter(), "gmm": full.matcher(), "alias": full.alias()}.items():
            assert {key: list(shape) for key, shape in shapes(network).items()} == published[name]
