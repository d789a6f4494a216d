"""Tell whether an image file has more pages or frames than the first."""

from __future__ import annotations

from PIL import ImageFile

_SUBFILE_TAG, _NO_PAGE = 0x00FE, 0b101  # of TIFF: a page that is a smaller version of another one, or its mask
_LOOKED_THROUGH = 20  # pages of a TIFF, until one is found that is none of these


def has_second_frame(image: ImageFile.ImageFile) -> bool:
    """Return whether there is another page or frame; smaller versions and masks of the same page are none."""
    try:
        if image.format == "TIFF":
            return _has_second_page(image)
        # Cameras add previews to a JPEG, which makes it an MPO
        return image.format != "MPO" and bool(getattr(image, "is_animated", False))
    except Exception:  # damaged behind the first one, which may be used
        return False


def _has_second_page(tiff: ImageFile.ImageFile) -> bool:
    try:
        for page in range(1, _LOOKED_THROUGH):
            tiff.seek(page)
            if not tiff.tag_v2.get(_SUBFILE_TAG, 0) & _NO_PAGE:  # type: ignore[attr-defined]
                return True
    except EOFError:
        pass
    finally:
        tiff.seek(0)
    return False
