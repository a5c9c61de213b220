"""Operations on images with OpenCV that need no weights: faces, masks, edges, QR codes. It knows nothing of tools.

OpenCV 5 dropped the Haar cascades, hence `opencv-python-headless<5`. Weights, where there are any, arrive as base64 text.
"""

import base64
from typing import Any

from tracer1.toolbox.inside import Unusable, answering
from tracer1.toolbox.inside.images import box_of, open_image, within

ENLARGED = 1.5  # T3 enlarges every face by this factor about its centre
LONGEST = 1600  # pixels: faces and masks are looked for in an image no longer than this
YUNET_SCORE = 0.6


@answering
def faces(path: str, weights: str | None = None) -> list[list[int]]:
    """Boxes of faces, enlarged and cut off at the edges, from left to right.

    Args:
        path: An image.
        weights: A YuNet model (ONNX) as base64; without it the Haar cascades that come with OpenCV.
    """
    import numpy as np

    image = open_image(path)
    small, scale = _smaller(image)
    pixels = np.asarray(small)
    found = _yunet(pixels, weights) if weights else _haar(pixels)
    return sorted(_larger([value / scale for value in box], image.size) for box in found)


@answering
def segment(path: str, box: Any, out: str) -> dict[str, Any]:
    """A mask (white on black) of what stands out in a box, by GrabCut.

    Returns:
        The mask's bounding box in pixels, and the share of the box that it fills (0 to 1).
    """
    import cv2
    import numpy as np
    from PIL import Image

    image = open_image(path)
    left, top, right, bottom = within(box_of(box), image.size)
    small, scale = _smaller(image)
    x1, y1 = int(left * scale), int(top * scale)
    x2, y2 = max(x1 + 2, round(right * scale)), max(y1 + 2, round(bottom * scale))
    pixels = np.ascontiguousarray(np.asarray(small)[:, :, ::-1])
    mask = np.zeros(pixels.shape[:2], np.uint8)
    if x2 - x1 >= pixels.shape[1] and y2 - y1 >= pixels.shape[0]:
        raise Unusable(
            "bad_arguments", "The box is the whole image: nothing around it says what the background looks like."
        )
    cv2.setRNGSeed(0)  # GrabCut draws its first colour clusters by chance
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(pixels, mask, (x1, y1, x2 - x1, y2 - y1), *models, 5, cv2.GC_INIT_WITH_RECT)
    front = np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD))
    whole = Image.fromarray(front.astype(np.uint8) * 255).resize(image.size, Image.Resampling.NEAREST)
    whole.save(out)
    area = sum(whole.crop((left, top, right, bottom)).histogram()[128:])
    bounds = whole.getbbox()
    return {"box": list(bounds) if bounds else None, "share": round(area / ((right - left) * (bottom - top)), 4)}


@answering
def qr(path: str) -> list[str]:
    """The texts of the QR codes in an image."""
    import cv2
    import numpy as np

    pixels = np.asarray(open_image(path, "L"))
    _, texts, *_ = cv2.QRCodeDetectorAruco().detectAndDecodeMulti(pixels)
    found = [text for text in texts if text]
    if not found:  # the older detector sees some single codes that this one does not
        found = [text for text in cv2.QRCodeDetector().detectAndDecode(pixels)[:1] if text]
    return found


@answering
def edges(path: str, out: str) -> float:
    """Canny's edges, white on black; answers the share of white pixels."""
    import cv2
    import numpy as np
    from PIL import Image

    drawn = cv2.Canny(np.asarray(open_image(path, "L")), 100, 200)
    Image.fromarray(drawn).save(out)
    return round(float((drawn > 0).mean()), 4)


@answering
def stylize(path: str, style: str, out: str) -> list[int]:
    """As a pencil sketch, a colour sketch, a painting or a smoothed cartoon. Answers the size."""
    import cv2
    import numpy as np
    from PIL import Image

    pixels = np.ascontiguousarray(np.asarray(_smaller(open_image(path))[0])[:, :, ::-1])
    made = {
        "sketch": lambda: cv2.pencilSketch(pixels, sigma_s=60, sigma_r=0.07, shade_factor=0.05)[0],
        "color_sketch": lambda: cv2.pencilSketch(pixels, sigma_s=60, sigma_r=0.07, shade_factor=0.05)[1],
        "painting": lambda: cv2.stylization(pixels, sigma_s=60, sigma_r=0.45),
        "cartoon": lambda: cv2.edgePreservingFilter(pixels, flags=1, sigma_s=60, sigma_r=0.4),
    }
    if style not in made:
        raise Unusable("bad_arguments", f"stylize_image knows no style {style!r:.40}. Known: {', '.join(made)}.")
    drawn = made[style]()
    Image.fromarray(drawn if drawn.ndim == 2 else drawn[:, :, ::-1]).save(out)
    return [drawn.shape[1], drawn.shape[0]]


def _haar(pixels: Any) -> list[list[float]]:
    """Boxes that two cascades agree upon: one alone sees a face in a dog."""
    import cv2

    grey = cv2.equalizeHist(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))
    least = max(24, min(grey.shape) // 30)
    found = []
    for name, neighbours in (("haarcascade_frontalface_alt2.xml", 3), ("haarcascade_frontalface_default.xml", 8)):
        cascade = cv2.CascadeClassifier(cv2.data.haarcascades + name)
        boxes = cascade.detectMultiScale(grey, scaleFactor=1.1, minNeighbors=neighbours, minSize=(least, least))
        found.append([[float(x), float(y), float(x + w), float(y + h)] for x, y, w, h in boxes])
    first, second = found
    return [box for box in first if any(_overlap(box, other) >= 0.3 for other in second)]


def _yunet(pixels: Any, weights: str) -> list[list[float]]:
    """Boxes by YuNet."""
    import cv2
    import numpy as np

    height, width = pixels.shape[:2]
    model = np.frombuffer(base64.b64decode(weights), np.uint8)
    try:
        detector = cv2.FaceDetectorYN.create("onnx", model, np.empty(0, np.uint8), (width, height), YUNET_SCORE)
        _, rows = detector.detect(np.ascontiguousarray(pixels[:, :, ::-1]))
    except cv2.error as problem:
        raise Unusable("unavailable", f"The YuNet weights cannot be used: {problem}") from problem
    return [] if rows is None else [[float(x), float(y), float(x + w), float(y + h)] for x, y, w, h in rows[:, :4]]


def _larger(box: list[float], size: tuple[int, int]) -> list[int]:
    """A box enlarged by ENLARGED about its centre, cut off at the edges, in whole pixels."""
    x1, y1, x2, y2 = box
    grown_x, grown_y = (x2 - x1) * (ENLARGED - 1) / 2, (y2 - y1) * (ENLARGED - 1) / 2
    width, height = size
    return [
        int(max(0, x1 - grown_x)), int(max(0, y1 - grown_y)), int(min(width, x2 + grown_x)), int(min(height, y2 + grown_y)),
    ]  # fmt: skip


def _smaller(image: Any) -> tuple[Any, float]:
    """The image with no side longer than LONGEST, and the factor that it was scaled by (at most 1)."""
    scale = min(1.0, LONGEST / max(image.size))
    return (image.resize([max(1, round(side * scale)) for side in image.size]) if scale < 1 else image), scale


def _overlap(one: list[float], other: list[float]) -> float:
    """Intersection over union of two boxes."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0.0, width) * max(0.0, height)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return shared / (areas - shared)
