"""Training the cascade: its losses by hand, its door, and that it learns, stops and goes on exactly."""

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
from worker.lab.cascade_training.data import Batch, Examples, PairFolder, batches, open_folder
from worker.lab.cascade_training.discriminator import MultiScaleDiscriminator
from worker.lab.cascade_training.objectives import Alias, Matching, Objective, Segmentation
from worker.lab.cascade_training.perceptual import PerceptualLoss, check
from worker.lab.cascade_training.sizes import SIZES, Size
from worker.lab.cascade_training.train import CURVES, PICTURE, SHEETS, Plan, train
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
    """Draw a person of boxes in a shirt of stripes, with the parse and the pose."""
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
    for joint, place in JOINTS.items():
        body[joint] = (*place, 0.9)
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
def drawn(tmp_path_factory: pytest.TempPathFactory) -> PairFolder:
    folder = tmp_path_factory.mktemp("drawn")
    draw_person(folder / "people", "red", (180, 30, 40))
    draw_person(folder / "people", "green", (30, 140, 60))
    assert make_pairs(folder / "people", folder / "pairs") == 2
    return open_folder(folder / "pairs")


@pytest.fixture
def folder(drawn: PairFolder, tmp_path: Path) -> Path:
    """A copy of the drawn pairs that a test may spoil."""
    return Path(shutil.copytree(drawn.parts["image"].parent, tmp_path / "pairs"))


@pytest.fixture(scope="module")
def batch(drawn: PairFolder) -> Batch:
    examples = Examples(drawn, TINY)
    return Batch.of(torch.utils.data.default_collate([examples[0], examples[1]]), torch.device("cpu"))


class TestLosses:
    def test_cross_entropy_is_of_the_scores_as_parts_of_their_sum(self) -> None:
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

    JUDGED = ([torch.zeros(2), torch.tensor([0.5, 2.0])], [torch.zeros(2), torch.tensor([-1.0])])
    OTHER = ([torch.tensor([1.0, 3.0]), torch.zeros(2)], [torch.tensor([4.0, 0.0]), torch.zeros(1)])

    def test_least_squares(self) -> None:
        assert losses.least_squares(self.JUDGED, 1).item() == pytest.approx(((0.25 + 1) / 2 + 4) / 2)
        assert losses.least_squares(self.JUDGED, 0).item() == pytest.approx(((0.25 + 4) / 2 + 1) / 2)

    def test_hinges(self) -> None:
        real, made = (0.5 + 0) / 2 + 2, (1.5 + 3) / 2 + 0
        assert losses.hinge_discriminator(self.JUDGED, self.JUDGED).item() == pytest.approx((real + made) / 2)
        assert losses.hinge_generator(self.JUDGED).item() == pytest.approx((-1.25 + 1) / 2)

    def test_feature_matching_leaves_out_the_scores(self) -> None:
        assert losses.feature_matching(self.JUDGED, self.OTHER).item() == pytest.approx((2 + 2) / 2)

    def test_warp_compares_the_garments_cut_out(self) -> None:
        warped, photo = torch.full((1, 3, 2, 2), 0.5), torch.full((1, 3, 2, 2), -0.5)
        mask = torch.tensor([[[[1.0, 0.5], [0.0, 0.0]]]])
        worn = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]]]])
        # Both; half of the bent one where none is worn; neither; one worn where none is bent.
        assert losses.warp(warped, mask, photo, worn).item() == pytest.approx((1 + 0.25 + 0 + 0.5) / 4)

    def test_second_order_of_a_similarity_is_zero(self) -> None:
        from worker.viton_hd.spline import control_points

        turn = torch.tensor([[0.5, 0.2], [-0.2, 0.5]], dtype=torch.float64)
        theta = (control_points() @ turn - control_points()).T.reshape(1, 50)
        assert losses.second_order(theta).item() == pytest.approx(0, abs=1e-9)

    def test_second_order_of_one_moved_corner(self) -> None:
        # Point 0 stands at the corner, its neighbours at a step of 0.45. Moved 0.45 outwards in x, the triple
        # along x has the steps 0.9 and 0.45 on one line, that along y the steps (0.45, 0.45) and (0, 0.45).
        theta = torch.zeros(1, 50)
        theta[0, 0] = -0.45
        along_x = 0.45
        along_y = 0.45 * math.sqrt(2) - 0.45 + 0.45 * 0.45
        assert losses.second_order(theta).item() == pytest.approx(along_x + along_y, rel=1e-5)

    def test_second_order_has_a_gradient_where_points_fall_together(self) -> None:
        theta = torch.zeros(1, 50)
        theta[0, 0] = 0.45  # onto its neighbour in x
        theta.requires_grad_(True)
        losses.second_order(theta).backward()
        assert theta.grad is not None
        assert torch.isfinite(theta.grad).all()

    def test_perceptual_loss_sums_the_means_of_five_layers(self) -> None:
        # A stand-in for VGG-19 of the same layout, in which every layer hands its input on.
        features = nn.Sequential(*(nn.Identity() for _ in range(37)))
        network = nn.Module()
        network.features = features
        loss = PerceptualLoss(network)
        real, made = torch.zeros(1, 3, 2, 2), torch.full((1, 3, 2, 2), 0.5)
        by_hand = 5 * np.mean([0.25 / std for std in (0.229, 0.224, 0.225)])
        assert loss(real, made).item() == pytest.approx(by_hand, rel=1e-5)


