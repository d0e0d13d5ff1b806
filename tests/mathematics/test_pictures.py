"""A folder of pictures of any kind: every file is a picture of the right colours, or is named as left out."""

import re

import numpy as np
import pytest
import torch
from PIL import Image

from course_utils.data import picture_folder, scale
from course_utils.schedule import cosine_schedule
from course_utils.training import train
from course_utils.unet import UNet

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
SIZE = 8


@pytest.fixture
def folder(tmp_path):
    """A folder whose path has spaces and letters that are not Latin."""
    path = tmp_path / "my pictures 写真 фото"
    path.mkdir()
    return path


def plain(path, colour=RED, size=(SIZE, SIZE), **options):
    path.parent.mkdir(exist_ok=True, parents=True)
    Image.new("RGB", size, colour).save(path, **options)
    return path


def upper_half(colour, size=(SIZE, SIZE), rest=(0, 0, 0)):
    """A picture whose upper half has a colour."""
    picture = Image.new("RGB", size, rest)
    picture.paste(colour, (0, 0, size[0], size[1] // 2))
    return picture


def colours_of(images):
    """The mean colour of each picture, as a list of tuples of whole numbers."""
    return [tuple(colour) for colour in images.float().mean(dim=(2, 3)).round().int().tolist()]


def one_colour(images):
    """The colour of the only picture, which has no other."""
    assert images.shape == (1, 3, SIZE, SIZE)
    assert (images == images[:, :, :1, :1]).all()
    return tuple(images[0, :, 0, 0].tolist())


# Kinds of pictures


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.gif", "a.tif", "a.ppm", "a.tga", "a.PNG", "a.b.c.png"])
def test_pixels_of_lossless_files_are_kept(folder, name):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8))
    picture = picture.quantize(64) if name.endswith("gif") else picture
    picture.save(folder / name)
    images, labels = picture_folder(folder, SIZE)
    assert (images.dtype, labels.dtype) == (torch.uint8, torch.int64)
    assert np.array_equal(images[0].permute(1, 2, 0).numpy(), np.asarray(picture.convert("RGB")))
    assert labels.tolist() == [0]


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "YCbCr"])
def test_jpegs_of_all_colour_spaces_are_nearly_the_same(folder, mode):
    Image.new("RGB", (SIZE, SIZE), (200, 100, 50)).convert(mode).save(folder / "a.jpg")
    images, _ = picture_folder(folder, SIZE)
    expected = Image.new("RGB", (1, 1), (200, 100, 50)).convert(mode).convert("RGB").getpixel((0, 0))
    assert (images[0].float() - torch.tensor(expected)[:, None, None]).abs().max() <= 3


@pytest.mark.parametrize(
    ("background", "seen"), [("white", (255, 127, 127)), ("black", (128, 0, 0)), ("#0000ff", (128, 0, 127))]
)
def test_what_is_half_transparent_is_mixed_with_the_background(folder, background, seen):
    Image.new("RGBA", (SIZE, SIZE), (*RED, 128)).save(folder / "a.png")
    assert one_colour(picture_folder(folder, SIZE, background=background)[0]) == seen


def test_the_background_is_white_unless_said_otherwise(folder):
    Image.new("LA", (SIZE, SIZE), (0, 0)).save(folder / "a.png")
    assert one_colour(picture_folder(folder, SIZE)[0]) == (255, 255, 255)


