"""The 1,797 handwritten digits that come with scikit-learn: 8x8, ten classes, real, no download.

From E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI repository, 1998 (its test part).
Pixels are 0 to 16 there; here they are scaled to 0 to 255, rounded.
"""

from __future__ import annotations

import numpy as np

from residuum.data.source import ArrayImages, Dataset, Split, array_fingerprint, stratified

TRAIN, VAL, TEST = 1297, 200, 300


def digits(seed: int = 0) -> Dataset:
    """1,297 / 200 / 300 images to train, choose and test, stratified; `seed` draws which."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = ArrayImages(np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, :, :, None])
    whole = Split("all", images, bunch.target.astype(np.int64))
    parts = stratified(whole.labels, (TRAIN, VAL, TEST), seed)
    train, val, test = (whole.subset(part, name) for part, name in zip(parts, ("train", "val", "test"), strict=True))
    return Dataset(
        name="digits",
        class_names=tuple(str(digit) for digit in range(10)),
        train=train,
        val=val,
        test=test,
        image_size=(8, 8),
        fingerprint=array_fingerprint(train, val, test),
    )