def test_the_perceptual_network_is_never_left_out_silently(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissingError, match=r"tryon weights fetch vgg19.*--no-perceptual"):
        PerceptualLoss.load(tmp_path)


def test_another_file_is_not_taken_for_vgg19(tmp_path: Path) -> None:
    file = tmp_path / "vgg19-dcbb9e9d.pth"
    torch.save({"features.0.weight": torch.zeros(1)}, file)
    with pytest.raises(WeightsMissingError, match="does not begin with dcbb9e9d"):
        check(file)


def test_the_discriminator_judges_two_scales() -> None:
    judged = MultiScaleDiscriminator(5, 4)(torch.randn(2, 5, 64, 64))
    assert [len(scale) for scale in judged] == [5, 5]
    assert judged[0][-1].shape[:2] == (2, 1)
    assert judged[0][-1].shape[2] > judged[1][-1].shape[2]


class TestDoor:
    def test_pairs_by_name(self, drawn: PairFolder) -> None:
        assert [(pair.person, pair.garment) for pair in drawn.pairs] == [("green", "green"), ("red", "red")]
        assert not drawn.left_out

    def test_pairs_by_a_list(self, folder: Path, tmp_path: Path) -> None:
        listed = tmp_path / "pairs.txt"
        listed.write_text("red.jpg green.jpg\n")
        (pair,) = open_folder(folder, listed).pairs
        assert (pair.person, pair.garment) == ("red", "green")

    def test_a_line_that_is_no_pair(self, folder: Path, tmp_path: Path) -> None:
        listed = tmp_path / "pairs.txt"
        listed.write_text("red.jpg green.jpg\n\nred.jpg\n")
        with pytest.raises(
            InputValidationError, match=r"Line 3 of .*pairs.txt is not a person's and a garment"
        ):
            open_folder(folder, listed)

    def test_a_folder_is_missing(self, folder: Path) -> None:
        (folder / "openpose-img").rename(folder / "poses")
        with pytest.raises(InputValidationError, match="has no folder openpose-img or openpose_img"):
            open_folder(folder)

    def test_the_names_of_other_releases_are_known(self, folder: Path) -> None:
        (folder / "openpose-img").rename(folder / "openpose_img")
        (folder / "image-parse").rename(folder / "image-parse-v3")
        assert len(Examples(open_folder(folder), TINY)) == 2

    def test_files_are_missing(self, folder: Path) -> None:
        (folder / "cloth-mask" / "red.jpg").unlink()
        with pytest.raises(InputValidationError, match=r"lacks cloth-mask/red\.jpg\."):
            open_folder(folder)

    def test_nobody_wears_a_garment_that_is_there(self, folder: Path) -> None:
        for name in ("red", "green"):
            (folder / "cloth" / f"{name}.jpg").rename(folder / "cloth" / f"{name}_garment.jpg")
        with pytest.raises(InputValidationError, match="names no pair"):
            open_folder(folder)

    def test_a_picture_of_another_size(self, folder: Path) -> None:
        Image.new("RGB", (384, 512)).save(folder / "cloth" / "red.jpg")
        with pytest.raises(InputValidationError, match="384×512 pixels, not 768×1024"):
            open_folder(folder)

    def test_no_picture(self, folder: Path) -> None:
        (folder / "image" / "red.jpg").write_bytes(b"nothing")
        with pytest.raises(ImageLoadError, match=r"red\.jpg cannot be read as an image"):
            open_folder(folder)

    def test_a_truncated_picture(self, folder: Path) -> None:
        file = folder / "image" / "green.jpg"
        file.write_bytes(file.read_bytes()[:5000])
        with pytest.raises(ImageLoadError, match=r"green\.jpg cannot be read"):
            Examples(open_folder(folder), TINY)[0]

    def test_a_parse_in_colours(self, folder: Path) -> None:
        Image.new("RGB", (768, 1024)).save(folder / "image-parse" / "red.png")
        with pytest.raises(InputValidationError, match="a picture in colours"):
            open_folder(folder)

    def test_a_label_beyond_the_last(self, folder: Path) -> None:
        Image.new("L", (768, 1024), 20).save(folder / "image-parse" / "green.png")
        with pytest.raises(InputValidationError, match="holds the label 20"):
            Examples(open_folder(folder), TINY)[0]

    def test_a_pose_that_is_no_json(self, folder: Path) -> None:
        (folder / "openpose-json" / "red_keypoints.json").write_text("{")
        with pytest.raises(InputValidationError, match="is no JSON"):
            open_folder(folder)

    def test_people_without_hips_are_left_out_and_named(self, folder: Path) -> None:
        write_joints(folder, "red", np.zeros((25, 3)))
        opened = open_folder(folder)
        assert [pair.person for pair in opened.pairs] == ["green"]
        assert "hip" in opened.left_out["red"]

    def test_nobody_is_left(self, folder: Path) -> None:
        for name in ("red", "green"):
            write_joints(folder, name, np.zeros((25, 3)))
        with pytest.raises(InputValidationError, match="None of the 2 people"):
            open_folder(folder)