@pytest.mark.parametrize("name", ["a.png", "a.gif"])
def test_palette_is_looked_up_and_its_transparent_entry_shows_the_background(folder, name):
    picture = Image.new("P", (SIZE, SIZE), 2)
    picture.putpalette([*RED, *GREEN, *BLUE])
    picture.paste(1, (0, 0, SIZE, SIZE // 2))
    picture.save(folder / name, transparency=1)
    images, _ = picture_folder(folder, SIZE, background="yellow")
    assert colours_of(images[:, :, : SIZE // 2]) == [(255, 255, 0)]
    assert colours_of(images[:, :, SIZE // 2 :]) == [BLUE]


def test_one_bit_is_black_and_white(folder):
    upper_half((255, 255, 255)).convert("1").save(folder / "a.png")
    images, _ = picture_folder(folder, SIZE)
    assert (images[:, :, : SIZE // 2] == 255).all()
    assert (images[:, :, SIZE // 2 :] == 0).all()


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
def test_a_ramp_of_sixteen_bits_keeps_its_mean(folder, name):
    ramp = np.linspace(0, 65535, 64 * 64).round().astype(np.uint16).reshape(64, 64)
    Image.fromarray(ramp).save(folder / name)
    images, _ = picture_folder(folder, 64)
    assert np.abs(images[0, 0].numpy() - ramp / 257).max() <= 0.5
    assert (images.double() / 255).mean() == pytest.approx(0.5, abs=1e-3)


def test_floats_are_brightness_from_0_to_1(folder, capsys):
    Image.new("F", (SIZE, SIZE), 0.2).save(folder / "a.tif")
    Image.new("F", (SIZE, SIZE), 51).save(folder / "b.tif")
    assert one_colour(picture_folder(folder, SIZE)[0]) == (51, 51, 51)
    assert "1 broken: b.tif (its values are not within 0 .. 1)" in capsys.readouterr().out


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_turned_upright_whichever_way_the_camera_was_held(folder, orientation):
    """The two upper corners are red and green; the EXIF standard says what each orientation stores."""
    upright = Image.new("RGB", (SIZE, SIZE))
    upright.paste(RED, (0, 0, SIZE // 2, SIZE // 2))
    upright.paste(GREEN, (SIZE // 2, 0, SIZE, SIZE // 2))
    turn = Image.Transpose
    stored = {
        2: turn.FLIP_LEFT_RIGHT,
        3: turn.ROTATE_180,
        4: turn.FLIP_TOP_BOTTOM,
        5: turn.TRANSPOSE,
        6: turn.ROTATE_90,
        7: turn.TRANSVERSE,
        8: turn.ROTATE_270,
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo = upright.transpose(stored[orientation]) if orientation > 1 else upright
    photo.save(folder / "a.png", exif=exif)
    images, _ = picture_folder(folder, SIZE)
    assert np.array_equal(images[0].permute(1, 2, 0).numpy(), np.asarray(upright))


def test_a_film_is_its_first_frame(folder):
    first, second = (Image.new("RGB", (SIZE, SIZE), colour) for colour in (RED, BLUE))
    first.save(folder / "a.gif", save_all=True, append_images=[second])
    assert one_colour(picture_folder(folder, SIZE)[0]) == RED


def test_grey_and_coloured_pictures_become_alike(folder):
    Image.new("L", (SIZE, SIZE), 77).save(folder / "a.png")
    plain(folder / "b.png", RED)
    assert colours_of(picture_folder(folder, SIZE)[0]) == [(77, 77, 77), RED]
    images, _ = picture_folder(folder, SIZE, grey=True)
    assert images.shape == (2, 1, SIZE, SIZE)
    assert colours_of(images) == [(77,), (round(0.299 * 255),)]  # as bright as red looks: ITU-R 601


# Shapes


@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_other_sizes_among_pictures_of_the_right_one(folder, fit):
    for name, size in {"a": (32, 32), "b": (27, 27), "c": (30, 45)}.items():
        plain(folder / f"{name}.png", RED, size)
    images, _ = picture_folder(folder, 32, fit, background="blue")
    assert images.shape == (3, 3, 32, 32)
    red = (images == torch.tensor(RED)[:, None, None]).all(dim=1)
    assert red[:2].all()
    width = 32 if fit == "crop" else round(30 / 45 * 32)
    assert red[2].all(dim=0).sum() == width
    assert red[2].sum() == 32 * width
    assert width == 32 or colours_of(images[2:, :, :, :5]) == [BLUE]


@pytest.mark.parametrize("turned", [False, True])
def test_crop_keeps_the_middle_and_pad_keeps_all(folder, turned):
    """Three squares, one above the other or side by side."""
    picture = Image.new("RGB", (SIZE, 3 * SIZE), GREEN)
    picture.paste(RED, (0, 0, SIZE, SIZE))
    picture.paste(BLUE, (0, 2 * SIZE, SIZE, 3 * SIZE))
    (picture.transpose(Image.Transpose.TRANSPOSE) if turned else picture).save(folder / "a.png")
    assert one_colour(picture_folder(folder, SIZE)[0]) == GREEN
    images, _ = picture_folder(folder, 3 * SIZE, "pad", background="white")
    image = images[0].mT if turned else images[0]
    assert image[:, SIZE // 2 :: SIZE, 3 * SIZE // 2].T.tolist() == [list(RED), list(GREEN), list(BLUE)]
    assert (image[:, :, [*range(SIZE), *range(2 * SIZE, 3 * SIZE)]] == 255).all()


@pytest.mark.parametrize("fit", ["crop", "pad"])
@pytest.mark.parametrize("size", [(1, 1), (1, 500), (5000, 2)])
def test_odd_shapes_stay_pictures(folder, fit, size):
    plain(folder / "a.png", RED, size)
    images, _ = picture_folder(folder, SIZE, fit)
    assert (images[0, :, SIZE // 2, SIZE // 2] == torch.tensor(RED)).all()


def test_shrinking_takes_the_mean_of_many_pixels(folder):
    """A chessboard of single pixels becomes grey; picking every tenth pixel would leave it black or white."""
    board = np.indices((80, 80)).sum(axis=0) % 2 * 255
    Image.fromarray(board.astype(np.uint8)).save(folder / "a.png")
    images, _ = picture_folder(folder, SIZE)
    assert (images.float() - 127.5).abs().max() < 5


# Files that are no pictures


def cut(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])


def test_broken_files_are_named_and_counted_and_the_others_are_read(folder, capsys):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for name in ("cut.jpg", "cut.png"):
        Image.fromarray(noise).save(folder / name)
        cut(folder / name, 0.6)
    (folder / "empty.jpg").touch()
    (folder / "poem.png").write_text("I am a poem")
    plain(folder / "good.png")
    assert one_colour(picture_folder(folder, SIZE)[0]) == RED
    said = capsys.readouterr().out
    assert re.search(r"left out, 4 broken: cut\.jpg \(.*truncated.*\), cut\.png \(.*\), empty\.jpg \(empty", said)
    assert "poem.png (empty, or not a picture)" in said
    assert "good.png" not in said


def test_hidden_files_and_other_types_are_named_and_counted(folder, capsys):
    plain(folder / "A.JPG")
    (folder / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    plain(folder / ".thumbnails" / "small.png")
    (folder / "notes.txt").write_text("buy milk")
    (folder / "no ending").touch()
    images, _ = picture_folder(folder, SIZE)
    assert len(images) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"1 picture in {folder}",
        "  left out, 2 hidden: .DS_Store, .thumbnails",
        "  left out, 2 of another type: no ending, notes.txt",
    ]


@pytest.mark.parametrize("name", [None, "a.txt", ".a.png", "a.png"])
def test_a_folder_without_pictures_is_refused_by_name(folder, name, capsys):
    if name:
        (folder / name).touch()
    with pytest.raises(ValueError, match=re.escape(str(folder))):
        picture_folder(folder, SIZE)
    assert (name or "0 pictures") in capsys.readouterr().out


def test_a_path_that_is_not_there_is_refused_by_name(folder):
    with pytest.raises(FileNotFoundError, match=re.escape(str(folder / "mistyped"))):
        picture_folder(folder / "mistyped", SIZE)
    assert not (folder / "mistyped").exists()


def test_a_file_is_refused_by_name(folder):
    with pytest.raises(NotADirectoryError, match=re.escape(str(folder / "a.png"))):
        picture_folder(plain(folder / "a.png"), SIZE)


@pytest.mark.parametrize("wrong", [dict(size=0), dict(size=7.5), dict(fit="stretch"), dict(background="whit")])
def test_other_wrong_arguments_are_refused(folder, wrong):
    plain(folder / "a.png")
    with pytest.raises(ValueError, match=str(*wrong.values())):
        picture_folder(folder, **(dict(size=SIZE) | wrong))


# Folders


def test_subfolders_are_labels_and_the_report_names_them(folder, capsys):
    for name, colour in {"собаки/b.png": GREEN, "big cats/2020/a.png": RED, "big cats/z.png": BLUE}.items():
        plain(folder / name, colour)
    (folder / "empty").mkdir()
    images, labels = picture_folder(str(folder), SIZE)
    assert colours_of(images) == [RED, BLUE, GREEN]
    assert labels.tolist() == [0, 0, 1]
    assert "labels: 0 is big cats, 1 is собаки" in capsys.readouterr().out


def test_pictures_beside_subfolders_have_a_label_of_their_own(folder, capsys):
    for name in ("!/a.png", "b.png", "c/d.png"):
        plain(folder / name)
    assert picture_folder(folder, SIZE)[1].tolist() == [1, 0, 2]
    assert "labels: 0 is no subfolder, 1 is !, 2 is c" in capsys.readouterr().out


def test_a_folder_that_is_read_only_is_read_and_stays_as_it_is(folder):
    plain(folder / "a.png")
    before = [(path, path.stat().st_mtime_ns) for path in (folder, *folder.iterdir())]
    folder.chmod(0o555)
    try:
        assert one_colour(picture_folder(folder, SIZE)[0]) == RED
    finally:
        folder.chmod(0o755)
    assert [(path, path.stat().st_mtime_ns) for path in (folder, *folder.iterdir())] == before


@pytest.mark.parametrize("number", [1, 65])
def test_any_number_of_pictures_can_be_trained_on_in_batches_of_64(folder, number):
    for i in range(number):
        plain(folder / f"{i:02}.png", (3 * i, 0, 0))
    images, labels = picture_folder(folder, SIZE)
    assert colours_of(images) == [(3 * i, 0, 0) for i in range(number)]
    model = UNet(in_channels=3, base_channels=8, multipliers=(1, 2), condition=1)
    history = train(model, scale(images), cosine_schedule(10), steps=2, batch_size=64, condition=labels)
    assert len(history) == 2
    assert np.isfinite(history).all()
