"""What every reader of signals and volumes promises, and what other libraries read of the files."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from placewise import images
from placewise.errors import ImageError
from placewise.readers import READERS, Reader, list_files, reader_of, wfdb

RNG = np.random.default_rng(0)
SIGNAL = np.round(np.cumsum(RNG.normal(size=(301, 2)), 0) * 40).astype(np.int16)
VOLUME = RNG.integers(0, 60_000, (4, 5, 6)).astype(np.uint16)

Made = tuple[Path, NDArray[np.float32], tuple[float, ...] | None]
"""(file, what it holds, distance of its places)."""


def wav(folder: Path) -> Made:
    wavfile = pytest.importorskip("scipy.io.wavfile")
    wavfile.write(folder / "a.wav", 8000, SIGNAL)
    return folder / "a.wav", SIGNAL / np.float32(32768), (1 / 8000,)


def record(folder: Path) -> Made:
    (folder / "r.hea").write_text("r 2 360 301\nr.dat 16 200 16 0\nr.dat 16 100(10)/mV 16 5\n")
    (folder / "r.dat").write_bytes(SIGNAL.astype("<i2").tobytes())
    values = np.stack([SIGNAL[:, 0] / 200, (SIGNAL[:, 1] - 10.0) / 100], 1).astype(np.float32)
    return folder / "r.hea", values, (1 / 360,)


def packed(folder: Path) -> Made:
    np.savez(folder / "v.npz", image=VOLUME, mask=VOLUME > 9, spacing_mm=(3.0, 1.0, 0.5))
    return folder / "v.npz", VOLUME[..., None].astype(np.float32), (3.0, 1.0, 0.5)


def text(folder: Path) -> Made:
    rows = [f"{k / 50},{a},{b}" for k, (a, b) in enumerate(SIGNAL.tolist())]
    (folder / "s.csv").write_text("\n".join(["time,lead one,lead two", *rows]) + "\n")
    return folder / "s.csv", SIGNAL.astype(np.float32), (0.02,)


def nifti(folder: Path) -> Made:
    nibabel = pytest.importorskip("nibabel", reason="nibabel is not installed")
    affine = np.diag([-0.5, 1.0, 3.0, 1.0])
    affine[:3, 3] = 7, -8, 9
    image = nibabel.Nifti1Image(VOLUME.transpose(2, 1, 0), affine)
    nibabel.save(image, folder / "v.nii.gz")
    return folder / "v.nii.gz", VOLUME[..., None].astype(np.float32), (3.0, 1.0, 0.5)


def tiff(folder: Path) -> Made:
    tifffile = pytest.importorskip("tifffile", reason="tifffile is not installed")
    facts = {"axes": "ZYX", "spacing": 2.0, "unit": "um"}
    tifffile.imwrite(folder / "v.tif", VOLUME, imagej=True, resolution=(4.0, 2.0), metadata=facts)
    return folder / "v.tif", VOLUME[..., None].astype(np.float32), (2e-3, 0.5e-3, 0.25e-3)


MADE: dict[str, Callable[[Path], Made]] = {
    "wav": wav,
    "wfdb": record,
    "packed": packed,
    "text": text,
    "nifti": nifti,
    "tiff": tiff,
}


@pytest.fixture(params=READERS.names())
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Reader, Made]]:
    yield READERS[request.param](), MADE[request.param](tmp_path)


def test_a_file_is_read_as_it_was_written(made: tuple[Reader, Made]) -> None:
    reader, (path, values, spacing) = made
    found, facts = reader.read(path), reader.facts(path)
    assert found.dtype == np.float32 and np.array_equal(found, values.astype(np.float32))
    assert (*facts.size, facts.channels) == found.shape
    assert facts.spacing == pytest.approx(spacing, rel=1e-6)
    assert type(reader_of(path)) is type(reader)
    assert path in list_files(path.parent, len(facts.size))


def test_a_label_map_is_written_where_the_volume_lies(made: tuple[Reader, Made]) -> None:
    """The numbers, distances and, of NIfTI, the whole affine come back."""
    reader, (path, _, spacing) = made
    labels = np.arange(np.prod(reader.facts(path).size)).reshape(reader.facts(path).size) % 300
    data = reader.alike(path, labels)
    if data is None:
        assert type(reader).__name__ not in ("Nifti", "TiffStack")
        return
    copy = path.with_name(f"copy{''.join(path.suffixes)}")
    copy.write_bytes(data)
    assert np.array_equal(reader.read(copy)[..., 0], labels)
    assert reader.facts(copy).spacing == pytest.approx(spacing, rel=1e-6)
    if type(reader).__name__ == "Nifti":
        load = pytest.importorskip("nibabel").load
        assert np.array_equal(load(copy).affine, load(path).affine)


def test_damaged_files_are_refused_in_one_kind_of_error(made: tuple[Reader, Made]) -> None:
    reader, (path, _, _) = made
    rng = np.random.default_rng(1)
    for file in reader.files(path):
        whole = file.read_bytes()
        for _ in range(25):
            data = bytearray(whole)
            if rng.random() < 0.5:
                data = data[: rng.integers(0, len(data))]
            for place in rng.integers(0, max(1, len(data)), rng.integers(0, 6)):
                if len(data):
                    data[place] = rng.integers(256)
            file.write_bytes(bytes(data))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    assert np.isfinite(reader.read(path)).all()
                except ImageError as error:
                    assert str(path.parent) in str(error)
        file.write_bytes(whole)
    with pytest.raises(ImageError, match="no such file"):
        reader.read(path.with_name("gone" + path.suffix))


def test_a_size_beyond_the_limit_is_refused_before_memory_is_taken(
    made: tuple[Reader, Made], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, (path, values, _) = made
    monkeypatch.setattr("placewise.readers.PIXEL_LIMIT", values.size - 1)
    monkeypatch.setattr(type(reader), "values", lambda *_: pytest.fail("memory was taken"))
    with pytest.raises(ImageError, match="needed at most"):
        reader.read(path)


# Other libraries


@pytest.mark.parametrize("kind", ["u1", "<i2", "<i4", "<f4", "<f8"])
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_sound_is_what_scipy_reads(kind: str, channels: int, tmp_path: Path) -> None:
    wavfile = pytest.importorskip("scipy.io.wavfile")
    values = (RNG.uniform(-1, 1, (99, channels)) * 120 + 128).astype(kind)
    wavfile.write(tmp_path / "a.wav", 44_100, values)
    _, held = wavfile.read(tmp_path / "a.wav")
    held = held.reshape(99, channels).astype(np.float64)
    scale = {"u1": (128, 128), "<i2": (0, 2**15), "<i4": (0, 2**31)}.get(kind, (0, 1))
    found = READERS["wav"]().read(tmp_path / "a.wav")
    assert np.abs(found - (held - scale[0]) / scale[1]).max() < 1e-6 * max(1, np.abs(found).max())


def test_sound_of_24_bits_keeps_its_sign(tmp_path: Path) -> None:
    import wave

    values = [-(2**23), -1, 0, 1, 2**23 - 1]
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((1, 3, 8000, 0, "NONE", ""))
        file.writeframes(b"".join(value.to_bytes(3, "little", signed=True) for value in values))
    found = READERS["wav"]().read(tmp_path / "a.wav")[:, 0]
    assert found.tolist() == pytest.approx([value / 2**23 for value in values])


@pytest.mark.parametrize("form", ["212", "16", "80"])
@pytest.mark.parametrize("length", [300, 301])
def test_records_are_what_wfdb_reads(form: str, length: int, tmp_path: Path) -> None:
    library = pytest.importorskip("wfdb", reason="the oracle wfdb is not installed")
    top = {"212": 2000, "16": 30_000, "80": 120}[form]
    digital = np.random.default_rng(length).integers(-top, top, (length, 3))
    warnings.simplefilter("ignore")  # wfdb calls what pandas will take away
    library.wrsamp(
        "r",
        fs=250,
        units=["mV"] * 3,
        sig_name=["a", "b", "c"],
        d_signal=digital,
        fmt=[form] * 3,
        adc_gain=[200.0, 100.0, 50.0],
        baseline=[0, 7, -3],
        write_dir=str(tmp_path),
    )
    held = library.rdrecord(str(tmp_path / "r")).p_signal
    assert np.abs(READERS["wfdb"]().read(tmp_path / "r.hea") - held).max() < 1e-4
    places = np.cumsum(np.random.default_rng(0).integers(1, 3000, 40))
    symbols = list(np.random.default_rng(0).choice(list("NVAL/Q~|+"), 40))
    notes = ["(N" if symbol == "+" else "" for symbol in symbols]
    library.wrann("r", "atr", places, symbols, aux_note=notes, write_dir=str(tmp_path))
    times, found = wfdb.read_marks(tmp_path / "r.atr")
    assert times.tolist() == places.tolist() and found == symbols


def test_the_record_of_the_shared_data_is_what_wfdb_reads() -> None:
    library = pytest.importorskip("wfdb", reason="the oracle wfdb is not installed")
    path = Path(__file__).resolve().parents[3] / "shared" / "data" / "ecg_record100" / "100.hea"
    if not path.is_file():
        pytest.skip("the shared data are not here")
    warnings.simplefilter("ignore")  # wfdb calls what pandas will take away
    held = library.rdrecord(str(path.with_suffix("")), sampto=20_000).p_signal
    assert np.abs(READERS["wfdb"]().read(path)[:20_000] - held).max() < 1e-6
    times, symbols = wfdb.read_marks(path.with_suffix(".atr"))
    marks = library.rdann(str(path.with_suffix("")), "atr")
    assert times.tolist() == marks.sample.tolist() and symbols == marks.symbol


# What is never guessed


def test_pages_without_named_axes_are_an_image(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile", reason="tifffile is not installed")
    tifffile.imwrite(tmp_path / "a.tif", VOLUME, metadata=None, photometric="minisblack")
    assert reader_of(tmp_path / "a.tif") is None
    assert images.read_image(tmp_path / "a.tif").shape == (5, 6, 1)


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"signal": np.zeros(9), "image": np.zeros((2, 2, 2))}, "signal, image"),
        ({"other": np.zeros(9)}, "holds other"),
        ({"signal": np.zeros((2, 900))}, "channels go to the end"),
        ({"image": np.zeros((4, 4))}, "D×H×W"),
        ({"signal": np.zeros(9), "fs": np.zeros(3)}, "needed 1 numbers"),
        ({"signal": np.zeros(9), "fs": 0.0}, "needed are numbers above 0"),
        ({"signal": np.array([0, np.nan])}, "not finite"),
        ({"signal": np.array(["a", "b"])}, "needed whole numbers or floats"),
    ],
)
def test_arrays_that_mean_nothing_are_refused(
    arrays: dict[str, NDArray[np.generic]], says: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with np.errstate(divide="ignore"), pytest.raises(ImageError, match=says):
        READERS["packed"]().read(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("empty", "", "it holds no row of numbers"),
        ("head alone", "time,lead\n", "it holds no row of numbers"),
        ("too large", "1e300\n2\n", r"not finite numbers up to 1e\+37"),
        ("at the end of float32", "3e38\n-3e38\n", r"not finite numbers up to 1e\+37"),
        ("times", "t,a\n-1e308,1\n1e308,2\n1e308,2\n", "apart; needed numbers above 0"),
    ],
)
def test_tables_that_mean_nothing_are_refused_in_our_words(
    name: str, text: str, says: str, tmp_path: Path
) -> None:
    path = tmp_path / f"{name}.csv"
    path.write_text(text)
    with warnings.catch_warnings(record=True) as said, pytest.raises(ImageError, match=says):
        warnings.simplefilter("always")
        READERS["text"]().read(path)
    assert not said


def test_numbers_that_float32_does_not_hold_are_refused_in_our_words(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.full(9, 1e300))
    with (
        warnings.catch_warnings(record=True) as said,
        pytest.raises(ImageError, match="not finite"),
    ):
        warnings.simplefilter("always")
        READERS["packed"]().read(tmp_path / "a.npy")
    assert not said


def test_objects_in_an_array_are_never_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", signal=np.array([{}, 1], dtype=object))
    with pytest.raises(ImageError, match="needed"):
        READERS["packed"]().read(tmp_path / "a.npz")


def test_a_header_that_promises_too_much_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", signal=np.zeros(9, np.uint8))
    with zipfile.ZipFile(tmp_path / "a.npz") as file:
        data = file.read("signal.npy").replace(b"(9,)", b"(9999999999,)", 1)
    data = data.replace(b"         \n", b"\n", 1)
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as file:
        file.writestr("signal.npy", data)
    with pytest.raises(ImageError):
        READERS["packed"]().read(tmp_path / "b.npz")


def test_a_record_opens_nothing_outside_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "r.hea").write_text("r 1 360 4\n../other.dat 16 200\n")
    with pytest.raises(ImageError, match="outside of its folder"):
        READERS["wfdb"]().facts(tmp_path / "r.hea")