def test_examples_agree_with_what_was_drawn(batch: Batch) -> None:
    assert len(batch) == 2
    assert batch.photo.shape == (2, 3, 256, 128)
    rows, columns = slice(68, 156), slice(50, 78)  # the shirt is at 260..640, 290..478 of 1024×768
    assert batch.worn[0, 0, rows, columns].all()
    assert not batch.worn[0, 0, :, :40].any()
    garment = batch.seen.garment[1][:, 120, 64]  # "red" in the middle of its garment
    assert garment[0] > 0
    assert garment[1] < -0.5
    assert batch.seen.garment_mask[1, 0, 120, 64] == 1
    assert batch.seen.parse_agnostic[0, 3].sum() == 0


def test_every_epoch_has_every_pair_once_and_an_order_of_its_own() -> None:
    steps = list(batches(6, 2, 0, 0, 9))
    epochs = [sorted(chain.from_iterable(steps[start : start + 3])) for start in (0, 3, 6)]
    assert epochs == [list(range(6))] * 3
    assert len({str(steps[start : start + 3]) for start in (0, 3, 6)}) > 1
    assert list(batches(6, 2, 0, 4, 9)) == steps[4:]


def objective(name: str, precision: torch.dtype = torch.float32) -> Objective:
    torch.manual_seed(0)
    options = {"device": torch.device("cpu"), "precision": precision, "learning_rate": 3e-3}
    if name == "seg":
        return Segmentation(TINY, **options)
    if name == "gmm":
        return Matching(TINY, **options)
    return Alias(TINY, TINY.matcher(), None, **options)


