"""Small folders in the layouts of public datasets, as these are documented, with the traps of each."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (24, 16)
"""Width and height of the images."""


def picture(path: Path, value: int = 100, size: tuple[int, int] = SIZE) -> Path:
    """Writes an image in the format that its suffix names, in whatever case."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).save(path)
    return path


def mask(path: Path, area: int = 3, value: int = 255, left: int = 0) -> Path:
    """Writes a mask with as many marked pixels, from the left of the first row."""
    pixels = np.zeros(SIZE[::-1], np.uint8)
    pixels[0, left : left + area] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def text(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


def visa(root: Path) -> Path:
    """Upper-case suffixes of images, masks of small values, and names of defect types in a table of their own."""
    for name in ("Normal/0000", "Normal/0001", "Anomaly/000", "Anomaly/001"):
        picture(root / f"candle/Data/Images/{name}.JPG")
    picture(root / "pipe_fryum/Data/Images/Normal/0000.JPG")
    mask(root / "candle/Data/Masks/Anomaly/000.png", 3, value=1)
    mask(root / "candle/Data/Masks/Anomaly/001.png", 5, value=2)
    candle = "candle/Data/Images"
    text(
        root / "split_csv/1cls.csv",
        "object,split,label,image,mask",
        f"candle,train,normal,{candle}/Normal/0000.JPG,",
        f"candle,test,normal,{candle}/Normal/0001.JPG,",
        f"candle,test,anomaly,{candle}/Anomaly/000.JPG,candle/Data/Masks/Anomaly/000.png",
        f"candle,test,anomaly,{candle}/Anomaly/001.JPG,candle/Data/Masks/Anomaly/001.png",
        "pipe_fryum,train,normal,pipe_fryum/Data/Images/Normal/0000.JPG,",
    )
    text(
        root / "candle/image_anno.csv",
        "image,label,mask",
        f"{candle}/Normal/0000.JPG,normal,",
        f"{candle}/Normal/0001.JPG,normal,",
        f"{candle}/Anomaly/000.JPG,wax melded out of the candle,candle/Data/Masks/Anomaly/000.png",
        f'{candle}/Anomaly/001.JPG,"chunk of wax missing,other",candle/Data/Masks/Anomaly/001.png',
    )
    return root


def visa_one_class(root: Path) -> Path:
    """As the preparation of VisA writes it: masks have the name of their image, and another suffix."""
    for name in ("train/good/0000", "test/good/0001", "test/bad/000"):
        picture(root / f"candle/{name}.JPG")
    mask(root / "candle/ground_truth/bad/000.png")
    return root


def btad(root: Path) -> Path:
    """BMP and PNG side by side, ``ok`` and ``ko``, masks of good images in one category and BMP masks in another."""
    for category, suffix, mask_suffix in (("01", "bmp", "png"), ("02", "png", "png"), ("03", "bmp", "bmp")):
        for name in ("train/ok/0000", "test/ok/0001", "test/ko/0000"):
            picture(root / category / f"{name}.{suffix}")
        mask(root / category / f"ground_truth/ko/0000.{mask_suffix}")
    mask(root / "01/ground_truth/ok/0001.png", 0)
    return root


def mpdd(root: Path) -> Path:
    for name in ("train/good/000", "test/good/000", "test/hole/000"):
        picture(root / f"bracket_black/{name}.png")
    mask(root / "bracket_black/ground_truth/hole/000_mask.png")
    return root


def autovi(root: Path) -> Path:
    """Masks in a folder of the image's name, several of one image, of other values than 255."""
    for name in ("train/good/0000", "test/good/0000", "test/unclipped/0089"):
        picture(root / f"pipe_clip/{name}.png")
    mask(root / "pipe_clip/ground_truth/unclipped/0089/0000.png", 3, value=254)
    mask(root / "pipe_clip/ground_truth/unclipped/0089/0001.png", 2, value=254, left=10)
    text(root / "pipe_clip/defects_config.json", "[]")
    return root


def mvtec_3d(root: Path) -> Path:
    """Points beside the colours, which are no images, and masks beside both, of good images too."""
    for name in ("train/good", "validation/good", "test/good", "test/hole"):
        picture(root / f"bagel/{name}/rgb/000.png")
        Image.fromarray(np.zeros(SIZE[::-1], np.float32)).save(
            picture(root / f"bagel/{name}/xyz/000.png").with_suffix(".tiff")
        )
        (root / f"bagel/{name}/xyz/000.png").unlink()
    mask(root / "bagel/test/good/gt/000.png", 0)
    mask(root / "bagel/test/hole/gt/000.png")
    text(root / "bagel/calibration/camera_parameters.json", "{}")
    return root


def kolektor_sdd(root: Path) -> Path:
    """A mask of each image, empty ones too."""
    for part, area in (("kos01", 0), ("kos02", 4)):
        picture(root / part / "Part0.jpg")
        mask(root / part / "Part0_label.bmp", area, value=1)
    return root


def kolektor_sdd2(root: Path) -> Path:
    """Defective images among those to train on."""
    for name, area in (("train/10000", 0), ("train/10001", 2), ("test/20000", 0), ("test/20001", 3)):
        picture(root / f"{name}.png")
        mask(root / f"{name}_GT.png", area)
    return root


def real_iad(root: Path) -> Path:
    """A side of a defective part that is good, numbers of parts that begin anew, and images of two sizes."""
    good = "OK/S0001/audiojack_0001_OK_C1_20231021111111.jpg"
    pit = "NG/AK/S0001/audiojack_0001_NG_AK_C2_20231021111111.jpg"
    unseen = "NG/AK/S0001/audiojack_0001_NG_AK_C3_20231021111111.jpg"
    pit_mask = "NG/AK/S0001/audiojack_0001_NG_AK_C2_20231021111111_mask.png"
    for size in ("256", "1024"):
        folder = root / f"realiad_{size}/audiojack"
        for name in (good, pit, unseen):
            picture(folder / name)
        mask(folder / pit_mask)

    def entry(kind: str, image: str, mask: str | None = None) -> dict[str, str | None]:
        return {"category": "audiojack", "anomaly_class": kind, "image_path": image, "mask_path": mask}

    described = {
        "meta": {"normal_class": "OK", "prefix": "audiojack/"},
        "train": [entry("OK", good)],
        "test": [entry("AK", pit, pit_mask), entry("OK", unseen)],
    }
    text(root / "realiad_jsons/realiad_jsons/audiojack.json", json.dumps(described))
    text(root / "realiad_jsons/realiad_jsons_sv/audiojack.json", json.dumps({"train": [], "test": []}))
    return root