class TestLearning:
    WATCHED = (("seg", "cross_entropy", 0.95), ("alias", "difference", 0.8))

    @pytest.mark.parametrize(("name", "loss", "at_most"), WATCHED)
    def test_steps_lower_the_loss(self, batch: Batch, name: str, loss: str, at_most: float) -> None:
        taught = objective(name)
        first, *_, last = (taught.step(batch, 0)[loss].item() for _ in range(8))
        assert last < at_most * first

    def test_matching_learns_where_the_garment_lies(self, batch: Batch) -> None:
        taught = objective("gmm")
        found = [taught.step(batch, 0)["warp"].item() for _ in range(40)]
        assert np.mean(found[-5:]) < 0.85 * np.mean(found[:5])

    @pytest.mark.parametrize("name", ["seg", "gmm", "alias"])
    def test_mixed_precision_keeps_parameters_and_statistics(self, batch: Batch, name: str) -> None:
        taught = objective(name, torch.bfloat16)
        found = taught.step(batch, 0)
        assert all(torch.isfinite(value) for value in found.values())
        tensors = taught.generator.state_dict().values()
        assert {value.dtype for value in tensors if value.is_floating_point()} == {torch.float32}

    def test_the_rates_fall_over_the_second_half(self) -> None:
        taught = objective("alias")
        shares = []
        for done in (0, 0.5, 0.75, 1):
            taught.pace(done)
            (generator,), (judge,) = (taught.optimisers[name].param_groups for name in ("generator", "judge"))
            shares.append(generator["lr"] / 3e-3)
            assert judge["lr"] == pytest.approx(4 * generator["lr"])
        assert shares == pytest.approx([1, 1, 0.5, 0])

    def test_the_judge_is_not_moved_by_the_generator(self, batch: Batch) -> None:
        taught = objective("seg")
        taught.optimisers["judge"].param_groups[0]["lr"] = 0.0
        before = [value.clone() for value in taught.judge.parameters()]
        taught.step(batch, 0)
        assert all(torch.equal(a, b) for a, b in zip(before, taught.judge.parameters(), strict=True))
        assert all(value.requires_grad for value in taught.judge.parameters())


def plan(network: str, steps: int, **changed: object) -> Plan:
    options = {"batch": 1, "checkpoint_every": 2, "row_every": 1, "sheet_every": 100} | changed
    return Plan(network=network, size=TINY, steps=steps, **options)


class TestRuns:
    @pytest.mark.parametrize("network", ["seg", "alias"])
    def test_a_run_that_stopped_ends_with_the_same_weights(
        self, drawn: PairFolder, tmp_path: Path, network: str
    ) -> None:
        matcher = tmp_path / "gmm.pth"
        checkpoints.save(TINY.matcher().state_dict(), matcher)
        options = {"matcher": matcher} if network == "alias" else {}
        whole = train(plan(network, 3), drawn, tmp_path / "whole", **options)
        train(plan(network, 1), drawn, tmp_path / "parts", **options)
        parts = train(plan(network, 3), drawn, tmp_path / "parts", resume=True, **options)
        fresh = TINY.alias() if network == "alias" else TINY.segmenter()
        one, other = (load_state_dict(file, shapes(fresh)) for file in (whole, parts))
        fresh.load_state_dict(one, strict=True)
        assert all(torch.equal(one[key], other[key]) for key in one)
        assert curves.rows(tmp_path / "whole" / CURVES) == curves.rows(tmp_path / "parts" / CURVES)

    def test_what_a_run_leaves(self, drawn: PairFolder, tmp_path: Path) -> None:
        told: list[int] = []
        file = train(
            plan("gmm", 4, batch=2, sheet_every=2), drawn, tmp_path, report=lambda step, _: told.append(step)
        )
        assert told == [1, 2, 3, 4]
        assert [row["step"] for row in curves.rows(tmp_path / CURVES)] == told
        with Image.open(tmp_path / PICTURE) as picture:
            assert picture.size == (800, 300)  # two losses
        assert [sheet.name for sheet in sorted((tmp_path / SHEETS).iterdir())] == [
            "epoch_000002.png",
            "epoch_000004.png",
        ]
        assert not list(tmp_path.glob(".*"))
        assert set(torch.load(file, weights_only=True)) == set(TINY.matcher().state_dict())

    def test_rows_after_the_checkpoint_are_dropped(self, drawn: PairFolder, tmp_path: Path) -> None:
        train(plan("gmm", 2, batch=2), drawn, tmp_path)
        with (tmp_path / CURVES).open("a") as rows:  # as a run leaves them that was killed at step 3
            rows.write("3,9,9\n")
        train(plan("gmm", 3, batch=2), drawn, tmp_path, resume=True)
        assert [row["step"] for row in curves.rows(tmp_path / CURVES)] == [1, 2, 3]
        assert curves.rows(tmp_path / CURVES)[-1]["warp"] < 9

    def test_refusals(self, drawn: PairFolder, tmp_path: Path) -> None:
        with pytest.raises(InputValidationError, match=r"holds no state\.pth to go on from"):
            train(plan("gmm", 1, batch=2), drawn, tmp_path, resume=True)
        train(plan("gmm", 1, batch=2), drawn, tmp_path)
        with pytest.raises(InputValidationError, match="holds a run already"):
            train(plan("gmm", 2, batch=2), drawn, tmp_path)
        with pytest.raises(InputValidationError, match="has done its 1 steps"):
            train(plan("gmm", 1, batch=2), drawn, tmp_path, resume=True)
        with pytest.raises(InputValidationError, match="seed was 0, not 1"):
            train(plan("gmm", 2, batch=2, seed=1), drawn, tmp_path, resume=True)
        (tmp_path / checkpoints.STATE).write_bytes(b"PK\x03\x04 half of it")
        with pytest.raises(InputValidationError, match="cannot be read"):
            train(plan("gmm", 2, batch=2), drawn, tmp_path, resume=True)

    def test_alias_needs_matching_of_its_size(self, drawn: PairFolder, tmp_path: Path) -> None:
        with pytest.raises(InputValidationError, match="--matcher"):
            train(plan("alias", 1), drawn, tmp_path)
        matcher = tmp_path / "gmm.pth"
        checkpoints.save(SIZES["small"].matcher().state_dict(), matcher)
        with pytest.raises(WeightsMissingError, match="another network's"):
            train(plan("alias", 1), drawn, tmp_path, matcher=matcher)

    def test_starts_from_given_weights(self, drawn: PairFolder, tmp_path: Path) -> None:
        given = tmp_path / "given.pth"
        checkpoints.save(TINY.segmenter().state_dict(), given)
        options = {"learning_rate": 1e-30}
        file = train(plan("seg", 1, **options), drawn, tmp_path / "run", start=given)
        start, end = (torch.load(name, weights_only=True) for name in (given, file))
        assert all(torch.allclose(start[key], end[key], atol=1e-7) for key in start)

    def test_a_loss_that_is_no_number_stops_the_run(self, tmp_path: Path) -> None:
        table = curves.Curves(tmp_path / CURVES, 0)
        table.add({"warp": torch.tensor(math.nan)})
        with pytest.raises(InputValidationError, match="came apart before step 7: warp is no finite number"):
            table.row(7)


def test_full_size_networks_are_the_published_ones() -> None:
    vectors = Path(__file__).resolve().parents[1] / "vectors"
    published = json.loads((vectors / "state_dict_shapes.json").read_text())
    full = SIZES["full"]
    with torch.device("meta"):
        for name, network in {"seg": full.segmenter(), "gmm": full.matcher(), "alias": full.alias()}.items():
            assert {key: list(shape) for key, shape in shapes(network).items()} == published[name]
